//! The writer thread: it owns redb's write transactions and gathers what is asked of it into commits.
//!
//! Promises: everything that queued while the last commit was syncing shares the next one, and the queue has room for
//! it all that time: what was gathered for a commit has left it before the commit syncs. While the log is full, appends
//! wait, in order, and every other command is served. The first failure of storage, or a panic, puts the log out of
//! service. When the thread ends, the database is closed and the lock is free.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use redb::Durability;
use tokio::sync::oneshot;

use crate::command::{Ack, Append, Command, Reply};
use crate::commit::{Batch, LogState};
use crate::cursor::CursorInfo;
use crate::error::{Error, storage};
use crate::guard::quietly;
use crate::tail::{Published, Shared, Store};

/// How long a lazy acknowledgement may wait for a commit to ride with. Longer means that more is sent again after a
/// crash.
const LAZY_DELAY: Duration = Duration::from_millis(50);

/// Runs the writer until it is told to stop, all handles are gone, or it fails.
pub(crate) fn run(shared: &Arc<Shared>, store: Arc<Store>, log: LogState, commands: &Receiver<Command>) {
    let mut stop = None;
    let outcome = quietly(|| {
        let mut writer = Writer::new(Arc::clone(shared), store, log);
        let result = writer.serve(commands);
        stop = writer.stop.take();
        result
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => shared.poison(cause),
        Err(panic) => shared.poison(Error::WriterPanicked(panic)),
    }
    shared.close_store();
    drop(stop);
}

struct Writer {
    shared: Arc<Shared>,
    store: Arc<Store>,
    log: LogState,
    /// Appends that wait for room, in order.
    held: VecDeque<Append>,
    /// The last lazy acknowledgement of each cursor, and since when the first of them waits.
    lazy: BTreeMap<String, Ack>,
    lazy_since: Option<Instant>,
    /// There is more to trim than one commit does.
    trim_more: bool,
    full: bool,
    /// What the file took on disk after the last commit.
    disk: u64,
    commits: u64,
    stop: Option<oneshot::Sender<()>>,
}

/// What the next commit answers.
#[derive(Default)]
struct Answers {
    done: Vec<Reply<()>>,
    created: Vec<(Reply<CursorInfo>, CursorInfo)>,
    permits: usize,
    /// Stored bytes that the commit appends.
    stored: u64,
    buffers: Vec<Vec<u8>>,
}

enum Next {
    Do(Command),
    /// Nothing was asked, but there is something to commit.
    Due,
    Gone,
}

impl Writer {
    fn new(shared: Arc<Shared>, store: Arc<Store>, log: LogState) -> Self {
        Self {
            shared,
            store,
            log,
            held: VecDeque::new(),
            lazy: BTreeMap::new(),
            lazy_since: None,
            // What was left to trim when the log was closed.
            trim_more: true,
            full: false,
            disk: 0,
            commits: 0,
            stop: None,
        }
    }

    fn serve(&mut self, commands: &Receiver<Command>) -> Result<(), Error> {
        self.disk = self.store.sizes()?.1;
        loop {
            let (first, gone) = match self.next(commands)? {
                Next::Do(command) => (Some(command), false),
                Next::Due => (None, false),
                Next::Gone => (None, true),
            };
            self.commit(first, commands)?;
            if self.stop.is_some() {
                return Ok(());
            }
            if gone {
                return Ok(());
            }
        }
    }

    /// Waits for something to do.
    fn next(&mut self, commands: &Receiver<Command>) -> Result<Next, Error> {
        loop {
            let received = if self.trim_more || self.held.front().is_some_and(|append| self.fits(append)) {
                commands.try_recv().map_err(|none| match none {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if let Some(since) = self.lazy_since {
                commands.recv_timeout(LAZY_DELAY.saturating_sub(since.elapsed()))
            } else {
                commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match received {
                Ok(Command::Ack(ack, None)) => self.wait_lazily(ack)?,
                Ok(command) => return Ok(Next::Do(command)),
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Due),
                Err(RecvTimeoutError::Disconnected) => return Ok(Next::Gone),
            }
        }
    }

    fn fits(&self, append: &Append) -> bool {
        let state = self.log.state.counted().saturating_add(append.large_state());
        self.shared.limits.fits(self.log.tail.live_bytes, self.disk, append.stored, state)
    }

    /// Replaces the cursor's waiting acknowledgement. State of the earlier one is kept unless the later one changes it
    /// too.
    fn wait_lazily(&mut self, mut ack: Ack) -> Result<(), Error> {
        self.lazy_since.get_or_insert_with(Instant::now);
        if let Some(earlier) = self.lazy.remove(&ack.cursor) {
            if ack.lsn < earlier.lsn {
                return Err(Error::AckBackwards { cursor: ack.cursor, at: earlier.lsn, to: ack.lsn });
            }
            let mut state: BTreeMap<_, _> = earlier.state.into_iter().collect();
            state.extend(ack.state);
            ack.state = state.into_iter().collect();
        }
        self.lazy.insert(ack.cursor.clone(), ack);
        Ok(())
    }

    /// Applies `first`, everything else that has queued, and what was held back; commits; answers.
    fn commit(&mut self, first: Option<Command>, commands: &Receiver<Command>) -> Result<(), Error> {
        let store = Arc::clone(&self.store);
        let mut transaction = store.database.begin_write().map_err(storage("begin a commit"))?;
        transaction.set_durability(Durability::Immediate).map_err(storage("begin a commit"))?;
        let mut log = self.log.clone();
        let mut answers = Answers::default();
        let mut batch = Batch::begin(&transaction, &mut log)?;
        self.admit(&mut batch, &mut answers)?;
        let mut next = first;
        while let Some(command) = next.take().or_else(|| commands.try_recv().ok()) {
            self.apply(&mut batch, command, &mut answers)?;
            if self.stop.is_some() {
                break;
            }
        }
        // What was gathered is in redb's pages. The next batch fills the queue while this one syncs.
        self.make_room(&mut answers);
        self.apply_lazy(&mut batch)?;
        self.trim_more = batch.trim()?;
        let changed = batch.finish()?;
        if changed {
            transaction.commit().map_err(storage("commit"))?;
            self.commits += 1;
            self.disk = store.sizes()?.1;
        } else {
            transaction.abort().map_err(storage("end an empty commit"))?;
        }
        self.log = log;
        self.publish();
        Self::answer(answers);
        Ok(())
    }

    fn apply(&mut self, batch: &mut Batch<'_>, command: Command, answers: &mut Answers) -> Result<(), Error> {
        match command {
            Command::Append(append) => {
                self.held.push_back(append);
                self.admit(batch, answers)?;
            }
            Command::Abort { after } => {
                for append in &mut self.held {
                    let dropped = append.blocks.extract_if(.., |block| block.first > after);
                    let stored: u64 = dropped.map(|block| crate::record::stored_block(block.bytes.len())).sum();
                    append.stored -= stored;
                }
                batch.abort(after)?;
                self.admit(batch, answers)?;
            }
            Command::Ack(ack, None) => self.wait_lazily(ack)?,
            Command::Ack(ack, Some(reply)) => {
                self.apply_lazy(batch)?;
                answers.unit(batch.ack(&ack), reply)?;
            }
            Command::CreateCursor { name, at, reply } => match batch.create_cursor(&name, at) {
                Ok(cursor) => {
                    let info = cursor.info(&name, batch.tail());
                    answers.created.push((reply, info));
                }
                Err(error) => refuse(error, reply)?,
            },
            Command::DropCursor { name, reply } => {
                self.apply_lazy(batch)?;
                answers.unit(batch.drop_cursor(&name), reply)?;
            }
            Command::DetachCursor { name, reply } => {
                self.apply_lazy(batch)?;
                answers.unit(batch.detach_cursor(&name), reply)?;
            }
            Command::MoveCursor { name, at, state, reply } => {
                self.apply_lazy(batch)?;
                answers.unit(batch.move_cursor(&name, at, &state), reply)?;
            }
            Command::PutState(changes, reply) => answers.unit(batch.put_state(&changes), reply)?,
            Command::Shutdown(reply) => self.stop = Some(reply),
        }
        Ok(())
    }

    /// Appends what was held back, as far as it fits.
    fn admit(&mut self, batch: &mut Batch<'_>, answers: &mut Answers) -> Result<(), Error> {
        while let Some(append) = self.held.pop_front_if(|append| {
            let disk = self.disk.saturating_add(answers.stored);
            let state = batch.state_bytes().saturating_add(append.large_state());
            self.shared.limits.fits(batch.tail().live_bytes, disk, append.stored, state)
        }) {
            batch.append(&append)?;
            answers.stored += append.stored;
            answers.permits += usize::try_from(append.permits).unwrap_or(0);
            answers.done.extend(append.reply);
            answers.buffers.extend(append.blocks.into_iter().map(|block| block.bytes));
        }
        Ok(())
    }

    /// Applies the acknowledgements that waited. One that came too late for its cursor is void; the cursor's state says
    /// why.
    fn apply_lazy(&mut self, batch: &mut Batch<'_>) -> Result<(), Error> {
        self.lazy_since = None;
        for (cursor, ack) in std::mem::take(&mut self.lazy) {
            match batch.ack(&ack) {
                Err(reason @ (Error::Detached(_) | Error::NoSuchCursor(_))) => {
                    tracing::warn!(cursor, lsn = %ack.lsn, %reason, "an acknowledgement came too late");
                }
                result => result?,
            }
        }
        Ok(())
    }

    fn publish(&mut self) {
        self.full = !self.held.is_empty();
        self.shared.publish(Published {
            tail: self.log.tail,
            cursors: self.log.cursors.clone(),
            full: self.full,
            commits: self.commits,
        });
    }

    /// Gives back the buffers and the room in the queue of what the batch has taken over.
    fn make_room(&self, answers: &mut Answers) {
        for buffer in answers.buffers.drain(..) {
            self.shared.give_buffer(buffer);
        }
        self.shared.queue.add_permits(std::mem::take(&mut answers.permits));
    }

    fn answer(answers: Answers) {
        // Whoever asked may have stopped waiting: the commit stands all the same.
        for reply in answers.done {
            drop(reply.send(Ok(())));
        }
        for (reply, info) in answers.created {
            drop(reply.send(Ok(info)));
        }
    }
}

impl Answers {
    fn unit(&mut self, result: Result<(), Error>, reply: Reply<()>) -> Result<(), Error> {
        match result {
            Ok(()) => self.done.push(reply),
            Err(error) => refuse(error, reply)?,
        }
        Ok(())
    }
}

/// Hands a refusal to whoever asked. A failure of storage is not a refusal: it ends the writer.
fn refuse<T>(error: Error, reply: Reply<T>) -> Result<(), Error> {
    if matches!(error, Error::Storage { .. }) {
        return Err(error);
    }
    drop(reply.send(Err(error)));
    Ok(())
}
