//! Snapshot rows into the log: chunks at the first boundary that has passed them, whole-table reads at their exact position.
//!
//! The argument why that is right is in [`crate::source::mysql::snapshot::handoff`].

use std::sync::Arc;

use tracing::debug;

use super::{Action, Core};
use crate::codec::frame::{Audience, FrameHeader, Mark, RowOp, TableChange};
use crate::codec::stored::REREAD;
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::state::Counts;
use crate::ingest::tables::Current;
use crate::ingest::windows::Window;
use crate::model::{FilePos, Origin, TableName, TableSchema};
use crate::source::mysql::snapshot::handoff::{Images, Placed, SnapshotMark, WindowId};
use crate::source::mysql::snapshot::is_unfinished;

/// Bytes of rows given to the log at once.
const PIECE: usize = 100 << 10;

/// A chunk of a snapshot.
#[derive(Debug)]
pub struct Chunk {
    /// Its window.
    pub window: WindowId,
    /// Schema of its images.
    pub schema: Arc<TableSchema>,
    /// The rows.
    pub images: Images,
    /// The last place that its SELECT can have seen.
    pub high: FilePos,
    /// The reader's progress once it is placed: (key, value).
    pub progress: (Vec<u8>, Vec<u8>),
}

/// A chunk that waits for the stream to pass it.
pub(super) type WaitingChunk = Chunk;

/// Whether a job that begins does what was asked of its table before: `asked` says whether that replaces the rows at the sinks. A job
/// that only adds does not serve for one that replaces, and one for a part of the table for none.
fn serves_for(replaces: bool, whole: bool, asked: Option<bool>) -> bool {
    replaces || (whole && asked == Some(false))
}

impl<L: Log> Core<L> {
    /// Starts to note the keys that the stream changes in a table. Between groups only, as everything here.
    pub fn open_window(&mut self, window: WindowId, table: &TableName) {
        let index = self.tables.index(table);
        self.windows.open(window, index);
    }

    /// Forgets a window.
    pub fn close_window(&mut self, window: WindowId) {
        self.windows.close(window);
    }

    /// Takes a chunk, and places it once the stream has passed it.
    ///
    /// # Errors
    /// When the log is out of service, or the chunk does not fit its own schema.
    pub fn chunk(&mut self, chunk: Chunk) -> Result<(), Failure> {
        self.decide_overdue()?;
        self.chunks.push(chunk);
        self.place_chunks()
    }

    /// Places every chunk that the stream has passed.
    pub(super) fn place_chunks(&mut self) -> Result<(), Failure> {
        let mut index = 0;
        while let Some(chunk) = self.chunks.get(index) {
            // A chunk that cannot be placed is discarded at once: after a change of servers its place may never be reached.
            if !self.windows.is_valid(chunk.window) || self.ledger.reaches(&chunk.high)? {
                let chunk = self.chunks.swap_remove(index);
                let window = chunk.window;
                let placed = self.place_chunk(chunk)?;
                self.actions.push(Action::Placed { window, placed });
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn place_chunk(&mut self, chunk: Chunk) -> Result<Placed, Failure> {
        let Chunk { window, schema, images, progress, .. } = chunk;
        let Some(window) = self.windows.close(window).filter(Window::is_valid) else {
            return Ok(Placed::Discarded);
        };
        let origin = self.ledger.origin(self.wall);
        let table = self.tables.index(&schema.name);
        let before = self.definition(table).current.clone();
        if before.as_ref().is_some_and(|before| self.is_pending(table, before.id)) {
            // Which key its rows have is not decided.
            return Ok(Placed::Discarded);
        }
        let is_same = |current: &Current| current.schema.same_image(&schema) && current.schema.key == schema.key;
        if !before.as_ref().is_some_and(is_same) {
            // No statement of the window made this difference, so the log's schema is what is old.
            self.adopt(table, TableSchema::clone(&schema), &origin)?;
            if before.is_some() && !window.is_untouched() {
                self.commit_here()?;
                return Ok(Placed::Discarded);
            }
        }
        let current = self.current(table)?;
        if images.rows == 0 && before.as_ref().is_some_and(|before| before.id == current.id) {
            // A chunk without rows announces its table, also to a sink for which what the log said of it before came too early.
            let change = TableChange::Schema {
                table: schema.name.clone(),
                from: Some(current.id),
                to: current.id,
                renamed: Vec::new(),
            };
            self.single(FrameHeader::Change { origin: origin.clone(), audience: Audience::All, change })?;
        }
        let kept = self.snapshot_rows(table, &current, &images, |hash| !window.has(hash), &origin)?;
        let superseded = images.rows - kept;
        self.put_progress(&schema.name, progress)?;
        self.commit_here()?;
        debug!(table = %schema.name, kept, superseded, "snapshot chunk placed");
        Ok(Placed::Appended { kept, superseded })
    }

    fn current(&self, table: usize) -> Result<Current, Failure> {
        self.definition(table).current.clone().ok_or_else(|| {
            let name = &self.tables.at(table).name;
            Failure::fatal(format!("table '{name}' lost its schema while rows of it were placed"))
        })
    }

    /// Stores the progress of a table's read with the open group.
    fn put_progress(&mut self, table: &TableName, (key, value): (Vec<u8>, Vec<u8>)) -> Result<(), Failure> {
        self.unfinished.insert(table.clone(), is_unfinished(table, &value)?);
        self.group.put(key, Some(value));
        Ok(())
    }

    /// Appends the images whose key `keep` wants, with the open group; returns how many.
    fn snapshot_rows(
        &mut self,
        table: usize,
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
        let (mut run, mut run_rows) = (Vec::with_capacity(PIECE.min(images.bytes.len())), 0_u32);
        for _ in 0..images.rows {
            let len = current.plan.image_len(rest).map_err(damaged)?;
            let (image, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = tail;
            let wanted = key.is_empty() || keep(current.plan.key_hash(&key, image).map_err(damaged)?);
            if wanted {
                if !run.is_empty() && run.len() + image.len() > PIECE {
                    let section = (current.id, RowOp::Snapshot, run_rows);
                    self.group.frames.rows(&mut self.ledger, section, &run, origin)?;
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
                "a snapshot chunk of '{}' holds {} bytes after its last row",
                current.schema.name,
                rest.len()
            )));
        }
        if run_rows > 0 {
            self.group.frames.rows(&mut self.ledger, (current.id, RowOp::Snapshot, run_rows), &run, origin)?;
        }
        let (read, filtered) = (u64::from(images.rows), u64::from(images.rows - kept));
        self.group.count(table, Counts { read, filtered, ..Counts::default() });
        if self.definition(table).emptied {
            self.redefine(table).emptied = false;
        }
        Ok(kept)
    }

    /// Appends the mark that a table's read begins or is done.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn mark(&mut self, mark: SnapshotMark, progress: (Vec<u8>, Vec<u8>)) -> Result<(), Failure> {
        self.decide_overdue()?;
        let origin = self.ledger.origin(self.wall);
        let mark = match mark {
            SnapshotMark::Begun { table, replaces, empties, whole } => {
                self.begin_read(&table, replaces, empties, whole, &origin)?;
                self.put_progress(&table, progress)?;
                Mark::SnapshotBegun { table, whole }
            }
            SnapshotMark::Finished { table, rows } => {
                self.put_progress(&table, progress)?;
                let index = self.tables.index(&table);
                if self.definition(index).replacing {
                    self.redefine(index).replacing = false;
                    self.change(&origin, TableChange::ReplaceEnd { table: table.clone() })?;
                }
                Mark::SnapshotFinished { table, rows }
            }
        };
        self.single(FrameHeader::Mark { origin, audience: Audience::All, mark })?;
        self.commit_here()
    }

    fn begin_read(
        &mut self,
        name: &TableName,
        replaces: bool,
        empties: bool,
        whole: bool,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let table = self.tables.index(name);
        // A table has one job at a time: what is still noted or waits is of one that has ended.
        self.group.discard_windows(table);
        if self.definition(table).left_out {
            // From here on the read brings what was left out.
            self.redefine(table).left_out = false;
        }
        if empties && let Some(schema) = self.definition(table).current.as_ref().map(|current| current.id) {
            // Of a table without a schema the sinks have nothing.
            self.change(origin, TableChange::ReplaceBegin { table: name.clone(), schema })?;
            let definition = self.redefine(table);
            definition.emptied = true;
            definition.replacing = true;
        }
        // The job is now in the snapshot's own progress.
        if serves_for(replaces, whole, self.asked_reads.get(name).copied()) {
            self.group.put(REREAD.of_table(name), None);
            self.asked_reads.remove(name);
        }
        Ok(())
    }

    /// Begins to place a whole table that was read at this very position.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn begin_whole(&mut self, schema: &TableSchema, replace: bool) -> Result<(), Failure> {
        self.decide_overdue()?;
        let origin = self.ledger.origin(self.wall);
        let table = self.tables.index(&schema.name);
        if replace {
            self.redefine(table).emptied = true;
        }
        let definition = self.redefine(table);
        definition.left_out = false;
        definition.key_unknown = false;
        self.adopt(table, schema.clone(), &origin)?;
        let current = self.current(table)?;
        if replace {
            let change = TableChange::ReplaceBegin { table: schema.name.clone(), schema: current.id };
            self.change(&origin, change)?;
            self.redefine(table).replacing = true;
        }
        self.commit_here()
    }

    /// Places rows of that table.
    ///
    /// # Errors
    /// When the log is out of service, or the rows do not fit the table's schema.
    pub fn whole_rows(&mut self, table: &TableName, images: &Images) -> Result<(), Failure> {
        let origin = self.ledger.origin(self.wall);
        let table = self.tables.index(table);
        let current = self.current(table)?;
        self.snapshot_rows(table, &current, images, |_| true, &origin)?;
        self.commit_here()
    }

    /// Every row of that table is placed.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn end_whole(&mut self, table: &TableName, progress: (Vec<u8>, Vec<u8>)) -> Result<(), Failure> {
        self.put_progress(table, progress)?;
        self.commit_here()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_for_a_part_of_a_table_leaves_what_was_asked_of_the_whole() {
        let (replaces, adds, nothing) = (Some(true), Some(false), None);
        let serves = |begun: (bool, bool)| [replaces, adds, nothing].map(|asked| serves_for(begun.0, begun.1, asked));
        assert_eq!(serves((false, false)), [false, false, false], "a part");
        assert_eq!(serves((false, true)), [false, true, false], "the whole, beside what is there");
        assert_eq!(serves((true, true)), [true, true, true], "the whole, in place of what is there");
    }
}
