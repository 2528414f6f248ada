//! The checked configuration: every value is valid, every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobSet;

use super::source::{DEFAULT_REREAD_KEYLESS_ROWS, DEFAULT_REREAD_PAUSE};
use super::{Password, SinkPlan, TlsPlan};
use crate::model::{Names, OnDoubt, Rules, TableName};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where rows come from.
    pub source: SourcePlan,
    /// The log.
    pub wal: WalPlan,
    /// Where rows go; may be empty, then the daemon only fills the log.
    pub sinks: Vec<SinkPlan>,
    /// The HTTP listener.
    pub http: HttpPlan,
    /// Rows that a sink could not write.
    pub dead_letters: DeadLetterPlan,
    /// Log lines.
    pub log: LogPlan,
}

/// The `log` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    /// The least level of log lines, or a filter of them.
    pub level: String,
}

impl Default for LogPlan {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

/// The `dead_letters` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterPlan {
    /// The most that the dead letters of all sinks may take in the log.
    pub max_bytes: u64,
}

/// The `source` section.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// What rows are tagged with where tables of several sources share one (`source_tag`).
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// Port, 3306 by default.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password, from `REPLICATOR_SOURCE_PASSWORD` or `source.password_file`; may be empty.
    pub password: Password,
    /// Server id under which the dump is asked for; unique among the source's replicas.
    pub server_id: u32,
    /// Where a log without a position starts.
    pub startup: Startup,
    /// What is done where the binlogs that follow the log's position were purged.
    pub on_purged: OnPurged,
    /// Which tables are captured.
    pub filter: TableFilter,
    /// How long delivery waits for what the binlog does not say of a table, before its rows are left out and it is read again.
    pub describe_wait: Duration,
    /// What is done about doubts.
    pub doubts: DoubtPlan,
    /// The most that rows may take on disk that wait while a table without a chunk key is read whole.
    pub spool_max: u64,
    /// The most that rows of prepared two-phase transactions may take in the log.
    pub xa_bytes: u64,
    /// The longest that reads of tables wait for transactions which were prepared before the log began.
    pub xa_wait: Duration,
    /// Snapshot settings.
    pub snapshot: SnapshotPlan,
    /// TLS settings.
    pub tls: TlsPlan,
}

/// What is done where it is not known what a table's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtPlan {
    /// What is done about a doubt.
    pub on_doubt: OnDoubt,
    /// What is done about a doubt about single tables.
    pub tables: Vec<(TableName, OnDoubt)>,
    /// The pause between two reads of a table that begin by themselves.
    pub reread_pause: Duration,
    /// A table without a key for chunks that has more rows is not read by itself.
    pub reread_keyless_rows: u64,
}

impl Default for DoubtPlan {
    fn default() -> Self {
        Self {
            on_doubt: OnDoubt::Reread,
            tables: Vec::new(),
            reread_pause: DEFAULT_REREAD_PAUSE,
            reread_keyless_rows: DEFAULT_REREAD_KEYLESS_ROWS,
        }
    }
}

impl DoubtPlan {
    /// What holds for a table at a server with this rule for names.
    pub fn rules_for(&self, table: &TableName, names: Names) -> Rules {
        let own = self.tables.iter().find(|(name, _)| names.table(name.clone()) == *table);
        Rules {
            on_doubt: own.map_or(self.on_doubt, |(_, on_doubt)| *on_doubt),
            pause: i64::try_from(self.reread_pause.as_micros()).unwrap_or(i64::MAX),
        }
    }
}

/// What is done where a server that has everything that was read has purged what follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPurged {
    /// The start stops with that.
    #[default]
    Stop,
    /// The server's current position is taken, and every table is read again.
    Resync,
}

/// Where a log without a position starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// A snapshot of every captured table, and the stream from its start on.
    Initial,
    /// The stream from now on.
    Latest,
    /// The stream from a given position.
    Specific(SpecificStart),
}

/// A position as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecificStart {
    /// Binlog file and offset.
    FilePos {
        /// File name.
        file: String,
        /// Offset of an event's start.
        pos: u64,
    },
    /// Executed GTID set, in the server's own text form.
    Gtid(String),
}

/// Which tables are captured: matched by an `include` glob and by no `exclude` glob, both over `database.table`.
/// The server's own databases (`mysql`, `sys`, `information_schema`, `performance_schema`) never are.
///
/// Until the server has said its rule for names ([`TableFilter::under`]), names are as written.
#[derive(Clone, Debug)]
pub struct TableFilter {
    names: Names,
    as_written: Globs,
    in_lower_case: Globs,
    /// In the order of the configuration.
    literals: Vec<TableName>,
}

#[derive(Clone, Debug)]
struct Globs {
    include: GlobSet,
    exclude: GlobSet,
}

impl Globs {
    fn have(&self, name: &str) -> bool {
        self.include.is_match(name) && !self.exclude.is_match(name)
    }
}

impl TableFilter {
    /// From compiled globs, which are the same in lower case.
    pub fn new(include: GlobSet, exclude: GlobSet) -> Self {
        let globs = Globs { include, exclude };
        Self { names: Names::Exact, as_written: globs.clone(), in_lower_case: globs, literals: Vec::new() }
    }

    /// With the globs in lower case, for a server whose names are.
    #[must_use]
    pub fn in_lower_case(mut self, include: GlobSet, exclude: GlobSet) -> Self {
        self.in_lower_case = Globs { include, exclude };
        self
    }

    /// For a server with this rule for names.
    #[must_use]
    pub fn under(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// The server's rule for names of databases and tables.
    pub fn names(&self) -> Names {
        self.names
    }

    /// With the entries of `include` that hold no glob, each of which names one table.
    #[must_use]
    pub fn naming(mut self, literals: Vec<TableName>) -> Self {
        self.literals = literals;
        self
    }

    /// The tables that `include` names without a glob and `exclude` does not match, as the configuration spells them. A name with more
    /// than one dot is divided at the first.
    pub fn literals(&self) -> impl Iterator<Item = &TableName> {
        self.literals.iter().filter(|table| {
            let name = self.names.table((*table).clone()).to_string();
            !self.globs(self.names).exclude.is_match(name)
        })
    }

    /// Whether the table is captured.
    pub fn captures(&self, database: &str, table: &str) -> bool {
        self.captures_under(self.names, database, table)
    }

    /// Whether the table is captured at a server of some rule for names.
    pub fn may_capture(&self, table: &TableName) -> bool {
        [Names::Exact, Names::Folded].iter().any(|names| self.captures_under(*names, &table.database, &table.table))
    }

    fn captures_under(&self, names: Names, database: &str, table: &str) -> bool {
        let (database, table) = (names.fold(database), names.fold(table));
        !is_of_the_server(&database) && self.globs(names).have(&format!("{database}.{table}"))
    }

    fn globs(&self, names: Names) -> &Globs {
        match names {
            Names::Exact => &self.as_written,
            Names::Folded => &self.in_lower_case,
        }
    }
}

/// Whether a database is the server's own, which is never captured.
pub fn is_of_the_server(database: &str) -> bool {
    matches!(database, "mysql" | "sys" | "information_schema" | "performance_schema")
}

/// The `source.snapshot` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// Rows a chunk has at most.
    pub chunk_rows: u32,
    /// Chunks read at once.
    pub parallel: u16,
    /// Rows read per second over all tables; 0: no limit.
    pub max_rows_per_second: u64,
}

/// The `wal` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalPlan {
    /// Directory of the log.
    pub path: PathBuf,
    /// Size limit of the log in bytes.
    pub max_size: u64,
}

/// The `http` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpPlan {
    /// Where `/metrics` and `/health` are served; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether the metrics say each table's numbers, or only those of all tables together.
    pub table_metrics: bool,
}
