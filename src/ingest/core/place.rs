//! Snapshot rows into the log: chunks at the first boundary that has passed them, whole tables at their exact position
//! in the order of their own rows ([`super::divert`]).
//!
//! The argument why that is right is in [`crate::source::mysql::snapshot::handoff`].

use std::ops::Range;
use std::sync::Arc;

use tracing::debug;

use super::schema::Change;
use super::{Action, Core};
use crate::codec::frame::{Audience, RowOp, TableChange};
use crate::error::Failure;
use crate::ingest::ledger::{Log, origin_at};
use crate::ingest::state::Counts;
use crate::ingest::windows::Window;
use crate::model::{FilePos, Origin, TableName, TableSchema};
use crate::mutants::{Mutant, is_on};
use crate::source::mysql::follow::{Current, Provenance};
use crate::source::mysql::snapshot::handoff::{Account, Images, Placed, SnapshotMark, WindowId};
use crate::table::{Event, Reach, Stage};

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
    /// Which read it is of, and how far that is once the chunk is placed.
    pub account: Account,
}

/// A chunk that waits for the stream to pass it.
pub(super) type WaitingChunk = Chunk;

impl<L: Log> Core<L> {
    /// Starts to note the keys that the stream changes in a table. Between groups only, as everything here.
    pub fn open_window(&mut self, window: WindowId, table: &TableName) {
        let index = self.tables.index(table);
        self.windows.open(window, index);
        self.windows.begin_with(window, self.xa.recent.keys(index, self.now));
    }

    /// Forgets a window; says whether a chunk that was read in it could still be placed.
    pub fn close_window(&mut self, window: WindowId) -> bool {
        self.windows.close(window).is_some_and(|window| window.is_valid())
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
        let Chunk { window, schema, images, account, .. } = chunk;
        let window = self.windows.close(window);
        let table = self.tables.index(&schema.name);
        let read = if is_on(Mutant::ChunkFromBeforeDoubtKept) {
            self.life(table).read.as_ref().filter(|read| read.has_begun())
        } else {
            self.wanted(table, account.number)
        };
        let Some(read) = read else { return Ok(Placed::Unwanted) };
        let audience = read.audience.clone();
        let is_first = read.stage == Stage::Begun;
        let is_unwatched = matches!(read.reach, Reach::Keys(_)) && is_on(Mutant::KeysReadWithoutWindow);
        let account = Account { number: read.number, ..account };
        let Some(window) = window.filter(Window::is_valid) else { return Ok(Placed::Discarded) };
        let origin = self.ledger.origin(self.wall);
        let before = self.followed(table).current().cloned();
        if before.as_ref().is_some_and(|before| self.is_pending(table, before.id)) {
            // Which key its rows have is not decided.
            return Ok(Placed::Discarded);
        }
        let is_same = |current: &Current| current.schema.same_image(&schema) && current.schema.key == schema.key;
        if before.as_ref().is_some_and(|current| is_same(current) && !current.knows(&schema)) {
            // Only what no image shows is new.
            self.adopt(table, TableSchema::clone(&schema), Provenance::Description, &origin)?;
        }
        if !before.as_ref().is_some_and(is_same) {
            // No statement of the window made this difference, so the log's schema is what is old.
            self.adopt(table, TableSchema::clone(&schema), Provenance::Description, &origin)?;
            if before.is_some() && !window.is_untouched() {
                self.commit_here()?;
                return Ok(Placed::Discarded);
            }
        }
        let is_late = self.life(table).read.as_ref().is_some_and(|read| read.reach == Reach::Replace && !read.replaces);
        if is_late {
            // The table had no schema when its read began. Rows that came meanwhile go with the copy, so the last key is taken again.
            self.happens(table, Event::Replaced { number: account.number }, &origin)?;
            self.commit_here()?;
            return Ok(Placed::Discarded);
        }
        let current = self.current(table)?;
        if (images.rows == 0 || is_first) && before.as_ref().is_some_and(|before| before.id == current.id) {
            // The first chunk of a read announces its table, also to a sink for which what the log said of it before
            // came too early.
            let change = TableChange::Schema {
                table: schema.name.clone(),
                from: Some(current.id),
                to: current.id,
                renamed: Vec::new(),
                lost: false,
            };
            self.change_for(&origin, audience.clone(), change)?;
        }
        // The definition may have changed just now: that is for every sink, and the rows are for some.
        let kept = self
            .snapshot_rows(table, &current, &images, (&audience, &origin), |hash| is_unwatched || !window.has(hash))?;
        let superseded = images.rows - kept;
        // The group has a copy of them: a huge row must not be in memory once more while the log takes it over.
        drop(images);
        self.placed(table, account, &origin)?;
        self.commit_here()?;
        debug!(table = %schema.name, kept, superseded, "snapshot chunk placed");
        Ok(Placed::Appended { kept, superseded })
    }

    pub(super) fn current(&self, table: usize) -> Result<Current, Failure> {
        self.followed(table).current().cloned().ok_or_else(|| {
            let name = &self.tables.at(table).name;
            Failure::fatal(format!("table '{name}' lost its schema while rows of it were placed"))
        })
    }

    /// Rows of a read are placed with the open group.
    fn placed(&mut self, table: usize, account: Account, origin: &Origin) -> Result<(), Failure> {
        let Account { number, stage, rows } = account;
        self.happens(table, Event::Placed { number, stage, rows }, origin)
    }

    /// Appends the images whose key `keep` wants, with the open group; returns how many.
    fn snapshot_rows(
        &mut self,
        table: usize,
        current: &Current,
        images: &Images,
        (audience, origin): (&Audience, &Origin),
        keep: impl Fn(u128) -> bool,
    ) -> Result<u32, Failure> {
        self.group.frames.set_audience(audience);
        let damaged = |error| {
            Failure::fatal(format!("a snapshot row of '{}' cannot be read back", current.schema.name)).caused_by(error)
        };
        let key = current.schema.key.as_ref().map(|key| key.columns.clone()).unwrap_or_default();
        let (mut rest, mut kept) = (images.bytes.as_slice(), 0_u32);
        // Images that stand behind each other and are wanted.
        let (mut run, mut run_rows) = (0..0, 0_u32);
        let of = |run: &Range<usize>| images.bytes.get(run.clone()).unwrap_or_default();
        for _ in 0..images.rows {
            let len = current.plan.image_len(rest).map_err(damaged)?;
            let begins = images.bytes.len() - rest.len();
            let (image, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = tail;
            let wanted = key.is_empty() || keep(current.plan.key_hash(&key, image).map_err(damaged)?);
            if wanted {
                let follows = run.end == begins && run.len() + image.len() <= PIECE;
                if !run.is_empty() && !follows {
                    let section = (current.id, RowOp::Snapshot, run_rows);
                    self.group.frames.rows(&mut self.ledger, section, of(&run), origin)?;
                    run = begins..begins;
                    run_rows = 0;
                }
                run = if run.is_empty() { begins } else { run.start }..begins + image.len();
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
            self.group.frames.rows(&mut self.ledger, (current.id, RowOp::Snapshot, run_rows), of(&run), origin)?;
        }
        let (read, filtered) = (u64::from(images.rows), u64::from(images.rows - kept));
        self.group.count(table, Counts { read, filtered, ..Counts::default() });
        Ok(kept)
    }

    /// A read begins, or is done. False: it is no longer wanted.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn mark(&mut self, mark: &SnapshotMark) -> Result<bool, Failure> {
        self.decide_overdue()?;
        let origin = self.ledger.origin(self.wall);
        let (SnapshotMark::Begun { table: name, number, .. } | SnapshotMark::Finished { table: name, number }) = mark;
        let table = self.tables.index(name);
        let Some(number) = self.wanted(table, *number).map(|read| read.number) else { return Ok(false) };
        let event = match mark {
            SnapshotMark::Begun { at_once, .. } => {
                self.xa.recent.begin_read(table);
                let is_known = self.followed(table).current().is_some();
                Event::Begun { number, at_once: *at_once, is_known }
            }
            SnapshotMark::Finished { .. } => Event::Finished { number },
        };
        self.happens(table, event, &origin)?;
        self.commit_here()?;
        Ok(true)
    }

    /// Begins to place a whole table that was read at a position which the stream has come to, and whose rows after it wait. False: it is no
    /// longer wanted.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn begin_whole(&mut self, schema: &TableSchema, number: u32, at: &FilePos) -> Result<bool, Failure> {
        self.decide_overdue()?;
        let origin = origin_at(at, self.wall);
        let table = self.tables.index(&schema.name);
        let Some(read) = self.wanted(table, number) else { return Ok(false) };
        let (number, is_whole) = (read.number, read.is_whole());
        let replaces_all = is_whole && read.audience == Audience::All;
        let before = self.followed(table).current().cloned();
        self.redefine(table).followed.know_key();
        let change = Change { unknown: None, provenance: Provenance::Description, is_replaced: replaces_all };
        self.change_schema(table, schema.clone(), change, &origin)?;
        self.diverted_have_schema(table, before.as_ref(), schema);
        if is_whole {
            self.happens(table, Event::Replaced { number }, &origin)?;
        }
        self.commit_here()?;
        Ok(true)
    }

    /// Places rows of that table. False: it is no longer wanted.
    ///
    /// # Errors
    /// When the log is out of service, or the rows do not fit the table's schema.
    pub fn whole_rows(
        &mut self,
        name: &TableName,
        number: u32,
        images: &Images,
        at: &FilePos,
    ) -> Result<bool, Failure> {
        let origin = origin_at(at, self.wall);
        let table = self.tables.index(name);
        let Some(read) = self.wanted(table, number) else { return Ok(false) };
        let audience = read.audience.clone();
        let rows = read.rows + u64::from(images.rows);
        let account = Account { number: read.number, stage: read.stage.clone(), rows };
        let current = self.current(table)?;
        self.snapshot_rows(table, &current, images, (&audience, &origin), |_| true)?;
        self.placed(table, account, &origin)?;
        self.commit_here()?;
        Ok(true)
    }

    /// Every row of that table is placed. False: it is no longer wanted.
    ///
    /// # Errors
    /// When the log is out of service.
    pub fn end_whole(&mut self, name: &TableName, number: u32) -> Result<bool, Failure> {
        let origin = self.ledger.origin(self.wall);
        let table = self.tables.index(name);
        let Some(read) = self.wanted(table, number) else { return Ok(false) };
        let account = Account { number: read.number, stage: Stage::Placed, rows: read.rows };
        self.placed(table, account, &origin)?;
        self.end_diversion(table);
        self.commit_here()?;
        Ok(true)
    }
}
