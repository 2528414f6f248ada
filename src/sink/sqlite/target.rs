//! The open database: the round's transaction, and the rows that go into it.
//!
//! A round is one SQLite transaction, begun at its first change and ended by [`Target::commit`] with the cursor in it.
//! Rows are written as they come, so nothing is held in memory; SQLite's cache spills to its write-ahead file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use wal::{LogId, Lsn};

use super::bind::Scratch;
use super::claim::Held;
use super::error::{row, sqlite};
use super::files::Files;
use super::history::History;
use super::keyless::Keyless;
use super::layout::{Layout, quoted};
use super::mirror::Mirror;
use super::registry::Tables;
use super::types::Storage;
use super::{claim, cursor, open, registry};
use crate::codec::frame::RowOp;
use crate::codec::row_image::PlanError;
use crate::codec::version::Epoch;
use crate::config::{Mode, OnRowError, SinkPlan, ValuePolicy};
use crate::error::{ErrorClass, Failure};
use crate::model::{TableName, TableSchema};
use crate::sink::changes::Changes;
use crate::sink::claim::Opener;
use crate::sink::counts::Counts;
use crate::sink::definitions::Followed;
use crate::sink::epoch::Owner;
use crate::sink::follow::Lookup;
use crate::sink::rows::{self, Lettering, Section, Writes};
use crate::sink::stops;
use crate::sink::values::{Rules, Stand};
use crate::sink::{Line, TakeOver, TargetState};

/// An open database.
pub(super) struct Target {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    files: Files,
    pub(super) plan: SinkPlan,
    /// Its tables and their changes.
    pub(super) followed: Followed<Storage, Rows>,
    log: LogId,
    held: Held,
    /// Of the versions of the rows that are written.
    pub(super) epoch: Epoch,
    pub(super) scratch: Scratch,
}

/// What rows are written with.
pub(super) struct Letting<'l> {
    pub(super) path: &'l Path,
    pub(super) table: &'l TableName,
    pub(super) scratch: &'l mut Scratch,
    pub(super) dead: Lettering<'l>,
}

/// What is done with the savepoint of what one table needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Savepoint {
    Begin,
    Keep,
    Undo,
}

impl Savepoint {
    fn sql(self) -> &'static [&'static str] {
        match self {
            Self::Begin => &["SAVEPOINT _replicator"],
            Self::Keep => &["RELEASE _replicator"],
            Self::Undo => &["ROLLBACK TO _replicator", "RELEASE _replicator"],
        }
    }
}

pub(super) enum Rows {
    Mirror(Mirror),
    Keyless(Keyless),
    History(History),
}

impl Target {
    /// Opens the file and reads what it holds of this sink.
    pub(super) fn open(
        path: &Path,
        plan: &SinkPlan,
        log: LogId,
        opener: &mut Opener,
    ) -> Result<(Self, TargetState), Failure> {
        Self::open_as(path, plan, log, (None, opener))
    }

    /// Opens the file and takes it over, at `at`.
    pub(super) fn take_over(
        path: &Path,
        plan: &SinkPlan,
        taking: TakeOver<'_>,
        opener: &mut Opener,
    ) -> Result<(Self, TargetState), Failure> {
        Self::open_as(path, plan, taking.log, (Some(taking), opener))
    }

    fn open_as(
        path: &Path,
        plan: &SinkPlan,
        log: LogId,
        (take_over, opener): (Option<TakeOver<'_>>, &mut Opener),
    ) -> Result<(Self, TargetState), Failure> {
        let connection = open::open(path)?;
        let fail = |error| sqlite(path, "read the sink's own tables", error);
        let state = cursor::read(&connection, &plan.name).map_err(fail)??;
        let create = || cursor::create(&connection).and_then(|()| registry::create(&connection));
        create().and_then(|()| claim::create(&connection)).map_err(fail)?;
        let lines = open::with_little_cache(&connection, || registry::load(&connection, &plan.name)).map_err(fail)?;
        let stored = match state {
            TargetState::At { log, epoch, .. } => Some(Owner { log, epoch }),
            TargetState::Fresh | TargetState::Lost(_) => None,
        };
        let (owner, state, held) = match take_over {
            None => {
                let held = claim::open(&connection, &plan.name, log, (state, opener)).map_err(fail)??;
                (Owner::of(&plan.name, stored, log)?, state, held)
            }
            Some(TakeOver { at, is_again, .. }) => {
                let found = match (stored, state) {
                    (None, TargetState::Lost(_)) => newest_epoch(&connection, &lines.0).map_err(fail)?,
                    (stored, _) => stored.map(|owner| owner.epoch),
                };
                let again = stored.filter(|owner| is_again && owner.log == log);
                let owner = again.map_or_else(|| Owner::taking_over(&plan.name, found, log), Ok)?;
                let held = claim::take_over(&connection, &plan.name, (owner, at), (state, opener)).map_err(fail)??;
                (owner, TargetState::At { log, epoch: owner.epoch, applied: at }, held)
            }
        };
        let stops = registry::load_stops(&connection, &plan.name).map_err(fail)?;
        let files = Files::of(&plan.name, path)?;
        let target = Self {
            connection,
            path: path.to_owned(),
            files,
            plan: plan.clone(),
            followed: Followed::new(lines, stops, Changes::default(), state),
            log,
            held,
            epoch: owner.epoch,
            scratch: Scratch::default(),
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

    /// A failure that is about a table alone, and can be taken back alone. SQLite takes the whole round back for some, as when a trigger on the
    /// copy says `RAISE(ROLLBACK)`: then the round is given up, and the table stops before it comes again.
    pub(super) fn alone(&mut self, table: &TableName, failure: Failure) -> Result<Failure, Failure> {
        if failure.class != ErrorClass::Row {
            return Err(failure);
        }
        if self.connection.is_autocommit() {
            self.followed.doomed.insert(table.clone(), failure.chain());
            let what =
                format!("SQLite has taken back the whole round because of {table}, which stops before it comes again");
            return Err(Failure::retry(what).caused_by(failure));
        }
        Ok(failure)
    }

    /// Begins, keeps or takes back what one table needs.
    pub(super) fn savepoint(&self, savepoint: Savepoint) -> Result<(), Failure> {
        for sql in savepoint.sql() {
            let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
            done.map_err(|error| self.fail("use a savepoint", error))?;
        }
        Ok(())
    }

    /// Ends the round's transaction with the stops and the cursor in it; says what became of the round's rows.
    pub(super) async fn commit(&mut self, end: Lsn) -> Result<Counts, Failure> {
        self.begin()?;
        self.held
            .check(&self.connection, &self.plan.name)
            .map_err(|error| self.fail("look who writes to the file", error))??;
        stops::write_stops(self).await?;
        // Durable before the commit that leaves their rows out.
        self.followed.letters.close(end);
        self.followed.letters.store().await?;
        cursor::write(&self.connection, &self.plan.name, self.log, self.epoch, end)
            .map_err(|error| self.fail("write the cursor", error))?;
        let mut commit = self.connection.prepare_cached("COMMIT").map_err(|error| self.fail("commit", error))?;
        commit.execute([]).map_err(|error| self.fail("commit", error))?;
        drop(commit);
        self.held.is_written();
        // After the commit: what went into a file that was gone by then is not acknowledged.
        self.files.check()?;
        self.scratch.trim();
        self.followed.ends(end);
        let counts = std::mem::take(&mut self.followed.counts);
        self.warn_of_keyless(&counts);
        Ok(counts)
    }

    /// Writes a line of a history that is kept as a dead letter, in a transaction of its own with the cursor as it is.
    pub(super) async fn try_line(&mut self, line: Line<'_>, lookup: &mut Lookup<'_>) -> Result<bool, Failure> {
        if self.has_line(line)? {
            return Ok(true);
        }
        self.begin()?;
        let counts = std::mem::take(&mut self.followed.counts);
        let written = rows::try_line(self, line, lookup);
        self.followed.counts = Counts::default();
        if !matches!(written, Ok(true)) {
            self.rollback()?;
        }
        let ended =
            if matches!(written, Ok(true)) { self.commit(self.followed.applied).await.map(drop) } else { Ok(()) };
        self.followed.counts = counts;
        ended.and(written)
    }

    /// Whether a line is there: a crash came before its letter was removed.
    fn has_line(&self, line: Line<'_>) -> Result<bool, Failure> {
        let Some(table) = self.followed.tables.get(&line.letter.table) else { return Ok(false) };
        if table.layout.mode != Mode::History {
            return Ok(false);
        }
        let version = i64::try_from(rows::moment(self, line).version(line.id.ordinal)).unwrap_or(i64::MAX);
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE \"_version\" = ?1)", quoted(&table.layout.target));
        let found = self.connection.query_row(&sql, [version], |row| row.get(0));
        found.map_err(|error| self.fail("look for a line", error))
    }

    /// Where rows are told apart by all their values, a change that finds no row says that the copy differed from its
    /// source.
    fn warn_of_keyless(&self, counts: &Counts) {
        for (name, counts) in counts.iter().filter(|(_, counts)| counts.unmatched > 0) {
            if self.followed.tables.get(name).is_some_and(|table| table.layout.key.is_empty()) {
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

    pub(super) fn fail(&self, what: &str, error: rusqlite::Error) -> Failure {
        sqlite(&self.path, what, error)
    }
}

impl Writes for Target {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn rows_of(&self, schema: &TableSchema, layout: &Layout) -> Result<Rows, Failure> {
        let values = self.plan.options_for(&schema.name).values;
        rows_of(schema, layout, &Arc::new(rules(schema, layout, values)))
    }

    fn write_section(&mut self, rows: &mut Rows, section: Section<'_>) -> Result<u64, Failure> {
        let Section { table, op, body, moment, .. } = section;
        // One statement is taken back by itself where it fails.
        let is_guarded = section.rows > 1 || op == RowOp::Update;
        if is_guarded {
            self.savepoint(Savepoint::Begin)?;
        }
        // What a section had that was taken back.
        self.scratch.take_replaced();
        let connection = &self.connection;
        let takes = self.plan.on_row_error == OnRowError::DeadLetter;
        let dead = Lettering::of(self.followed.letters.open(), section, takes);
        let mut with = Letting { path: &self.path, table, scratch: &mut self.scratch, dead };
        let written = match rows {
            Rows::Mirror(rows) => rows.apply(connection, op, body, &mut with),
            // Without a key, a row that is left out is never told apart again: the table stops.
            Rows::Keyless(rows) => rows.apply(connection, op, body, with.scratch),
            Rows::History(rows) => rows.apply(connection, op, body, &mut with, moment),
        };
        if written.is_err() {
            with.dead.take_back();
        }
        drop(with);
        match written {
            Ok(mut counts) => {
                counts.replaced = self.scratch.take_replaced();
                if is_guarded {
                    self.savepoint(Savepoint::Keep)?;
                }
                self.followed.counts.add(table, counts);
                Ok(counts.taken)
            }
            Err(error) => {
                let failure = self.alone(table, row(&self.path, table, error))?;
                if is_guarded {
                    self.savepoint(Savepoint::Undo)?;
                }
                Err(failure)
            }
        }
    }
}

/// The epoch of the newest line of any changelog: that of a file whose cursor does not say it.
fn newest_epoch(connection: &Connection, tables: &Tables) -> rusqlite::Result<Option<Epoch>> {
    let mut newest = None;
    for layout in tables.values().map(|table| &table.layout).filter(|layout| layout.mode == Mode::History) {
        if !registry::columns(connection, &layout.target)?.iter().any(|column| column == "_version") {
            continue;
        }
        let sql = format!("SELECT max(\"_version\") FROM {}", quoted(&layout.target));
        let version: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
        newest = newest.max(version.and_then(epoch_of_version));
    }
    Ok(newest)
}

fn epoch_of_version(version: i64) -> Option<Epoch> {
    u64::try_from(version).ok().and_then(Epoch::of_version)
}

/// What becomes of values that SQLite does not hold. Any column takes any value; only a key's has no NULL.
pub(super) fn rules(schema: &TableSchema, layout: &Layout, values: ValuePolicy) -> Rules {
    Rules::new(schema, values, |place| Stand {
        is_key: layout.key_columns().any(|column| column.source == place),
        takes_null: true,
    })
}

fn rows_of(schema: &TableSchema, layout: &Layout, rules: &Arc<Rules>) -> Result<Rows, Failure> {
    let unreadable = |error: PlanError| {
        Failure::row(format!("rows of {} cannot be read", schema.name))
            .caused_by(error)
            .hint("leave the table out with `source.exclude`")
    };
    if layout.mode == Mode::History {
        return History::new(schema, layout, rules).map(Rows::History).map_err(unreadable);
    }
    if !layout.key.is_empty() {
        return Mirror::new(schema, layout, rules).map(Rows::Mirror).map_err(unreadable);
    }
    let Some(rowid) = layout.rowid_name() else {
        return Err(Failure::row(format!(
            "{} has no key and columns named rowid, _rowid_ and oid, so its rows cannot be told apart",
            schema.name
        ))
        .hint("give one of them another name with `rename`"));
    };
    Keyless::new(schema, layout, rowid, rules).map(Rows::Keyless).map_err(unreadable)
}
