//! Reading one connection's stream: the driver of the core between two reconnects.
//!
//! Steady state: events that are ready are taken without waiting; what they make is handed to the log when 1 MiB has gathered,
//! when [`FLUSH_EVERY`] has passed, or when the stream runs dry, whichever is first. So a burst shares commits and a single
//! transaction is durable a moment after it was read. Requests of snapshot readers and answers about tables are taken at boundaries
//! between transactions.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, info};

use super::core::{Action, Chunk, Rows, SessionId};
use super::current::Current;
use super::ledger::{Boundary, Log as _};
use super::questions::Questions;
use super::run::{Ended, Ingest};
use crate::backoff::Backoff;
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition};
use crate::source::mysql::binlog::{Beside, BinlogStream, Decoder, Item, RawEvent};
use crate::source::mysql::ddl::SqlMode;
use crate::source::mysql::snapshot::handoff::{ExactRead, Paused, Placed, Request, WindowId};
use crate::source::mysql::watch::Watch;
use crate::telemetry::SourcePhase;

/// Longest time that what was read waits for more, while more keeps coming.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// Bytes handed to the log's writer at once. Below, commits are small and many; above, memory and latency grow.
const FLUSH_BYTES: usize = 1 << 20;
/// Events between two looks at the clock, at requests and at answers.
const LOOK_EVERY: u32 = 64;
/// Time between two looks at rows that wait for an answer, when the stream has nothing to say.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One connection's worth of reading.
pub(super) struct Session<'a> {
    ctx: &'a mut Ingest,
    questions: Questions,
    current: Current,
    /// Where `CaughtUp` ends.
    target: Option<FilePos>,
    /// Readers that wait to hear what became of their chunk.
    readers: HashMap<WindowId, oneshot::Sender<Placed>>,
    /// A whole-table read whose position the stream has not come to.
    exact: Option<ExactRead>,
    /// Which tables are asked about may have changed since it was shown.
    asks: bool,
    /// When it was last handed over.
    flushed: Instant,
}

impl<'a> Session<'a> {
    /// From the start of a stream; `target` is where the loop has caught up.
    pub(super) fn new(ctx: &'a mut Ingest, questions: Questions, watch: Watch, target: Option<FilePos>) -> Self {
        let (current, readers) = (Current::new(watch), HashMap::new());
        Self { ctx, questions, current, target, readers, exact: None, asks: true, flushed: Instant::now() }
    }

    /// Reads until the loop ends.
    pub(super) async fn read(
        &mut self,
        stream: &mut BinlogStream,
        decoder: &mut Decoder,
        backoff: &mut Backoff,
    ) -> Result<Ended, Failure> {
        let mut since_look = 0_u32;
        let mut filtered = 0_u64;
        let mut events = 0_u64;
        self.ctx.set_time();
        self.act().await?;
        loop {
            let event = match stream.try_next()? {
                Some(event) => event,
                None => {
                    self.ctx.live.source.events(std::mem::take(&mut events), std::mem::take(&mut filtered));
                    if decoder.at_boundary() {
                        self.look().await?;
                        if let Some(ended) = self.settle(decoder, true).await? {
                            return Ok(ended);
                        }
                        let looks_again = self.ctx.core.has_to_look();
                        tokio::select! {
                            event = stream.next() => event?,
                            Some(request) = self.ctx.requests.recv(), if self.ctx.core.knows_its_file() => {
                                self.serve(request).await?;
                                continue;
                            }
                            answer = self.questions.answer() => {
                                self.ctx.set_time();
                                self.ctx.core.answer(answer)?;
                                self.asks = true;
                                self.act().await?;
                                continue;
                            }
                            () = tokio::time::sleep(LOOK_AGAIN), if looks_again => continue,
                            failure = self.current.verdict() => return Err(failure),
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                            () = Ingest::asked(&mut self.ctx.until) => continue,
                        }
                    } else {
                        let looks_again = self.ctx.core.has_to_look();
                        tokio::select! {
                            event = stream.next() => event?,
                            () = tokio::time::sleep(LOOK_AGAIN), if looks_again => {
                                self.ctx.decide_beside().await?;
                                continue;
                            }
                            failure = self.current.verdict() => return Err(failure),
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                        }
                    }
                }
            };
            events += 1;
            since_look += 1;
            filtered += u64::from(self.event(&event, decoder).await?);
            if !decoder.at_boundary() {
                // A transaction of tables that are not captured may be long, and never comes to a flush.
                if since_look.is_multiple_of(LOOK_EVERY) {
                    if self.ctx.shutdown.is_cancelled() {
                        return Ok(Ended::Stopped);
                    }
                    self.ctx.decide_beside().await?;
                    self.current.heed()?;
                }
                continue;
            }
            if since_look >= LOOK_EVERY {
                since_look = 0;
                backoff.reset();
                self.current.heed()?;
                self.look().await?;
                while self.ctx.core.knows_its_file()
                    && let Ok(request) = self.ctx.requests.try_recv()
                {
                    self.serve(request).await?;
                }
                if (self.flushed.elapsed() >= FLUSH_EVERY || self.wants_flush())
                    && let Some(ended) = self.settle(decoder, false).await?
                {
                    return Ok(ended);
                }
            }
        }
    }

    /// At a boundary: takes what answers there are, and looks at what waits for the time or for the stream.
    async fn look(&mut self) -> Result<(), Failure> {
        self.ctx.set_time();
        while let Some(answer) = self.questions.try_answer() {
            self.ctx.core.answer(answer)?;
            self.asks = true;
        }
        if self.ctx.core.has_to_look() {
            self.ctx.core.look()?;
            self.asks = true;
        }
        self.act().await?;
        self.show_asking();
        Ok(())
    }

    /// Shows which tables are asked about, where that may have changed.
    fn show_asking(&mut self) {
        if std::mem::take(&mut self.asks) {
            self.ctx.live.source.asking(self.ctx.core.asking(), self.ctx.core.ended());
        }
    }

    fn wants_flush(&self) -> bool {
        self.ctx.core.log().pending_bytes() >= FLUSH_BYTES
    }

    /// At a boundary: what was read is handed over; says whether that was all there is to do.
    async fn settle(&mut self, decoder: &Decoder, dry: bool) -> Result<Option<Ended>, Failure> {
        self.hand_over().await?;
        self.current.stand(decoder, dry, &self.ctx.live.source);
        if self.ctx.shutdown.is_cancelled() {
            return Ok(Some(Ended::Stopped));
        }
        let idle = !self.ctx.core.has_chunks()
            && self.exact.is_none()
            && !self.ctx.core.waits_for_answers()
            && self.ctx.reads_are_done();
        if let Some(target) = self.target.as_ref().filter(|_| idle)
            && self.ctx.core.reaches(target)?
        {
            return Ok(Some(Ended::CaughtUp));
        }
        Ok(None)
    }

    /// Hands over what has ended, with its position, and shows its counters.
    async fn hand_over(&mut self) -> Result<(), Failure> {
        // Before the position that is stored with it.
        self.show_asking();
        self.ctx.show_lives();
        for change in self.ctx.core.take_changes() {
            self.ctx.live.schema_changed(&change);
        }
        for (table, counts) in self.ctx.core.changed_counts() {
            self.ctx.live.table(table).set(counts.shown());
        }
        if self.ctx.core.seal()? {
            self.ctx.flush().await?;
        }
        self.flushed = Instant::now();
        self.ctx.tell_readers();
        Ok(())
    }

    /// Takes one event; true if it was rows of a table that is not captured.
    async fn event(&mut self, event: &RawEvent<'_>, decoder: &mut Decoder) -> Result<bool, Failure> {
        let core = &mut self.ctx.core;
        let item = decoder.decode(event)?;
        for Beside { written, mapped } in decoder.take_beside() {
            core.written_beside(&written, &mapped, &decoder.origin())?;
        }
        match item {
            Item::Nothing | Item::Begin | Item::Heartbeat => {
                // A position can pass a chunk's without a transaction: rotation, heartbeats.
                if decoder.at_boundary() {
                    core.pass(boundary(decoder))?;
                    self.passed(false).await?;
                }
            }
            Item::Rows { slot, op, rows, columns, images } => {
                let slot = usize::try_from(slot.0).unwrap_or(usize::MAX);
                core.rows(slot, Rows { op, rows, columns, images: &images }, &decoder.origin())?;
                if core.is_fragmented() && core.log().pending_bytes() >= FLUSH_BYTES {
                    if self.ctx.shutdown.is_cancelled() {
                        return Err(Failure::retry("stopped inside a transaction"));
                    }
                    self.ctx.core.seal()?;
                    self.ctx.flush().await?;
                }
            }
            Item::Schema { slot, schema } => {
                let slot = usize::try_from(slot.0).unwrap_or(usize::MAX);
                core.table_map(slot, &schema, &decoder.origin())?;
            }
            Item::Partial { slot, partial } => {
                let slot = usize::try_from(slot.0).unwrap_or(usize::MAX);
                core.partial(slot, &partial, &decoder.origin())?;
            }
            Item::Unread { slot, why } => {
                if let Some(table) = decoder.table(slot) {
                    core.unread(table, &why, &decoder.origin())?;
                }
            }
            Item::Filtered { .. } => return Ok(true),
            Item::Statement(statement) => {
                let mode = SqlMode::from_bits(statement.sql_mode);
                let origin = decoder.origin();
                let session = SessionId { server: event.header.server_id, connection: statement.connection };
                let by = (session, statement.may_use_temporary);
                core.statement_of((&statement.sql, &statement.database, mode), by, &origin)?;
                if !statement.in_transaction {
                    self.end_of_group(decoder).await?;
                }
            }
            Item::Commit => self.end_of_group(decoder).await?,
            Item::Rollback => {
                core.roll_back(boundary(decoder), &decoder.origin(), Some(decoder.gtid()))?;
                self.passed(false).await?;
            }
            Item::CutOff => {
                core.roll_back(boundary(decoder), &decoder.origin(), None)?;
                self.passed(false).await?;
            }
        }
        Ok(false)
    }

    async fn end_of_group(&mut self, decoder: &Decoder) -> Result<(), Failure> {
        let core = &mut self.ctx.core;
        let touched = self.exact.as_ref().is_some_and(|read| core.touches(&read.table));
        core.commit(boundary(decoder), &decoder.origin(), decoder.gtid())?;
        self.passed(touched).await
    }

    /// The stream is at another boundary. `touched`: the group that just ended changed the table that is read whole.
    async fn passed(&mut self, touched: bool) -> Result<(), Failure> {
        if self.exact.is_some() {
            self.place_exact(touched).await?;
        }
        if self.ctx.core.has_actions() { self.act().await } else { Ok(()) }
    }

    /// Does what the core asks for.
    async fn act(&mut self) -> Result<(), Failure> {
        for action in self.ctx.core.take_actions() {
            match action {
                Action::Describe { table, ask } => {
                    self.asks = true;
                    self.questions.describe(ask, table);
                }
                Action::AskEngine { table, ask } => self.questions.engine(ask, table),
                Action::AskMerge { table, ask } => self.questions.merge(ask, table),
                Action::Placed { window, placed } => {
                    if let Some(reader) = self.readers.remove(&window) {
                        answer(reader, placed);
                    }
                }
                Action::Store(records) => {
                    self.ctx.flush_unless_full().await?;
                    self.ctx.store(records).await?;
                }
            }
        }
        Ok(())
    }

    /// Serves one request of the snapshot readers. Only at a boundary.
    async fn serve(&mut self, request: Request) -> Result<(), Failure> {
        self.ctx.set_time();
        match request {
            Request::OpenWindow { table, window, reply } => {
                self.ctx.core.open_window(window, &table);
                if reply.send(self.ctx.core.position()).is_err() {
                    self.ctx.core.close_window(window);
                }
            }
            Request::CloseWindow { window } => self.ctx.core.close_window(window),
            Request::PlaceChunk { window, schema, images, high, account, reply } => {
                self.readers.insert(window, reply);
                self.ctx.core.chunk(Chunk { window, schema, images, high, account })?;
            }
            Request::Pause { reply } => self.pause(reply).await?,
            Request::Mark { mark, reply } => {
                let is_wanted = self.ctx.core.mark(&mark)?;
                // A reader that hears that a table is done finds its rows durable.
                self.make_durable().await?;
                answer(reply, is_wanted);
            }
            Request::Happened { table, event, reply } => {
                self.ctx.core.happened(&table, event)?;
                if let Some(reply) = reply {
                    self.make_durable().await?;
                    answer(reply, ());
                }
            }
            Request::SinkAdded { sink, reply } => {
                self.ctx.core.sink_added(&sink)?;
                self.make_durable().await?;
                answer(reply, ());
            }
        }
        self.act().await
    }

    async fn make_durable(&mut self) -> Result<(), Failure> {
        self.hand_over().await?;
        self.ctx.durable().await
    }

    /// Waits until the reader has a position, which is where the stream goes before it places the rows.
    async fn pause(&mut self, reply: oneshot::Sender<Paused>) -> Result<(), Failure> {
        // What is appended becomes durable meanwhile.
        self.hand_over().await?;
        let at = self.ctx.core.position();
        let (exact, told) = oneshot::channel();
        if reply.send(Paused { at: at.clone(), exact }).is_err() {
            return Ok(());
        }
        let shutdown = self.ctx.shutdown.clone();
        let read = self
            .ctx
            .deciding_beside(async move {
                tokio::select! {
                    read = told => read.ok(),
                    () = shutdown.cancelled() => None,
                }
            })
            .await?;
        let Some(read) = read else { return Ok(()) };
        if !is_at_or_after(&read.at, &at)? {
            answer(read.reply, Placed::Discarded);
            return Ok(());
        }
        self.exact = Some(read);
        self.place_exact(false).await
    }

    /// Places the whole-table read if the stream is at its position. `touched`: the group that just ended changed its table.
    async fn place_exact(&mut self, touched: bool) -> Result<(), Failure> {
        let Some(read) = self.exact.take() else { return Ok(()) };
        if !self.ctx.core.reaches(&read.at)? {
            self.exact = Some(read);
            return Ok(());
        }
        if touched && !self.ctx.core.is_at(&read.at) {
            answer(read.reply, Placed::Discarded);
            return Ok(());
        }
        self.ctx.live.source.phase(SourcePhase::ReadingTable, None);
        let placed = self.append_exact(read).await;
        self.current.streaming(&self.ctx.live.source);
        placed
    }

    async fn append_exact(&mut self, read: ExactRead) -> Result<(), Failure> {
        let ExactRead { table, schema, number, mut pieces, reply, .. } = read;
        self.ctx.set_time();
        if !self.ctx.core.begin_whole(&schema, number)? {
            answer(reply, Placed::Unwanted);
            return Ok(());
        }
        let mut total = 0_u32;
        loop {
            let shutdown = self.ctx.shutdown.clone();
            let next = self.ctx.deciding_beside(async {
                tokio::select! {
                    piece = pieces.recv() => Some(piece),
                    () = shutdown.cancelled() => None,
                }
            });
            let Some(piece) = next.await? else {
                // Not finished: the next start replaces what came so far.
                answer(reply, Placed::Discarded);
                return Ok(());
            };
            match piece {
                None => break,
                Some(Ok(images)) => {
                    total = total.saturating_add(images.rows);
                    if !self.ctx.core.whole_rows(&table, number, &images)? {
                        answer(reply, Placed::Unwanted);
                        return Ok(());
                    }
                    self.hand_over().await?;
                }
                Some(Err(failure)) => {
                    info!(%table, error = %failure.chain(), "whole-table read broke off, it is read again");
                    answer(reply, Placed::Discarded);
                    return Ok(());
                }
            }
        }
        let is_wanted = self.ctx.core.end_whole(&table, number)?;
        answer(reply, if is_wanted { Placed::Appended { kept: total, superseded: 0 } } else { Placed::Unwanted });
        Ok(())
    }

    /// Ends the questions. Readers whose chunk was not placed are answered by the core when it hears that the stream is gone.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        self.ctx.core.disconnected()?;
        self.act().await?;
        self.questions.close().await;
        Ok(())
    }
}

/// Tells a reader what became of its request. A reader that is gone, because it was stopped, does not need to know.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        debug!("a snapshot reader was gone before it was answered");
    }
}

fn boundary(decoder: &Decoder) -> Boundary<'_> {
    let (file, file_created, pos) = decoder.boundary_place();
    Boundary { file, file_created, pos }
}

fn is_at_or_after(place: &FilePos, at: &SourcePosition) -> Result<bool, Failure> {
    let at = FilePos { file: at.file.clone(), pos: at.pos };
    place.reaches(&at).ok_or_else(|| {
        Failure::fatal(format!("cannot order binlog files '{}' and '{}': a name has no number", at.file, place.file))
    })
}
