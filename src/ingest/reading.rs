//! Reading one connection's stream: events in order, looks at the clock and at the snapshot's requests at boundaries between
//! transactions, and when what has gathered is handed to the log.
//!
//! Steady state: events that are ready are taken without waiting; what they make is handed over when 1 MiB has gathered,
//! when [`FLUSH_EVERY`] has passed, or when the stream runs dry, whichever is first. So a burst shares commits and a single
//! transaction is durable a moment after it was read.

use std::time::{Duration, Instant};

use super::run::{Ended, Ingest};
use super::session::Session;
use crate::backoff::Backoff;
use crate::error::Failure;
use crate::model::{FilePos, Origin};
use crate::source::mysql::binlog::{BinlogStream, Decoder, Item, RawEvent, TableSlot, kind};
use crate::source::mysql::ddl::SqlMode;
use crate::source::mysql::snapshot::handoff::Request;
use crate::telemetry::now_micros;

/// Longest time that what was read waits for more, while more keeps coming.
const FLUSH_EVERY: Duration = Duration::from_millis(10);
/// Events between two looks at the clock and at the requests of snapshot readers.
const LOOK_EVERY: u32 = 64;

/// What the loop keeps between events.
pub(super) struct Reading {
    /// Where `CaughtUp` ends.
    target: Option<FilePos>,
    /// Registry index of each of the decoder's slots.
    slots: Vec<Option<usize>>,
    /// When it was last handed over.
    flushed: Instant,
    /// Something was read since.
    dirty: bool,
    /// The decoder stands behind a group that has not been ended here.
    ahead: bool,
}

impl Reading {
    /// From the start of a stream; `target` is where the loop has caught up.
    pub(super) fn new(target: Option<FilePos>) -> Self {
        Self { target, slots: Vec::new(), flushed: Instant::now(), dirty: true, ahead: false }
    }

    /// Whether the decoder stands behind a group that has not been ended here.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead
    }
}

impl Session<'_> {
    /// Reads until the loop ends.
    pub(super) async fn read(
        &mut self,
        stream: &mut BinlogStream,
        decoder: &mut Decoder,
        reading: &mut Reading,
        backoff: &mut Backoff,
    ) -> Result<Ended, Failure> {
        let mut since_look = 0_u32;
        let mut filtered = 0_u64;
        let mut events = 0_u64;
        loop {
            let event = match stream.try_next()? {
                Some(event) => event,
                None => {
                    self.ctx.live.source.events(std::mem::take(&mut events), std::mem::take(&mut filtered));
                    if decoder.at_boundary() {
                        if let Some(ended) = self.settle(decoder, reading, true).await? {
                            return Ok(ended);
                        }
                        tokio::select! {
                            event = stream.next() => event?,
                            Some(request) = self.ctx.requests.recv(), if knows_its_file(decoder) => {
                                self.serve_one(request, decoder, reading).await?;
                                continue;
                            }
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                            () = Ingest::snapshot_changed(&mut self.ctx.until) => continue,
                        }
                    } else {
                        tokio::select! {
                            event = stream.next() => event?,
                            () = self.ctx.shutdown.cancelled() => return Ok(Ended::Stopped),
                        }
                    }
                }
            };
            events += 1;
            since_look += 1;
            reading.dirty = true;
            filtered += u64::from(self.event(&event, decoder, reading).await?);
            if !decoder.at_boundary() {
                // A transaction of tables that are not captured may be long, and never comes to a flush.
                if since_look.is_multiple_of(LOOK_EVERY) && self.ctx.shutdown.is_cancelled() {
                    return Ok(Ended::Stopped);
                }
                continue;
            }
            if since_look >= LOOK_EVERY {
                since_look = 0;
                backoff.reset();
                while knows_its_file(decoder)
                    && let Ok(request) = self.ctx.requests.try_recv()
                {
                    self.serve_one(request, decoder, reading).await?;
                }
                if (reading.flushed.elapsed() >= FLUSH_EVERY || self.ctx.writer.wants_flush())
                    && let Some(ended) = self.settle(decoder, reading, false).await?
                {
                    return Ok(ended);
                }
            }
        }
    }

    /// At a boundary: what was read is handed over; says whether that was all there is to do.
    async fn settle(&mut self, decoder: &Decoder, reading: &mut Reading, dry: bool) -> Result<Option<Ended>, Failure> {
        if reading.dirty {
            self.checkpoint_and_flush(&decoder.position()).await?;
            reading.dirty = false;
            reading.flushed = Instant::now();
        }
        self.ctx.live.source.read(decoder.origin().commit_micros, now_micros());
        if dry {
            self.ctx.live.source.caught_up(now_micros());
        }
        if self.ctx.shutdown.is_cancelled() {
            return Ok(Some(Ended::Stopped));
        }
        let idle = self.ctx.waiting.is_empty() && self.ctx.exact.is_none() && self.ctx.snapshot_is_done();
        if let Some(target) = reading.target.as_ref().filter(|_| idle) {
            let (file, pos) = decoder.boundary();
            let at = FilePos { file: file.to_owned(), pos };
            if at.reaches(target) != Some(false) {
                return Ok(Some(Ended::CaughtUp));
            }
        }
        Ok(None)
    }

    async fn serve_one(
        &mut self,
        request: Request,
        decoder: &mut Decoder,
        reading: &mut Reading,
    ) -> Result<(), Failure> {
        self.serve(request, &decoder.position(), &placed(decoder)).await?;
        reading.dirty = true;
        self.tell_forgotten(decoder);
        Ok(())
    }

    /// Takes one event; true if it was rows of a table that is not captured.
    async fn event(
        &mut self,
        event: &RawEvent<'_>,
        decoder: &mut Decoder,
        reading: &mut Reading,
    ) -> Result<bool, Failure> {
        if event.header.kind == kind::QUERY && may_be_a_statement(event.data) && !self.ctx.writer.is_fragmented() {
            // Decoding it may move the decoder's position behind it.
            self.save_position(&decoder.position())?;
        }
        match decoder.decode(event)? {
            Item::Nothing | Item::Begin | Item::Heartbeat => {
                // A position can pass a chunk's without a transaction: rotation, heartbeats.
                if decoder.at_boundary() {
                    self.place(decoder, false).await?;
                }
            }
            Item::Rows { slot, op, images } => {
                let slot_index = usize::try_from(slot.0).unwrap_or(usize::MAX);
                let index = match reading.slots.get(slot_index).copied().flatten() {
                    Some(index) => index,
                    None => self.bind(slot, slot_index, decoder, reading)?,
                };
                if self.must_save_position(images.len()) {
                    self.save_position(&decoder.position())?;
                }
                self.stream_rows(index, op, &images, &decoder.origin()).await?;
            }
            Item::Schema { slot, schema } => {
                if self.must_save_position(usize::MAX / 2) {
                    self.save_position(&decoder.position())?;
                }
                self.schema(&schema, &decoder.origin()).await?;
                let slot_index = usize::try_from(slot.0).unwrap_or(usize::MAX);
                self.bind(slot, slot_index, decoder, reading)?;
            }
            Item::Filtered { .. } => return Ok(true),
            Item::Statement(statement) => {
                reading.ahead = !statement.in_transaction;
                let mode = SqlMode::from_bits(statement.sql_mode);
                let origin = decoder.origin();
                self.statement(&statement.sql, &statement.database, mode, &origin).await?;
                if !statement.in_transaction {
                    self.end_of_group(decoder, reading).await?;
                }
            }
            Item::Commit => self.end_of_group(decoder, reading).await?,
            Item::Rollback => {
                self.roll_back(&decoder.position()).await?;
                reading.slots.clear();
                self.tell_forgotten(decoder);
            }
        }
        Ok(false)
    }

    async fn end_of_group(&mut self, decoder: &mut Decoder, reading: &mut Reading) -> Result<(), Failure> {
        let exact = self.ctx.exact.as_ref().map(|read| read.table.clone());
        let touched = exact.is_some_and(|table| self.touches(&table));
        reading.ahead = true;
        self.end_group(&decoder.origin())?;
        reading.ahead = false;
        if !self.forgotten.is_empty() {
            self.tell_forgotten(decoder);
            reading.slots.clear();
        }
        self.place(decoder, touched).await
    }

    /// Places what waits for the stream to come here.
    async fn place(&mut self, decoder: &mut Decoder, touched: bool) -> Result<(), Failure> {
        if self.ctx.waiting.is_empty() && self.ctx.exact.is_none() {
            return Ok(());
        }
        let (at, origin) = (decoder.position(), placed(decoder));
        self.place_exact(&at, touched, &origin).await?;
        self.place_waiting(&at, &origin).await?;
        self.tell_forgotten(decoder);
        Ok(())
    }

    fn tell_forgotten(&mut self, decoder: &mut Decoder) {
        for table in self.forgotten.drain(..) {
            decoder.forget(&table);
        }
    }

    fn bind(
        &mut self,
        slot: TableSlot,
        slot_index: usize,
        decoder: &Decoder,
        reading: &mut Reading,
    ) -> Result<usize, Failure> {
        let name =
            decoder.table(slot).ok_or_else(|| Failure::fatal("a rows event names a table that was never mapped"))?;
        let index = self.ctx.registry.index(name);
        if reading.slots.len() <= slot_index {
            reading.slots.resize(slot_index + 1, None);
        }
        if let Some(bound) = reading.slots.get_mut(slot_index) {
            *bound = Some(index);
        }
        Ok(index)
    }
}

/// Whether a `QUERY` event can be more than the begin or end of a transaction, which every transaction has.
fn may_be_a_statement(data: &[u8]) -> bool {
    // The statement follows the default database and its terminating zero byte.
    !data.ends_with(b"\0BEGIN") && !data.ends_with(b"\0COMMIT")
}

/// Whether positions of other connections can be compared with the stream's: after a start by GTID the server names its
/// file with the first group or heartbeat.
fn knows_its_file(decoder: &Decoder) -> bool {
    !decoder.boundary().0.is_empty()
}

/// Origin of frames that a snapshot places here: the stream's position, and the time of ours.
fn placed(decoder: &Decoder) -> Origin {
    Origin { commit_micros: now_micros(), ..decoder.origin() }
}
