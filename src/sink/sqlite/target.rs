//! The open database: the round's transaction, and the rows that go into it.
//!
//! A round is one SQLite transaction, begun at its first change and ended by [`Target::commit`] with the cursor in it.
//! Rows are written as they come, so nothing is held in memory; SQLite's cache spills to its write-ahead file.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use wal::{LogId, Lsn};

use super::bind::Scratch;
use super::error::{row, sqlite};
use super::files::Files;
use super::history::{History, Place, utc_text};
use super::keyless::Keyless;
use super::layout::Layout;
use super::mirror::Mirror;
use super::registry::{self, Tables, way_out};
use super::{cursor, open};
use crate::codec::frame::Frame;
use crate::codec::row_image::PlanError;
use crate::codec::version::{Epoch, FramePlace};
use crate::config::{Mode, SinkPlan};
use crate::error::Failure;
use crate::model::{RowCounts, SchemaId, TableName, TableSchema};
use crate::sink::TargetState;
use crate::sink::epoch::epoch_for;

/// Finds the schema of an id.
pub(super) type Lookup<'a> = dyn FnMut(SchemaId) -> Result<Arc<TableSchema>, Failure> + 'a;

/// What became of the rows of some tables.
pub(super) type Counts = BTreeMap<TableName, RowCounts>;

/// An open database.
pub(super) struct Target {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    files: Files,
    pub(super) plan: SinkPlan,
    pub(super) tables: Tables,
    log: LogId,
    /// Of the versions of the rows that are written.
    pub(super) epoch: Epoch,
    writers: HashMap<SchemaId, Writer>,
    pub(super) scratch: Scratch,
    /// What became of the rows of the round that is open.
    round: Counts,
}

/// How the rows of one schema are written.
struct Writer {
    table: TableName,
    rows: Rows,
}

enum Rows {
    Mirror(Mirror),
    Keyless(Keyless),
    History(History),
}

impl Target {
    /// Opens the file and reads what it holds of this sink.
    pub(super) fn open(path: &Path, plan: &SinkPlan, log: LogId) -> Result<(Self, TargetState), Failure> {
        let connection = open::open(path)?;
        let fail = |error| sqlite(path, "read the sink's own tables", error);
        let state = cursor::read(&connection, &plan.name).map_err(fail)??;
        cursor::create(&connection).and_then(|()| registry::create(&connection)).map_err(fail)?;
        let tables = registry::load(&connection, plan).map_err(fail)??;
        let epoch = epoch_for(&plan.name, state, log)?;
        let files = Files::of(path)?;
        let target = Self {
            connection,
            path: path.to_owned(),
            files,
            plan: plan.clone(),
            tables,
            log,
            epoch,
            writers: HashMap::new(),
            scratch: Scratch::default(),
            round: Counts::new(),
        };
        Ok((target, state))
    }

    /// Begins the round's transaction if it has not begun.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        if self.connection.is_autocommit() {
            let mut begin =
                self.connection.prepare_cached("BEGIN IMMEDIATE").map_err(|error| self.fail("begin", error))?;
            begin.execute([]).map_err(|error| self.fail("begin a transaction", error))?;
        }
        Ok(())
    }

    /// Writes the rows of a frame.
    pub(super) fn write(
        &mut self,
        place: FramePlace,
        frame: &Frame<'_>,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), Failure> {
        self.begin()?;
        let commit_micros = frame.header.origin().commit_micros;
        let mut commit_time = None;
        for (section, body, ordinal) in frame.sections() {
            self.prepare_writer(section.schema, lookup)?;
            let Some(writer) = self.writers.get(&section.schema) else { continue };
            let (connection, scratch) = (&self.connection, &mut self.scratch);
            let written = match &writer.rows {
                Rows::Mirror(rows) => rows.apply(connection, section.op, body, scratch),
                Rows::Keyless(rows) => rows.apply(connection, section.op, body, scratch),
                Rows::History(rows) => {
                    let commit_time = commit_time.get_or_insert_with(|| utc_text(commit_micros)).as_str();
                    rows.apply(
                        connection,
                        section.op,
                        body,
                        scratch,
                        Place { epoch: self.epoch, frame: place, ordinal, commit_time },
                    )
                }
            };
            let written = written.map_err(|error| row(&self.path, &writer.table, error))?;
            if written.taken != u64::from(section.rows) {
                return Err(Failure::fatal(format!(
                    "a section of {} in frame {} has {} rows, its header says {}",
                    writer.table, place.lsn, written.taken, section.rows
                )));
            }
            if let Some(counts) = self.round.get_mut(&writer.table) {
                counts.add(written);
            } else {
                self.round.insert(writer.table.clone(), written);
            }
        }
        Ok(())
    }

    /// Ends the round's transaction with the cursor in it; says what became of the round's rows.
    pub(super) fn commit(&mut self, end: Lsn) -> Result<Counts, Failure> {
        self.begin()?;
        cursor::write(&self.connection, &self.plan.name, self.log, self.epoch, end)
            .map_err(|error| self.fail("write the cursor", error))?;
        let mut commit = self.connection.prepare_cached("COMMIT").map_err(|error| self.fail("commit", error))?;
        commit.execute([]).map_err(|error| self.fail("commit", error))?;
        // After the commit: what went into a file that was gone by then is not acknowledged.
        self.files.check()?;
        self.scratch.trim();
        let counts = std::mem::take(&mut self.round);
        self.warn_of_keyless(&counts);
        Ok(counts)
    }

    /// Where rows are told apart by all their values, a change that finds no row says that the copy differed from its
    /// source.
    fn warn_of_keyless(&self, counts: &Counts) {
        for (name, counts) in counts.iter().filter(|(_, counts)| counts.unmatched > 0) {
            if self.tables.get(name).is_some_and(|table| table.layout.key.is_empty()) {
                tracing::warn!(
                    sink = %self.plan.name, table = %name, rows = counts.unmatched,
                    "changes of a table without a key matched no row of the target"
                );
            }
        }
    }

    /// Whether the file is still the one that is open.
    pub(super) fn check_files(&self) -> Result<(), Failure> {
        self.files.check()
    }

    /// Takes back the round.
    pub(super) fn rollback(&self) -> Result<(), Failure> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("ROLLBACK").map_err(|error| self.fail("roll back", error))
    }

    /// Lets go of the file.
    pub(super) fn close(self) -> Result<(), Failure> {
        self.rollback()?;
        let path = self.path;
        self.connection.close().map_err(|(_, error)| sqlite(&path, "close the database", error))
    }

    /// Forgets how a table was written: its shape is another one.
    pub(super) fn forget_writers(&mut self, table: &TableName) {
        self.writers.retain(|_, writer| writer.table != *table);
        self.connection.flush_prepared_statement_cache();
    }

    pub(super) fn fail(&self, what: &str, error: rusqlite::Error) -> Failure {
        sqlite(&self.path, what, error)
    }

    fn prepare_writer(&mut self, id: SchemaId, lookup: &mut Lookup<'_>) -> Result<(), Failure> {
        if self.writers.contains_key(&id) {
            return Ok(());
        }
        let schema = lookup(id)?;
        if !self.tables.contains_key(&schema.name) {
            // A sink that joins a log later sees rows before it sees the change that made their table.
            self.shape(&schema, &[], false)?;
        }
        let Some(table) = self.tables.get(&schema.name) else { return Ok(()) };
        if !table.schema.same_image(&schema) {
            let name = &schema.name;
            return Err(Failure::fatal(format!(
                "rows of {name} have another shape than the table \"{}\"",
                table.layout.target
            ))
            .hint(way_out(&self.plan, name, &table.layout.target)));
        }
        let rows = rows_of(&schema, &table.layout)?;
        self.writers.insert(id, Writer { table: schema.name.clone(), rows });
        Ok(())
    }
}

fn rows_of(schema: &TableSchema, layout: &Layout) -> Result<Rows, Failure> {
    let unreadable = |error: PlanError| {
        Failure::row(format!("rows of {} cannot be read", schema.name))
            .caused_by(error)
            .hint("leave the table out with `source.exclude`")
    };
    if layout.mode == Mode::History {
        return History::new(schema, layout).map(Rows::History).map_err(unreadable);
    }
    if !layout.key.is_empty() {
        return Mirror::new(schema, layout).map(Rows::Mirror).map_err(unreadable);
    }
    let Some(rowid) = layout.rowid_name() else {
        return Err(Failure::fatal(format!(
            "{} has no key and columns named rowid, _rowid_ and oid, so its rows cannot be told apart",
            schema.name
        ))
        .hint("give one of them another name with `rename`"));
    };
    Keyless::new(schema, layout, rowid).map(Rows::Keyless).map_err(unreadable)
}
