//! Reading one connection's stream: the driver of the core between two reconnects.
//!
//! Steady state: events that are ready are taken without waiting; what they make is handed to the log when 1 MiB has gathered,
//! when [`FLUSH_EVERY`] has passed, or when the stream runs dry, whichever is first. So a burst shares commits and a single
//! transaction is durable a moment after it was read. Requests of snapshot readers and answers about tables are taken at boundaries
//! between transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::debug;

use super::core::{Action, Chunk, Rows, SessionId};
use super::current::Current;
use super::diverting::Tails;
use super::frames::FRAME_BYTES;
use super::ledger::{Boundary, Log as _, TooLarge, unwritable};
use super::prepared::{Looked, Looks};
use super::questions::Questions;
use super::run::{Ended, Ingest};
use super::too_large::{self, Rest};
use crate::backoff::Backoff;
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition, TableName};
use crate::source::mysql::binlog::{Beside, BinlogStream, Decoder, Item, RawEvent, TableSlot};
use crate::source::mysql::ddl::SqlMode;
use crate::source::mysql::snapshot::handoff::{BeginRead, Begun, PlaceChunk, Placed, Request, SnapshotMark, WindowId};
use crate::source::mysql::watch::Watch;
use crate::table::{ByHand, Operated};

/// Longest time that what was read waits for more, while more keeps coming.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// Bytes handed to the log's writer at once. Below, commits are small and many; above, memory and latency grow.
pub(super) const FLUSH_BYTES: usize = 1 << 20;
/// Events between two looks at the clock, at requests and at answers.
const LOOK_EVERY: u32 = 64;
/// Time between two looks at rows that wait for an answer, when the stream has nothing to say.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One connection's worth of reading.
pub(super) struct Session<'a> {
    pub(super) ctx: &'a mut Ingest,
    questions: Questions,
    looks: Looks,
    current: Current,
    /// Where `CaughtUp` ends.
    target: Option<FilePos>,
    /// Readers that wait to hear what became of their chunk.
    readers: HashMap<WindowId, oneshot::Sender<Placed>>,
    /// Tables whose rows wait for their copy.
    pub(super) tails: Tails,
    /// Which tables are asked about may have changed since it was shown.
    asks: bool,
    /// When it was last handed over.
    flushed: Instant,
    /// The table of the last rows of the stream.
    last_rows: Option<TableSlot>,
    /// A table of which something large is on its way to the log.
    large: Option<TableName>,
}

impl<'a> Session<'a> {
    /// From the start of a stream; `target` is where the loop has caught up.
    pub(super) fn new(
        ctx: &'a mut Ingest,
        (questions, looks): (Questions, Looks),
        watch: Watch,
        target: Option<FilePos>,
    ) -> Self {
        let (current, readers) = (Current::new(watch), HashMap::new());
        let tails = Tails::new(Arc::clone(&ctx.spool));
        Self {
            ctx,
            questions,
            looks,
            current,
            target,
            readers,
            tails,
            asks: true,
            flushed: Instant::now(),
            last_rows: None,
            large: None,
        }
    }

    /// Reads until the loop ends.
    pub(super) async fn read(
        &mut self,
        stream: &mut BinlogStream,
        decoder: &mut Decoder,
        backoff: &mut Backoff,
    ) -> Result<Ended, Failure> {
        let ended = self.read_on(stream, decoder, backoff).await;
        match ended.as_ref().err().and_then(TooLarge::of) {
            Some(found) => Err(self.measure(found, stream, decoder).await),
            None => ended,
        }
    }

    /// Reads a transaction that is too large for the log to its end, to say how large it is.
    async fn measure(&mut self, found: TooLarge, stream: &mut BinlogStream, decoder: &mut Decoder) -> Failure {
        let last = self.last_rows.and_then(|slot| decoder.table(slot)).cloned();
        let table = self.large.take().or(last);
        let mut rest = Some(Rest::new(FRAME_BYTES));
        while !decoder.at_boundary() {
            let shutdown = self.ctx.shutdown.clone();
            let event = tokio::select! {
                event = stream.next() => event,
                () = shutdown.cancelled() => Err(Failure::retry("stopped")),
            };
            let item = event.and_then(|event| {
                if let Item::Rows { images, .. } = decoder.decode(&event)?
                    && let Some(rest) = &mut rest
                {
                    rest.rows(images.len());
                }
                Ok(())
            });
            stream.release();
            if item.is_err() {
                // What is known of it so far is better than nothing.
                rest = None;
                break;
            }
        }
        too_large::failure(found, table.as_ref(), rest)
    }

    /// Reads until the loop ends, or fails.
    async fn read_on(
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
                        if self.has_to_place() && !self.ctx.shutdown.is_cancelled() && self.place_waiting().await? {
                            continue;
                        }
                        if let Some(ended) = self.settle(decoder, true).await? {
                            return Ok(ended);
                        }
                        let looks_again = self.ctx.core.has_to_look() || !self.ctx.held.is_empty();
                        tokio::select! {
                            event = stream.next() => {
                                // What it begins to wait for waits from here on, and not since the last look.
                                self.ctx.set_time();
                                event?
                            }
                            looked = self.looks.next() => {
                                self.looked(looked)?;
                                continue;
                            }
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
            // What the log is to have of it was copied. A large one must not be in memory while the log takes the copy over.
            stream.release();
            self.flush_fragments().await?;
            if self.ctx.core.has_spooling() {
                self.spool().await?;
            }
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
            // Each transaction of large rows by itself: they would add up in memory.
            if since_look >= LOOK_EVERY || self.wants_flush() {
                since_look = 0;
                backoff.reset();
                self.current.heed()?;
                self.look().await?;
                if self.has_to_place() {
                    self.place_waiting().await?;
                }
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
        if let Some(looked) = self.looks.try_next() {
            self.looked(looked)?;
        }
        if self.ctx.core.has_to_look() {
            self.ctx.core.look()?;
            self.asks = true;
        }
        self.act().await?;
        self.show_asking();
        for request in std::mem::take(&mut self.ctx.held) {
            self.serve(request).await?;
        }
        Ok(())
    }

    /// A look at the transactions that are prepared at the source.
    fn looked(&mut self, looked: Looked) -> Result<(), Failure> {
        if let Some((listed, end, asked)) = looked {
            let looked_for = self.ctx.core.looked_for();
            let at = self.ctx.time_of(asked);
            self.ctx.core.listed(looked_for, listed, (end, at))?;
        }
        if !self.ctx.core.has_to_look_for_transactions() {
            self.looks.end();
        }
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
        self.hand_over_in_time().await?;
        self.current.stand(decoder, dry, &self.ctx.live.source);
        if self.ctx.shutdown.is_cancelled() {
            return Ok(Some(Ended::Stopped));
        }
        let idle = !self.ctx.core.has_chunks()
            && self.tails.is_empty()
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
    pub(super) async fn hand_over(&mut self) -> Result<(), Failure> {
        self.show();
        if self.ctx.core.seal()? {
            self.ctx.flush().await?;
        }
        self.handed_over()
    }

    /// As [`Session::hand_over`], but for a position alone that has moved a moment ago.
    async fn hand_over_in_time(&mut self) -> Result<(), Failure> {
        self.show();
        if self.ctx.core.seal_in_time()? {
            self.ctx.flush().await?;
        }
        self.handed_over()
    }

    fn handed_over(&mut self) -> Result<(), Failure> {
        self.large = None;
        self.flushed = Instant::now();
        self.ctx.tell_readers();
        // A source that has nothing for a log that is out of service learns it all the same.
        self.ctx.wal.check().map_err(unwritable)
    }

    fn show(&mut self) {
        // Before the position that is stored with it.
        self.show_asking();
        self.ctx.show_lives();
        for change in self.ctx.core.take_changes() {
            self.ctx.live.schema_changed(&change);
        }
        for (table, counts) in self.ctx.core.changed_counts() {
            self.ctx.live.table(table).set(counts.shown());
        }
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
                    self.passed().await?;
                }
            }
            Item::Rows { slot, op, rows, columns, images } => {
                self.last_rows = Some(slot);
                if images.len() >= FLUSH_BYTES {
                    self.large = decoder.table(slot).cloned();
                }
                let slot = usize::try_from(slot.0).unwrap_or(usize::MAX);
                core.rows(slot, Rows { op, rows, columns, images: &images }, &decoder.origin())?;
            }
            Item::Schema { slot, told } => {
                let slot = usize::try_from(slot.0).unwrap_or(usize::MAX);
                core.table_map(slot, &told, &decoder.origin())?;
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
            Item::BeginXa(xid) => core.begin_xa(xid, &decoder.origin())?,
            Item::Commit => self.end_of_group(decoder).await?,
            Item::Prepare { one_phase } => {
                core.prepare(one_phase)?;
                self.replay(decoder).await?;
                self.end_of_group(decoder).await?;
            }
            Item::Outcome { xid, commits } => {
                self.ctx.set_time();
                self.ctx.core.outcome(&xid, commits, &decoder.origin())?;
                self.replay(decoder).await?;
                self.end_of_group(decoder).await?;
            }
            Item::Rollback => {
                core.roll_back(boundary(decoder), &decoder.origin(), Some(decoder.gtid()))?;
                self.passed().await?;
            }
            Item::CutOff => {
                core.roll_back(boundary(decoder), &decoder.origin(), None)?;
                self.passed().await?;
            }
        }
        Ok(false)
    }

    /// Gives back the rows of a two-phase transaction that has committed.
    async fn replay(&mut self, decoder: &Decoder) -> Result<(), Failure> {
        if self.ctx.core.needs_durable() {
            self.ctx.core.seal()?;
            self.ctx.flush().await?;
            self.ctx.durable().await?;
        }
        let origin = decoder.origin();
        while self.ctx.core.replay(&origin)? {
            if self.ctx.core.has_spooling() {
                self.spool().await?;
            }
            self.flush_fragments().await?;
        }
        Ok(())
    }

    /// Hands over what has gathered of an open group.
    async fn flush_fragments(&mut self) -> Result<(), Failure> {
        if self.ctx.core.is_fragmented() && self.ctx.core.log().pending_bytes() >= FLUSH_BYTES {
            if self.ctx.shutdown.is_cancelled() {
                return Err(Failure::retry("stopped inside a transaction"));
            }
            self.ctx.core.seal()?;
            self.ctx.flush().await?;
        }
        Ok(())
    }

    async fn end_of_group(&mut self, decoder: &Decoder) -> Result<(), Failure> {
        self.ctx.core.commit(boundary(decoder), &decoder.origin(), decoder.gtid())?;
        self.passed().await
    }

    /// The stream is at another boundary.
    async fn passed(&mut self) -> Result<(), Failure> {
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
                Action::Compare => self.questions.compare(),
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
        if self.ctx.core.has_spooling() { self.spool().await } else { Ok(()) }
    }

    /// Serves one request of the snapshot readers. Only at a boundary.
    async fn serve(&mut self, request: Request) -> Result<(), Failure> {
        self.ctx.set_time();
        match request {
            Request::OpenWindow { reply, .. } if reply.is_closed() => {}
            Request::OpenWindow { table, window, reply } if self.ctx.core.window_waits(&table) => {
                self.ctx.held.push(Request::OpenWindow { table, window, reply });
                return Ok(());
            }
            Request::OpenWindow { table, window, reply } => {
                self.ctx.core.open_window(window, &table);
                if reply.send(self.ctx.core.position()).is_err() {
                    self.ctx.core.close_window(window);
                }
            }
            Request::CloseWindow { window } => _ = self.ctx.core.close_window(window),
            Request::PlaceChunks { chunks, high } => {
                for PlaceChunk { window, schema, images, account, reply } in chunks {
                    self.readers.insert(window, reply);
                    if images.bytes.len() >= FLUSH_BYTES {
                        self.large = Some(schema.name.clone());
                    }
                    self.ctx.core.chunk(Chunk { window, schema, images, high: high.clone(), account })?;
                }
            }
            Request::OpenWindows { reply, .. } if reply.is_closed() => {}
            Request::OpenWindows { windows, reply } => {
                let waits = |(table, _): &(TableName, WindowId)| self.ctx.core.window_waits(table);
                if !windows.is_empty() && windows.iter().all(waits) {
                    self.ctx.held.push(Request::OpenWindows { windows, reply });
                    return Ok(());
                }
                self.open_windows(&windows, reply);
            }
            Request::BeginReads { reads, reply } => self.begin_reads(&reads, reply)?,
            Request::EndReads { reads, reply } => {
                let mut wanted = Vec::with_capacity(reads.len());
                for (table, number) in reads {
                    wanted.push(self.ctx.core.mark(&SnapshotMark::Finished { table, number })?);
                }
                // Readers that hear that their tables are done find their rows durable.
                self.make_durable().await?;
                answer(reply, wanted);
            }
            Request::Divert { table, number, reply } => self.divert(&table, number, reply)?,
            Request::PlaceWhole(read) => self.place_whole(read)?,
            Request::EndDiversion { table, number } => self.end_diversion(&table, number),
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
            Request::Rules { doubts, describe_wait } => self.ctx.core.set_rules(doubts, describe_wait),
            Request::ByHand { table, reply, .. } if reply.is_closed() => {
                debug!(%table, "the caller was gone before its request about a table was stored");
            }
            Request::ByHand { table, by_hand, reply } => {
                let is_cancelled = matches!(by_hand, ByHand::Cancel(_));
                let operated = self.ctx.core.operate(&table, by_hand)?;
                if let Ok(Operated { read, .. }) = &operated {
                    if let Some(read) = read.filter(|_| is_cancelled) {
                        self.ctx.live.cancelled(&table, read);
                    }
                    self.make_durable().await?;
                }
                answer(reply, operated.map_err(Failure::from));
            }
            Request::Resync { reply, .. } if reply.is_closed() => {
                debug!("whoever asked for a resync was gone before it was stored");
            }
            Request::Resync { tables, sinks, reply } => {
                let asked = self.ctx.core.resync(&tables, &sinks)?;
                if asked.is_ok() {
                    self.make_durable().await?;
                }
                answer(reply, asked.map_err(Failure::from));
            }
            Request::SinkAdded { sink, replaces, except, reply } => {
                self.ctx.core.sink_added(&sink, replaces, &except)?;
                self.make_durable().await?;
                answer(reply, ());
            }
        }
        self.act().await
    }

    /// Opens the windows of tables that do not have to wait.
    fn open_windows(&mut self, windows: &[(TableName, WindowId)], reply: oneshot::Sender<Vec<bool>>) {
        let core = &mut self.ctx.core;
        let mut opened = Vec::with_capacity(windows.len());
        for (table, window) in windows {
            let opens = !core.window_waits(table);
            if opens {
                core.open_window(*window, table);
            }
            opened.push(opens);
        }
        if let Err(opened) = reply.send(opened) {
            for ((_, window), _) in windows.iter().zip(opened).filter(|(_, is_open)| *is_open) {
                core.close_window(*window);
            }
        }
    }

    /// Begins reads whose tables were described in a window, and opens a window of each from here on. Of a table that
    /// changed meanwhile nothing is begun.
    fn begin_reads(
        &mut self,
        reads: &[BeginRead],
        reply: oneshot::Sender<(SourcePosition, Vec<Begun>)>,
    ) -> Result<(), Failure> {
        let core = &mut self.ctx.core;
        let mut begun = Vec::with_capacity(reads.len());
        for BeginRead { table, number, described_in, window } in reads {
            let is_described = core.close_window(*described_in);
            begun.push(if !is_described || core.window_of_new_read_waits(table) {
                Begun::Later
            } else if core.mark(&SnapshotMark::Begun { table: table.clone(), number: *number, at_once: false })? {
                core.open_window(*window, table);
                Begun::Now
            } else {
                Begun::Unwanted
            });
        }
        if let Err((_, begun)) = reply.send((core.position(), begun)) {
            for (read, _) in reads.iter().zip(begun).filter(|(_, begun)| *begun == Begun::Now) {
                core.close_window(read.window);
            }
        }
        Ok(())
    }

    async fn make_durable(&mut self) -> Result<(), Failure> {
        self.hand_over().await?;
        self.ctx.durable().await
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
pub(super) fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        debug!("a snapshot reader was gone before it was answered");
    }
}

fn boundary(decoder: &Decoder) -> Boundary<'_> {
    let (file, file_created, pos) = decoder.boundary_place();
    Boundary { file, file_created, pos }
}
