//! The status document: what `replicator status --json` prints. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use wal::CursorInfo;

use super::{Health, ReadShown, SinkPhase, SourcePhase, TableStatus};
use crate::dead::Sum;
use crate::error::{sink_reset, sink_resume};
use crate::model::{Names, SourcePosition, TableName};
use crate::table::State;

/// The daemon at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// False when the document was read from the log of a stopped daemon: then only what the log holds is in it.
    pub running: bool,
    /// What all of this comes to, and why.
    pub health: Health,
    /// Process id of the daemon.
    pub pid: Option<u32>,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Where rows come from.
    pub source: SourceStatus,
    /// The log.
    pub wal: WalStatus,
    /// What is being read of tables.
    pub snapshot: SnapshotStatus,
    /// Where rows go, in the order of the configuration; then the cursors of sinks that are not configured.
    pub sinks: Vec<SinkStatus>,
    /// State and row counters by table.
    pub tables: Vec<TableStatus>,
    /// Changes of definitions that the stream has logged since the start, by kind.
    #[serde(default)]
    pub schema_changes: BTreeMap<String, u64>,
    /// Errors since the start.
    #[serde(default)]
    pub errors: Vec<ErrorsStatus>,
}

/// Errors of one type and class since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorsStatus {
    /// `source`, `sink` (all of them), or `read` (of tables).
    #[serde(rename = "type")]
    pub kind: String,
    /// `retry`: tried again. `row`: about one row or table. `fatal`: what it is an error of has stopped.
    pub class: String,
    /// How many.
    pub count: u64,
}

/// The source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourcePhase,
    /// Since when, in UTC.
    #[serde(default)]
    pub since: Option<String>,
    /// Flavour, version and identity of the server.
    pub server: Option<String>,
    /// How it spells and compares names of databases and tables.
    #[serde(default)]
    pub names: Names,
    /// Everything before it is durable in the log.
    pub position: Option<Position>,
    /// Age of the newest moment up to which the log is known to be complete; grows while the source stalls.
    pub lag_seconds: Option<f64>,
    /// Seconds since it last sent anything, heartbeats included; before that, since the start.
    #[serde(default)]
    pub last_success_seconds: Option<f64>,
    /// Why it is in its state.
    pub error: Option<String>,
    /// Events read since the start.
    pub events: u64,
    /// Events among them that are of tables which are not captured.
    pub filtered_events: u64,
    /// Connections made again since the start.
    pub reconnects: u64,
    /// Tables whose definition the server is asked for. Sinks wait at rows that need the answer.
    #[serde(default)]
    pub asking: Vec<String>,
    /// Two-phase transactions that were prepared before the log began: reads of tables wait for their end.
    #[serde(default)]
    pub waits_for: Vec<String>,
}

/// A position in the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Binlog file; `None` between a failover and the first event of the new server, whose files are others.
    pub file: Option<String>,
    /// Offset in it.
    pub pos: Option<u64>,
    /// Executed GTID set; empty when the server has none.
    pub gtid: String,
}

impl fmt::Display for Position {
    /// What is known of it: `binlog.000003:4, gtid 0-1-4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.file.as_ref().zip(self.pos).map(|(file, pos)| format!("{file}:{pos}"));
        let gtid = (!self.gtid.is_empty()).then(|| format!("gtid {}", self.gtid.replace('\n', "")));
        let known: Vec<String> = place.into_iter().chain(gtid).collect();
        f.write_str(&known.join(", "))
    }
}

impl From<SourcePosition> for Position {
    fn from(at: SourcePosition) -> Self {
        let known = !at.file.is_empty();
        Self { file: known.then_some(at.file), pos: known.then_some(at.pos), gtid: at.gtid }
    }
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WalStatus {
    /// Its directory.
    pub path: String,
    /// Its identity.
    pub id: String,
    /// First frame it holds.
    pub first_lsn: u64,
    /// Last frame that is durable.
    pub durable_lsn: u64,
    /// Bytes the frames take.
    pub bytes: u64,
    /// What `bytes` may become before the source has to wait.
    pub capacity_bytes: u64,
    /// What the file takes on disk.
    pub disk_bytes: u64,
    /// Limit of the file.
    pub max_bytes: u64,
    /// The source waits for room.
    pub full: bool,
    /// Commits since the start.
    pub commits: u64,
    /// Why the log is out of service.
    pub error: Option<String>,
}

/// What is being read of tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// The tables of which a read is wanted or has begun, those that have begun first. A table that is read leaves the list.
    pub tables: Vec<SnapshotTableStatus>,
}

/// The read of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotTableStatus {
    /// `database.table`.
    pub table: String,
    /// The table's state, as in `tables[]`: `reading`, or `unreadable`.
    pub state: State,
    /// The read has begun.
    pub running: bool,
    /// Why it is read.
    pub why: String,
    /// The sinks that it is read for; `None`: all.
    pub sinks: Option<Vec<String>>,
    /// Rows read.
    pub rows: u64,
    /// Rows the server estimates.
    pub estimated_rows: u64,
    /// Rows per second, lately.
    pub rows_per_second: Option<f64>,
    /// Seconds that the rest will take at that rate.
    pub eta_seconds: Option<u64>,
    /// The error after which it is tried again.
    pub error: Option<String>,
}

impl From<ReadShown> for SnapshotTableStatus {
    fn from(read: ReadShown) -> Self {
        let ReadShown { table, state, running, why, sinks, rows, reader } = read;
        Self {
            table: table.to_string(),
            state,
            running,
            why,
            sinks,
            rows,
            estimated_rows: reader.estimated_rows,
            rows_per_second: reader.rows_per_second,
            eta_seconds: reader.eta.map(|eta| eta.as_secs()),
            error: reader.error,
        }
    }
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its type; `None`: it is not configured.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it is doing.
    pub state: SinkPhase,
    /// Since when, in UTC.
    #[serde(default)]
    pub since: Option<String>,
    /// Last frame it has taken.
    pub delivered_lsn: u64,
    /// Last frame that is durable at the target.
    pub applied_lsn: u64,
    /// Bytes of the log it has not applied.
    pub backlog_bytes: u64,
    /// Transactions of the log it has not applied.
    pub backlog_transactions: u64,
    /// Age of the newest moment up to which the target is known to be complete for every captured table; grows while
    /// sink or source stalls. `None` while a table is being read: then there is no such moment yet.
    pub lag_seconds: Option<f64>,
    /// What the lag is at least: `lag_seconds`, or how long a table has been incomplete, as far as this run knows.
    #[serde(default)]
    pub lag_at_least_seconds: Option<f64>,
    /// Seconds since it last applied something, 0 while there is nothing to apply; before that, since the start.
    #[serde(default)]
    pub last_success_seconds: Option<f64>,
    /// How many captured tables are in each state.
    #[serde(default)]
    pub tables: BTreeMap<State, u64>,
    /// Why it is in its state.
    pub error: Option<String>,
    /// The command that settles it.
    #[serde(default)]
    pub remedy: Option<String>,
    /// Failed writes and commits since the start.
    pub errors: u64,
    /// Frames since the start that changed nothing here: they are for other sinks, or of a kind that no sink acts on.
    #[serde(default)]
    pub passed_over_frames: u64,
    /// The schema that it waits for.
    #[serde(default)]
    pub waiting: Option<WaitingStatus>,
    /// Tables that it leaves out, because something is wrong with them.
    #[serde(default)]
    pub stopped_tables: Vec<StoppedTableStatus>,
    /// What sending took, by table; only of sinks that send batches.
    #[serde(default)]
    pub batches: Vec<BatchStatus>,
    /// Row changes that it could not write, and that the log keeps.
    #[serde(default)]
    pub dead_letters: LettersStatus,
}

/// Dead letters of a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LettersStatus {
    /// How many.
    pub count: u64,
    /// What they take of the log.
    pub bytes: u64,
}

impl Status {
    /// Adds what there is of a sink's dead letters.
    pub(crate) fn add_letters(&mut self, sink: &str, all: Sum, of_tables: impl IntoIterator<Item = (TableName, Sum)>) {
        let Sum { count, bytes } = all;
        if count == 0 {
            return;
        }
        for shown in self.sinks.iter_mut().filter(|shown| shown.name == sink) {
            shown.dead_letters = LettersStatus { count, bytes };
        }
        let mut of_tables: BTreeMap<String, Sum> =
            of_tables.into_iter().map(|(table, sum)| (table.to_string(), sum)).collect();
        for table in &mut self.tables {
            if let (Some(sum), Some(at)) = (of_tables.remove(&table.table), table.sinks.get_mut(sink)) {
                at.dead_letters = sum.count;
            }
        }
    }
}

/// Why a sink is detached, where nothing more is known.
pub(super) const DETACHED: &str = "it was detached from the full log, which does not keep what follows for it";

impl SinkStatus {
    /// As far as a cursor says, of a sink in this state.
    pub(crate) fn of_cursor(cursor: &CursorInfo, kind: Option<&str>, state: SinkPhase) -> Self {
        let (error, remedy) = match state {
            SinkPhase::Unconfigured => (
                Some("the log keeps what this cursor has not applied, and no sink of this name is configured"),
                Some(format!("replicator wal drop-cursor {}", cursor.name)),
            ),
            SinkPhase::Detached => (Some(DETACHED), Some(sink_reset(&cursor.name))),
            SinkPhase::Paused => (None, Some(sink_resume(&cursor.name))),
            _ => (None, None),
        };
        Self {
            delivered_lsn: cursor.lsn.raw(),
            applied_lsn: cursor.lsn.raw(),
            backlog_bytes: cursor.backlog_bytes,
            backlog_transactions: cursor.backlog_groups,
            error: error.map(str::to_owned),
            remedy,
            ..Self::nothing_applied(&cursor.name, kind, state)
        }
    }

    /// Of a sink that has no cursor.
    pub(crate) fn nothing_applied(name: &str, kind: Option<&str>, state: SinkPhase) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            state,
            since: None,
            delivered_lsn: 0,
            applied_lsn: 0,
            backlog_bytes: 0,
            backlog_transactions: 0,
            lag_seconds: None,
            lag_at_least_seconds: None,
            last_success_seconds: None,
            tables: BTreeMap::new(),
            error: None,
            remedy: None,
            errors: 0,
            passed_over_frames: 0,
            waiting: None,
            stopped_tables: Vec::new(),
            batches: Vec::new(),
            dead_letters: LettersStatus::default(),
        }
    }
}

/// A schema that a sink waits for: the source is still asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// `database.table`.
    pub table: String,
    /// Number of the schema.
    pub schema: u32,
    /// The frame that waits.
    pub lsn: u64,
    /// Since when, in UTC.
    pub since: String,
}

/// A table that a sink leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedTableStatus {
    /// `database.table`.
    pub table: String,
    /// Its changes from this LSN on are left out.
    pub since_lsn: u64,
    /// Why, and the remedy.
    pub reason: String,
}

/// What sending the batches of one table took, since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchStatus {
    /// `database.table`.
    pub table: String,
    /// Batches acknowledged.
    pub batches: u64,
    /// Rows in them, as the target counts: an update of a key is two.
    pub rows: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Seconds from the first byte to the acknowledgement, in all.
    pub seconds: f64,
    /// Active parts of the table at the target, as last asked.
    pub parts: Option<u64>,
}
