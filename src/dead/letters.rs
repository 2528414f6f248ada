//! The handle that a sink and its delivery share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wal::{Lsn, Reader};

use super::book::{Book, Changed, Due, Sum};
use super::hub::{Full, Hub};
use super::letter::{DeadLetter, DeadRow, LetterId, letters_of};
use crate::codec::frame::TableChange;
use crate::codec::stored::{DEAD, DEAD_ROWS, encode, get};
use crate::error::Failure;
use crate::model::TableName;

type State = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The letters of a sink.
#[derive(Clone, Debug)]
pub struct Letters {
    hub: Arc<Hub>,
    sink: Arc<str>,
    book: Arc<Mutex<Book>>,
    wanted: Arc<Wanted>,
}

/// That letters are to be tried again.
#[derive(Debug, Default)]
struct Wanted {
    is_so: AtomicBool,
    changed: Notify,
}

/// The book in the hands of who writes rows.
#[derive(Debug)]
pub struct Open<'l> {
    letters: &'l Letters,
    book: MutexGuard<'l, Book>,
}

impl Letters {
    pub(super) fn new(hub: Arc<Hub>, sink: &str) -> Self {
        Self { hub, sink: sink.into(), book: Arc::default(), wanted: Arc::default() }
    }

    /// Those of a sink without a log.
    pub(crate) fn in_memory() -> Self {
        Self::new(Hub::in_memory(u64::MAX), "")
    }

    /// Reads the letters of the log, for a target that has everything up to `at`. What rounds on their way had of them is forgotten.
    ///
    /// # Errors
    /// Fatal, when the log cannot be read, or a key or a record is damaged.
    pub fn load(&self, reader: &Reader, at: Lsn) -> Result<(), Failure> {
        let book = Book::new(letters_of(reader, &self.sink)?, at);
        self.hub.set(&self.sink, book.sum().bytes);
        *self.lock() = book;
        Ok(())
    }

    /// Opens the book. It is held for a section's rows, and never over a wait.
    pub fn open(&self) -> Open<'_> {
        Open { letters: self, book: self.lock() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many a table has of this frame, among so many rows from this place on.
    pub fn of_rows(&self, table: &TableName, (lsn, first): (Lsn, u32), rows: u32) -> u64 {
        let id = |ordinal| LetterId { lsn, ordinal };
        self.lock().count(table, (id(first), id(first.saturating_add(rows))))
    }

    /// How many there are, and what they take.
    pub fn sum(&self) -> Sum {
        self.lock().sum()
    }

    /// The same of each table that has some.
    pub fn sums(&self) -> Vec<(TableName, Sum)> {
        self.lock().sums().into_iter().collect()
    }

    /// Bytes that wait in memory until they are stored.
    pub fn waiting_bytes(&self) -> usize {
        usize::try_from(self.lock().waiting_bytes()).unwrap_or(usize::MAX)
    }

    /// So many rows from this place on are at the target since an earlier try of their round.
    pub fn keep(&self, (lsn, first): (Lsn, u32), rows: u32) {
        let id = |ordinal| LetterId { lsn, ordinal };
        self.lock().keep(id(first), id(first.saturating_add(rows)));
    }

    /// A table changes at this place.
    pub fn follow(&self, change: &TableChange) {
        let mut book = self.lock();
        if !book.is_empty() {
            book.follow(change, None);
        }
    }

    /// As [`Letters::follow`], of a change in this frame that the target has, and that the log looks at once more: letters of later rows stay.
    pub fn follow_again(&self, change: &TableChange, lsn: Lsn) {
        let mut book = self.lock();
        if !book.is_empty() {
            book.follow(change, Some(LetterId { lsn, ordinal: 0 }));
        }
    }

    /// The copy of a table is gone, with whatever it was.
    pub fn forget(&self, table: &TableName) {
        self.lock().forget(table);
    }

    /// The rows of a table from this frame on are left out.
    pub fn take_back(&self, table: &TableName, since: Lsn) {
        self.lock().take_back(table, LetterId { lsn: since, ordinal: 0 });
    }

    /// The round ends here.
    pub fn close(&self, end: Lsn) {
        self.lock().close(end);
    }

    /// Stores the letters of the rounds that have ended: to be called before the target commits them.
    ///
    /// # Errors
    /// Fatal, when the log cannot be written.
    pub async fn store(&self) -> Result<(), Failure> {
        let due = self.due();
        self.put(due).await
    }

    /// Stores what there is of a round that has not ended, so that it takes no memory.
    ///
    /// # Errors
    /// As [`Letters::store`].
    pub async fn store_early(&self) -> Result<(), Failure> {
        let due = self.lock().due_early();
        self.put(due).await
    }

    fn due(&self) -> Due {
        let mut book = self.lock();
        let due = book.due();
        // Room that was taken for letters which have ended in the same round is free again.
        self.hub.set(&self.sink, book.sum().bytes);
        due
    }

    async fn put(&self, due: Due) -> Result<(), Failure> {
        let Due { added, removed } = due;
        let Some(wal) = self.hub.wal().filter(|_| !added.is_empty() || !removed.is_empty()) else { return Ok(()) };
        let mut state: State = removed.into_iter().flat_map(|id| id.removal(&self.sink)).collect();
        for (id, letter, images) in added {
            state.push((id.key(&DEAD, &self.sink), Some(encode(&letter)?)));
            state.push((id.key(&DEAD_ROWS, &self.sink), Some(encode(&DeadRow(images))?)));
        }
        let stored = wal.put_state(state).await;
        stored.map_err(|error| Failure::fatal("the dead letters cannot be written to the log").caused_by(error))
    }

    /// What goes with the acknowledgement of the rounds up to `end`.
    ///
    /// # Errors
    /// Fatal, when the log cannot be read.
    pub fn acknowledge(&self, reader: &Reader, end: Lsn) -> Result<State, Failure> {
        let outcome = self.lock().acknowledge(end);
        if outcome.ended.is_empty() && outcome.changed.is_empty() {
            return Ok(Vec::new());
        }
        let mut state: State = outcome.ended.into_iter().flat_map(|id| id.removal(&self.sink)).collect();
        for Changed { id, table, keys } in outcome.changed {
            let key = id.key(&DEAD, &self.sink);
            if let Some(letter) = get::<DeadLetter>(reader, &key)? {
                state.push((key, Some(encode(&DeadLetter { table, keys, ..letter })?)));
            }
        }
        self.hub.set(&self.sink, self.lock().sum().bytes);
        Ok(state)
    }

    /// These are to be tried again; gives what is to be stored for that. [`Letters::wake`] follows.
    ///
    /// # Errors
    /// Never, of what is stored.
    pub fn want(&self, ids: &BTreeSet<LetterId>) -> Result<State, Failure> {
        ids.iter().map(|id| id.wanted(&self.sink)).collect()
    }

    /// Says to the delivery that letters are to be tried again.
    pub fn wake(&self) {
        self.wanted.is_so.store(true, Ordering::Release);
        self.wanted.changed.notify_one();
    }

    /// They are to be tried again, and it cannot be now.
    pub fn want_later(&self) {
        self.wanted.is_so.store(true, Ordering::Release);
    }

    /// Whether letters are to be tried again, once for each time that it was said.
    pub fn take_wanted(&self) -> bool {
        self.wanted.is_so.swap(false, Ordering::AcqRel)
    }

    /// Waits until letters are to be tried again.
    pub async fn are_wanted(&self) {
        self.wanted.changed.notified().await;
    }

    /// These are gone from the log; gives what is to be stored for that.
    pub fn discard(&self, ids: &BTreeSet<LetterId>) -> State {
        let mut book = self.lock();
        book.discard(ids);
        self.hub.set(&self.sink, book.sum().bytes);
        drop(book);
        ids.iter().flat_map(|id| id.removal(&self.sink)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open<'_> {
    /// Whether a table has letters.
    pub fn has(&self, table: &TableName) -> bool {
        self.book.has(table)
    }

    /// Whether the row of a key is not current because of a letter.
    pub fn has_key(&self, table: &TableName, key: u128) -> bool {
        self.book.has_key(table, key)
    }

    /// A row change becomes a letter.
    ///
    /// # Errors
    /// When the letters of all sinks would take more than they may.
    pub fn add(&mut self, id: LetterId, letter: DeadLetter, images: &[u8]) -> Result<(), Full> {
        self.take(id, &letter)?;
        self.book.add(id, letter, images.to_vec());
        Ok(())
    }

    /// As [`Open::add`], of a row change of a round that has ended and is not stored.
    ///
    /// # Errors
    /// As [`Open::add`].
    pub fn add_late(&mut self, id: LetterId, letter: DeadLetter, images: &[u8]) -> Result<(), Full> {
        self.take(id, &letter)?;
        self.book.add_late(id, letter, images.to_vec());
        Ok(())
    }

    /// Takes the room of a letter, unless an earlier try of its round has.
    fn take(&self, id: LetterId, letter: &DeadLetter) -> Result<(), Full> {
        if self.book.is_unproven(id) {
            return Ok(());
        }
        self.letters.hub.take(&self.letters.sink, letter.bytes())
    }

    /// The row of a key is current at the target.
    pub fn written(&mut self, table: &TableName, key: u128) {
        self.book.written(table, key);
    }

    /// The row of a key is current at the target because of the row change at this place, unless that is a letter itself: ends those before it.
    pub fn written_before(&mut self, table: &TableName, key: u128, at: LetterId) {
        self.book.written_before(table, key, at);
    }

    /// Letters of a table from this place on do not count.
    pub fn take_back(&mut self, table: &TableName, from: LetterId) {
        self.book.take_back(table, from);
    }
}
