//! The status document: what `replicator status --json` prints. Fields are added, never renamed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SinkPhase, SnapshotPhase, SourcePhase, TableStatus};
use crate::model::SourcePosition;

/// The daemon at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// False when the document was read from the log of a stopped daemon: then only what the log holds is in it.
    pub running: bool,
    /// Process id of the daemon.
    pub pid: Option<u32>,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Where rows come from.
    pub source: SourceStatus,
    /// The log.
    pub wal: WalStatus,
    /// The snapshot.
    pub snapshot: SnapshotStatus,
    /// Where rows go, in the order of the configuration.
    pub sinks: Vec<SinkStatus>,
    /// Row counters by table.
    pub tables: Vec<TableStatus>,
}

/// The source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourcePhase,
    /// Flavour, version and identity of the server.
    pub server: Option<String>,
    /// Everything before it is durable in the log.
    pub position: Option<Position>,
    /// Age of the newest moment up to which the log is known to be complete; grows while the source stalls.
    pub lag_seconds: Option<f64>,
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

/// The snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// Tables in the order in which they are read; empty when there is no snapshot.
    pub tables: Vec<SnapshotTableStatus>,
}

/// One table's snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotTableStatus {
    /// `database.table`.
    pub table: String,
    /// How far it is.
    pub state: SnapshotPhase,
    /// Rows read.
    pub rows: u64,
    /// Rows the server estimates.
    pub estimated_rows: u64,
    /// Rows per second, lately.
    pub rows_per_second: Option<f64>,
    /// Seconds that the rest will take at that rate.
    pub eta_seconds: Option<u64>,
    /// Why it failed, or what is tried again.
    pub error: Option<String>,
}

/// One sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is doing.
    pub state: SinkPhase,
    /// Last frame it has taken.
    pub delivered_lsn: u64,
    /// Last frame that is durable at the target.
    pub applied_lsn: u64,
    /// Bytes of the log it has not applied.
    pub backlog_bytes: u64,
    /// Transactions of the log it has not applied.
    pub backlog_transactions: u64,
    /// Age of the newest moment up to which the target is known to be complete; grows while sink or source stalls.
    pub lag_seconds: Option<f64>,
    /// Why it is in its state.
    pub error: Option<String>,
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
