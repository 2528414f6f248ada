//! Snapshot rows into the log: chunks at the first boundary that has passed them, whole-table reads at their exact position.
//!
//! The argument why that is right stands in [`crate::source::mysql::snapshot::handoff`].

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{debug, info};

use super::registry::Current;
use super::session::Session;
use super::state::Counts;
use crate::codec::frame::{Audience, FrameHeader, Mark, RowOp, TableChange};
use crate::error::Failure;
use crate::model::{FilePos, Origin, SourcePosition, TableName, TableSchema};
use crate::source::mysql::snapshot::handoff::{ExactRead, Images, Paused, Placed, Request, SnapshotMark, WindowId};

/// Bytes of rows given to the log at once.
const PIECE: usize = 100 << 10;

/// A chunk that waits for the stream to pass it.
#[derive(Debug)]
pub(super) struct WaitingChunk {
    window: WindowId,
    schema: Arc<TableSchema>,
    images: Images,
    high: FilePos,
    progress: (Vec<u8>, Vec<u8>),
    reply: oneshot::Sender<Placed>,
}

/// Whether `at` is at or after `other`.
fn reaches(at: &SourcePosition, other: &FilePos) -> Result<bool, Failure> {
    if at.file.is_empty() {
        // A start by GTID: the server has not said yet which file it reads.
        return Ok(false);
    }
    let at = FilePos { file: at.file.clone(), pos: at.pos };
    at.reaches(other).ok_or_else(|| {
        Failure::fatal(format!("cannot order binlog files '{}' and '{}': a name has no number", at.file, other.file))
    })
}

/// Whether a job that begins does what was asked of its table before: `asked` says whether that replaces the rows at the sinks. A job
/// that only adds does not stand for one that replaces, and one for a part of the table for none.
fn stands_for(replaces: bool, whole: bool, asked: Option<bool>) -> bool {
    replaces || (whole && asked == Some(false))
}

/// Tells a reader what became of its request. A reader that is gone, because it was stopped, does not need to know.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    if reply.send(value).is_err() {
        debug!("a snapshot reader was gone before it was answered");
    }
}

impl Session<'_> {
    /// Serves one request of the snapshot readers. Only at a boundary.
    pub(super) async fn serve(
        &mut self,
        request: Request,
        at: &SourcePosition,
        origin: &Origin,
    ) -> Result<(), Failure> {
        match request {
            Request::OpenWindow { table, window, reply } => {
                self.ctx.windows.open(window, table);
                if reply.send(at.clone()).is_err() {
                    self.ctx.windows.close(window);
                }
                Ok(())
            }
            Request::CloseWindow { window } => {
                self.ctx.windows.close(window);
                Ok(())
            }
            Request::PlaceChunk { window, schema, images, high, progress, reply } => {
                self.ctx.waiting.push(WaitingChunk { window, schema, images, high, progress, reply });
                self.place_waiting(at, origin).await
            }
            Request::Pause { reply } => self.pause(reply, at, origin).await,
            Request::Mark { mark, progress, reply } => {
                let mark = match mark {
                    SnapshotMark::Begun { table, replaces, empties, whole } => {
                        self.save_position(at)?;
                        // A table has one job at a time: what is still noted or waits is of one that has ended.
                        self.ctx.windows.invalidate(&table);
                        if empties {
                            self.empty_copies(&table, origin)?;
                        }
                        // The job is now in the snapshot's own progress.
                        if stands_for(replaces, whole, self.ctx.outstanding.get(&table).copied()) {
                            self.ctx.writer.remove(&super::state::reread_key(&table));
                            self.ctx.outstanding.remove(&table);
                            self.ctx.show_outstanding();
                        }
                        Mark::SnapshotBegun { table, whole }
                    }
                    SnapshotMark::Finished { table, rows } => Mark::SnapshotFinished { table, rows },
                };
                self.ctx.writer.put(&progress.0, &progress.1);
                self.single(FrameHeader::Mark { origin: origin.clone(), audience: Audience::All, mark })?;
                self.end_group(origin)?;
                // Whoever is told that a table is done finds its rows durable.
                self.checkpoint_and_flush(at).await?;
                self.ctx.durable().await?;
                answer(reply, ());
                Ok(())
            }
        }
    }

    /// Empties the table at the sinks. Of a table without a schema they have nothing.
    fn empty_copies(&mut self, table: &TableName, origin: &Origin) -> Result<(), Failure> {
        let Some(schema) = self.ctx.registry.current(table).map(|current| current.id) else { return Ok(()) };
        let change = TableChange::ReplaceBegin { table: table.clone(), schema };
        self.single(FrameHeader::Change { origin: origin.clone(), audience: Audience::All, change })
    }

    /// Places every chunk that the stream has passed.
    pub(super) async fn place_waiting(&mut self, at: &SourcePosition, origin: &Origin) -> Result<(), Failure> {
        let mut index = 0;
        while let Some(chunk) = self.ctx.waiting.get(index) {
            // What cannot be placed is said at once: after a change of servers its position may never be reached.
            if !self.ctx.windows.is_valid(chunk.window) || reaches(at, &chunk.high)? {
                let chunk = self.ctx.waiting.swap_remove(index);
                self.save_position(at)?;
                self.place_chunk(chunk, origin).await?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    async fn place_chunk(&mut self, chunk: WaitingChunk, origin: &Origin) -> Result<(), Failure> {
        let WaitingChunk { window, schema, images, progress, reply, .. } = chunk;
        let Some(window) = self.ctx.windows.close(window).filter(|window| window.valid) else {
            answer(reply, Placed::Discarded);
            return Ok(());
        };
        let before = self.ctx.registry.current(&schema.name).map(|current| current.id);
        let known = self.ctx.registry.current(&schema.name).is_some_and(|current| *current.schema == *schema);
        if !known {
            let same_key = self
                .ctx
                .registry
                .current(&schema.name)
                .is_none_or(|current| current.schema.same_image(&schema) && current.schema.key == schema.key);
            if !same_key {
                // No statement of the window made this difference, so the log's schema is what is old.
                self.adopt(TableSchema::clone(&schema), None, origin)?;
                if !window.keys.is_empty() {
                    self.end_group(origin)?;
                    answer(reply, Placed::Discarded);
                    return Ok(());
                }
            } else if self.ctx.registry.current(&schema.name).is_none() {
                self.adopt(TableSchema::clone(&schema), None, origin)?;
            }
        }
        let Some(current) = self.ctx.registry.current(&schema.name).cloned() else {
            return Err(Failure::fatal(format!(
                "table '{}' lost its schema while a chunk of it was placed",
                schema.name
            )));
        };
        if images.rows == 0 && before == Some(current.id) {
            // A chunk without rows announces its table, also to a sink for which what the log said of it before came too early.
            let change =
                TableChange::Schema { table: schema.name.clone(), from: before, to: current.id, renamed: Vec::new() };
            self.single(FrameHeader::Change { origin: origin.clone(), audience: Audience::All, change })?;
        }
        let kept = self.append_images(&current, &images, |hash| !window.keys.contains(&hash), origin).await?;
        let superseded = images.rows - kept;
        self.count(
            &current,
            Counts { read: u64::from(images.rows), appended: u64::from(kept), filtered: u64::from(superseded) },
        );
        self.ctx.writer.put(&progress.0, &progress.1);
        self.end_group(origin)?;
        debug!(table = %schema.name, kept, superseded, "snapshot chunk placed");
        answer(reply, Placed::Appended { kept, superseded });
        Ok(())
    }

    /// Appends the images whose key `keep` wants; gives how many.
    async fn append_images(
        &mut self,
        current: &Current,
        images: &Images,
        keep: impl Fn(u128) -> bool,
        origin: &Origin,
    ) -> Result<u32, Failure> {
        let damaged = |error| {
            Failure::fatal(format!("a snapshot row of '{}' cannot be read back", current.schema.name)).caused_by(error)
        };
        let key = current.schema.key.as_ref().map(|key| key.columns.clone()).unwrap_or_default();
        let (mut rest, mut kept) = (images.bytes.as_slice(), 0_u32);
        let (mut run, mut run_rows) = (Vec::with_capacity(PIECE), 0_u32);
        for _ in 0..images.rows {
            let len = current.plan.image_len(rest).map_err(damaged)?;
            let (image, tail) = rest.split_at(len);
            rest = tail;
            let wanted = key.is_empty() || keep(current.plan.key_hash(&key, image).map_err(damaged)?);
            if wanted {
                if !run.is_empty() && run.len() + image.len() > PIECE {
                    self.rows(current, RowOp::Snapshot, run_rows, &run, origin).await?;
                    run.clear();
                    run_rows = 0;
                }
                run.extend_from_slice(image);
                run_rows += 1;
                kept += 1;
            }
        }
        if !rest.is_empty() {
            return Err(Failure::fatal(format!(
                "a snapshot chunk of '{}' holds {} bytes behind its last row",
                current.schema.name,
                rest.len()
            )));
        }
        if run_rows > 0 {
            self.rows(current, RowOp::Snapshot, run_rows, &run, origin).await?;
        }
        Ok(kept)
    }

    /// Stands still until the reader has a position, which is where it goes on to before it places the rows.
    async fn pause(
        &mut self,
        reply: oneshot::Sender<Paused>,
        at: &SourcePosition,
        origin: &Origin,
    ) -> Result<(), Failure> {
        // What is appended becomes durable meanwhile.
        self.checkpoint_and_flush(at).await?;
        let (exact, told) = oneshot::channel();
        if reply.send(Paused { at: at.clone(), exact }).is_err() {
            return Ok(());
        }
        let read = tokio::select! {
            read = told => read.ok(),
            () = self.ctx.shutdown.cancelled() => None,
        };
        let Some(read) = read else { return Ok(()) };
        if !reaches(
            &SourcePosition { file: read.at.file.clone(), pos: read.at.pos, ..at.clone() },
            &FilePos { file: at.file.clone(), pos: at.pos },
        )? {
            answer(read.reply, Placed::Discarded);
            return Ok(());
        }
        self.ctx.exact = Some(read);
        self.place_exact(at, false, origin).await
    }

    /// Places the whole-table read if the stream stands at its position. `touched`: the group that just ended changed its table.
    pub(super) async fn place_exact(
        &mut self,
        at: &SourcePosition,
        touched: bool,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let Some(read) = &self.ctx.exact else { return Ok(()) };
        if !reaches(at, &read.at)? {
            return Ok(());
        }
        let there = at.file == read.at.file && at.pos == read.at.pos;
        let Some(read) = self.ctx.exact.take() else { return Ok(()) };
        if !there && touched {
            answer(read.reply, Placed::Discarded);
            return Ok(());
        }
        self.append_exact(read, at, origin).await
    }

    async fn append_exact(&mut self, read: ExactRead, at: &SourcePosition, origin: &Origin) -> Result<(), Failure> {
        let ExactRead { table, schema, replace, mut pieces, progress, reply, .. } = read;
        self.reading_table(true);
        self.save_position(at)?;
        self.adopt(TableSchema::clone(&schema), None, origin)?;
        let Some(current) = self.ctx.registry.current(&table).cloned() else {
            return Err(Failure::fatal(format!("table '{table}' lost its schema while it was read whole")));
        };
        if replace {
            let change = TableChange::ReplaceBegin { table: table.clone(), schema: current.id };
            self.single(FrameHeader::Change { origin: origin.clone(), audience: Audience::All, change })?;
        }
        self.end_group(origin)?;
        let mut total = 0_u32;
        loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = self.ctx.shutdown.cancelled() => {
                    // Not finished: the next start replaces what came so far.
                    answer(reply, Placed::Discarded);
                    self.reading_table(false);
                    return Ok(());
                }
            };
            match piece {
                None => break,
                Some(Ok(images)) => {
                    total = total.saturating_add(images.rows);
                    let kept = self.append_images(&current, &images, |_| true, origin).await?;
                    let rows = u64::from(kept);
                    self.count(&current, Counts { read: rows, appended: rows, filtered: 0 });
                    self.end_group(origin)?;
                    self.checkpoint_and_flush(at).await?;
                }
                Some(Err(failure)) => {
                    info!(%table, error = %failure.chain(), "whole-table read broke off, it is read again");
                    answer(reply, Placed::Discarded);
                    self.reading_table(false);
                    return Ok(());
                }
            }
        }
        self.ctx.writer.put(&progress.0, &progress.1);
        self.end_group(origin)?;
        self.reading_table(false);
        answer(reply, Placed::Appended { kept: total, superseded: 0 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_for_a_part_of_a_table_leaves_what_was_asked_of_the_whole() {
        let (replaces, adds, nothing) = (Some(true), Some(false), None);
        let stands = |begun: (bool, bool)| [replaces, adds, nothing].map(|asked| stands_for(begun.0, begun.1, asked));
        assert_eq!(stands((false, false)), [false, false, false], "a part");
        assert_eq!(stands((false, true)), [false, true, false], "the whole, beside what is there");
        assert_eq!(stands((true, true)), [true, true, true], "the whole, in place of what is there");
    }
}
