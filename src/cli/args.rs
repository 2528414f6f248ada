//! Arguments as typed, and the help.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use globset::GlobMatcher;

use super::failure::Misuse;
use crate::config;
use crate::model::TableName;
use crate::table::State;
use crate::telemetry::logs::LogFormat;

/// Copies MySQL and MariaDB, as they change, through a durable local log into other stores, exactly once.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = false,
    after_help = "\
Examples:
  replicator check                       is everything as it must be? what mends it?
  replicator start                       run until stopped (SIGTERM)
  replicator start --once                copy up to now and exit, for cron and scripts
  replicator status                      how far is it, and what is the bottleneck?
  replicator backfill --table shop.users read a table again, also while the daemon runs
  replicator resync                      read every table again, in place of what the sinks have
  replicator table list                  which tables are copied, and what is wrong with the others?
  replicator table skip shop.users       leave a table out until `table resume`
  replicator sink list                   what does each sink do?
  replicator sink pause warehouse        stop a sink until `sink resume`; the log keeps everything for it
  replicator sink reset warehouse        give a sink a new copy of every table
  replicator dlq list                    which rows could not be written, and why?
  replicator wal inspect --table shop.users --rows
                                         what does the log hold?

Exit codes: 0 done, 1 failed, 2 usage or configuration. status: also 3, an operator has to look.
start: also 4, another replica has the same source.server_id, and the source has ended this one.
The source's password comes from REPLICATOR_SOURCE_PASSWORD or source.password_file."
)]
pub(super) struct Arguments {
    /// Configuration file; relative paths in it are relative to the working directory
    #[arg(long, global = true, value_name = "FILE", default_value = "replicator.yaml")]
    pub(super) config: PathBuf,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the daemon
    #[command(after_help = "\
A log that has a position goes on from it, whatever source.startup_mode says; an empty one begins as that says.
A position that the source cannot go on from (its binlogs were purged or reset, it is another or a restored server) stops the
start with the reason. With --resync it takes the source's current position instead, and every table that the log knows is read
again in place of what the sinks have; a position that is good is used as it is.
The first SIGTERM or SIGINT finishes what is under way and stops within 10 seconds, the second stops at once: neither loses
or repeats a row.

Examples:
  replicator start --config shop.yaml
  replicator start --once                copy up to now, drain every sink, exit 0;
                                         1 if a table or a sink needs an operator
  replicator start --resync              continue although the source's binlogs were purged
  replicator start --log-format json --log-level info,replicator::source=debug")]
    Start(StartArgs),
    /// Check source, log and sinks before a start, and say what mends each finding
    #[command(after_help = "\
Changes nothing. Exits 1 when something is found that would make start fail or lose changes.

Examples:
  replicator check
  replicator check --json | jq '.[] | select(.status != \"ok\")'")]
    Check(CheckArgs),
    /// Show how far the daemon is
    #[command(after_help = "\
The verdict and its reasons come first; /health and the metrics say the same. Tables come worst first.
Without a running daemon, shows what its log says.

Exit codes:
  0  ok, or degraded: what is wrong is tried again, or passes by itself
  1  no daemon is running on the log, or it could not be asked
  2  usage or configuration
  3  failed: an operator has to look

Examples:
  replicator status
  watch -n1 replicator status
  replicator status --table 'shop.*' --state unreadable --state stopped
  replicator status --json | jq '.health.reasons[]'
  replicator status --json | jq '.sinks[].lag_seconds'")]
    Status(StatusArgs),
    /// Read tables again from the source
    #[command(after_help = "\
With a daemon running, hands the tables to it; status shows the progress. Without one, reads them itself, drains every sink
and exits. Rows are placed in the log so that they never overwrite newer ones.

With --replace the new copy is built beside the old one, which stays readable until the new one is whole.

A backfill that waits or runs is joined by a later one of the same table. A condition that the source does not understand is
refused with the source's error, and nothing is stored.

--wait follows the reads and ends when the tables are complete at every sink. --cancel gives up reads that operators have asked for.
A table whose rows are not known without such a read (it had begun to replace the copies, or the table was left out before) is left
out from then on, and `replicator table resume` reads it; any other one stays as complete as it was.

Examples:
  replicator backfill --table shop.users
  replicator backfill --table shop.users --wait && echo complete
  replicator backfill --table shop.users --cancel
  replicator backfill --table shop.users --table shop.orders
  replicator backfill --table shop.orders --where \"created_at >= '2026-01-01'\"
  replicator backfill --table shop.users --replace
                                         a new copy in place of the old one: rows that are gone at the source go
  replicator backfill --tables backfill.yaml

backfill.yaml:
  - { database: shop, table: users, replace: true }
  - { database: shop, table: orders, where: \"id > 1000\", batch_size: 5000 }

Exit codes: 0 taken (with --wait: complete; with --cancel: cancelled), 1 refused, or with --wait failed or cancelled,
2 usage or configuration.")]
    Backfill(BackfillArgs),
    /// Read tables again in place of what the sinks have
    #[command(after_help = "\
Reads every captured table again, or those that are named, for every sink, or for those that are named. Each new copy is built
beside the old one, which stays readable until the new one is whole; changes are copied meanwhile. A table that was left out because
of a doubt is copied again.

With a daemon running, stores at once that every table is wanted; status shows the progress, and no stop or crash forgets a table.
Without one, reads the tables itself, drains every sink and exits. There it also takes a new position where the source cannot go on
from the log's: its binlogs were purged or reset, it is another or a restored server. Then every table is read, whatever is named.
And a sink takes its target over where that does not fit the log: the log was lost or restored, the target was emptied or restored.

Examples:
  replicator resync                      everything, at every sink
  replicator resync --sink warehouse     everything, at one sink
  replicator resync --table shop.users --table shop.orders
  replicator resync --json | jq .tables")]
    Resync(ResyncArgs),
    /// Look at tables, leave one out, and take that back
    #[command(subcommand)]
    Table(TableVerb),
    /// Look at sinks, pause one, let it continue, and give it a new copy
    #[command(subcommand)]
    Sink(SinkVerb),
    /// Look at rows that could not be written, and settle them
    #[command(
        subcommand,
        after_help = "\
A sink with `on_row_error: dead_letter` goes on past a row that it cannot write. The row change is kept in the log as a dead letter,
with its reason, until the row is current again: it is written later, is gone, or comes with a new copy of its table.

Fix the cause first: the constraint or the trigger at the target, the value at the source, a policy in the configuration. Then
retry. In a mirror a retry reads the row again from the source, so that it is never older than what is there; in a history it tries
the line that is kept.

Examples:
  replicator dlq list
  replicator dlq show --sink local --table shop.users
  replicator dlq retry --reason 'a constraint'
  replicator dlq discard --table shop.users

Exit codes: 0 done, 1 failed, or retry and discard match no letter, 2 usage or configuration."
    )]
    Dlq(DlqVerb),
    /// Look into the log
    #[command(subcommand)]
    Wal(WalVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum DlqVerb {
    /// A line for each sink, table and reason: how many there are, and the oldest
    #[command(after_help = "\
Examples:
  replicator dlq list
  replicator dlq list --json | jq '.[] | select(.letters > 100)'")]
    List(LettersArgs),
    /// Each letter, with its row as the sink would have it
    #[command(after_help = "\
Columns that the sink leaves out are not shown, renamed ones have their names at the sink, and values that it hashes are \"(hashed)\".

Examples:
  replicator dlq show
  replicator dlq show --table shop.users --json | jq .key")]
    Show(LettersArgs),
    /// Try them again, once their cause is gone; all of them without a filter
    #[command(after_help = "\
With a daemon running it is done at once, without one at the next start. `dlq list` shows what is left.

Examples:
  replicator dlq retry
  replicator dlq retry --sink local --table shop.users")]
    Retry(LettersArgs),
    /// Remove them: the rows stay as they are at the sink
    #[command(after_help = "\
Examples:
  replicator dlq discard --table shop.users --reason 'a constraint'
  replicator dlq discard --all")]
    Discard(DiscardArgs),
}

#[derive(Debug, Args)]
pub(super) struct LettersArgs {
    /// Only of this sink
    #[arg(long, value_name = "NAME")]
    pub(super) sink: Option<String>,
    /// Only of this table
    #[arg(long, value_name = "DATABASE.TABLE", value_parser = table_name)]
    pub(super) table: Option<TableName>,
    /// Only those whose reason has this text
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Print JSON: list an array, show an object a line, retry and discard {\"letters\": n}
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DiscardArgs {
    #[command(flatten)]
    pub(super) letters: LettersArgs,
    /// All letters of all sinks
    #[arg(long, conflicts_with_all = ["sink", "table", "reason"])]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum TableVerb {
    /// Every captured table with its state, trouble first
    #[command(after_help = "\
States: complete (every row, and every change since then), reading, left_out, unreadable; at a sink also stopped. A table that is
in another state at a sink than as far as source and log go has a line for that sink.
Works with and without a running daemon. What a sink has stopped is known to its target: without a daemon it is not shown.

Examples:
  replicator table list
  replicator table list 'shop.*' --state left_out --state stopped
  replicator table list --sink warehouse
  replicator table list --json | jq -r '.[] | select(.state != \"complete\") | .table'")]
    List(TableListArgs),
    /// Everything that is known of one table
    #[command(after_help = "\
Its state and since when, at each sink; its schema and how that is known; the reads that are wanted, and why; its row counts; its dead
letters; and the command that helps. Works with and without a running daemon.

Examples:
  replicator table show shop.users
  replicator table show shop.users --json | jq .record.reads")]
    Show(TableShowArgs),
    /// Leave a table out from here on, until it is resumed
    #[command(after_help = "\
Its rows are not in the log from here on; they are counted as left out. Its copies stay as they are, its reads are cancelled, and the
other tables go on. A history gets a line of kind gap. The verdict is degraded until the table is resumed. It lasts over restarts, and
ends with the table: one that is dropped and created again is copied. Needs a running daemon; source.exclude works without.

Examples:
  replicator table skip shop.audit --reason 'a purge of 2e9 rows, until Monday'

Exit codes: 0 it is left out, 1 it is not, 2 usage or configuration.")]
    Skip(TableSkipArgs),
    /// Read a table again that is left out, by an operator or because of a doubt
    #[command(after_help = "\
It is read whole in place of what the sinks have, beside the stream, and is complete at the end of that. Needs a running daemon.

Examples:
  replicator table resume shop.audit
  replicator table resume shop.audit --wait && echo complete

Exit codes: 0 it is read again (with --wait: complete), 1 it is not, 2 usage or configuration.")]
    Resume(TableResumeArgs),
}

#[derive(Debug, Args)]
pub(super) struct TableListArgs {
    /// Only tables that match one of these globs over database.table
    #[arg(value_name = "GLOB", value_parser = table_glob)]
    pub(super) tables: Vec<GlobMatcher>,
    /// Only tables in this state, at a sink or at the source; may be given more than once
    #[arg(long = "state", value_name = "WORD", value_parser = state())]
    pub(super) states: Vec<State>,
    /// The state at this sink alone
    #[arg(long, value_name = "NAME")]
    pub(super) sink: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TableShowArgs {
    /// The table
    #[arg(value_name = "DATABASE.TABLE", value_parser = table_name)]
    pub(super) table: TableName,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TableSkipArgs {
    /// The table
    #[arg(value_name = "DATABASE.TABLE", value_parser = table_name)]
    pub(super) table: TableName,
    /// Why, for those who find it left out
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TableResumeArgs {
    /// The table
    #[arg(value_name = "DATABASE.TABLE", value_parser = table_name)]
    pub(super) table: TableName,
    /// Wait until it is complete at every sink
    #[arg(long)]
    pub(super) wait: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SinkVerb {
    /// Every sink with what it does, how late it is, and what is wrong with it
    #[command(after_help = "\
Works with and without a running daemon.

Examples:
  replicator sink list
  replicator sink list --json | jq -r '.[] | select(.state == \"paused\") | .name'")]
    List(SinkListArgs),
    /// Stop the delivery to a sink until it is resumed
    #[command(after_help = "\
The sink stops at the end of a round, and stays stopped over restarts. The log keeps everything for it, so a pause is what fills the log
in the end: then the source waits (wal.max_size), or the sink loses its place if it has `on_full: detach`. The verdict is degraded
until it is resumed. A sink that has failed can be paused as well: resuming it tries it again.
With a daemon running it is done at once, without one the next start begins with it paused.

Examples:
  replicator sink pause warehouse --reason 'maintenance until 22:00'

Exit codes: 0 it is paused, 1 it is not, 2 usage or configuration.")]
    Pause(SinkPauseArgs),
    /// Let a paused sink continue exactly where it stopped
    #[command(after_help = "\
Examples:
  replicator sink resume warehouse

Exit codes: 0 it continues, 1 it does not, 2 usage or configuration.")]
    Resume(SinkResumeArgs),
    /// Give a sink a new copy of every table
    #[command(after_help = "\
For a sink whose target and log do not fit any more (the target was emptied, restored or exchanged; the log was lost or restored), and
for one that was detached from a full log. The sink gives up its place in the log, takes its target over, and every captured table is
read again for it alone, in place of what the target has. What is there stays until its table is replaced. Other sinks go on.
With a daemon running, the daemon does it at once, also where the sink has failed. Without one, the next start does it.
status shows the progress.

Examples:
  replicator sink reset warehouse
  replicator sink reset warehouse && replicator start --once

Exit codes: 0 it will be reset, 1 it cannot be (no such sink, no log), 2 usage or configuration.")]
    Reset(SinkResetArgs),
}

#[derive(Debug, Args)]
pub(super) struct SinkListArgs {
    /// Print a JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SinkPauseArgs {
    /// Name of the sink in the configuration
    pub(super) name: String,
    /// Why, for those who find it paused
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SinkResumeArgs {
    /// Name of the sink in the configuration
    pub(super) name: String,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SinkResetArgs {
    /// Name of the sink in the configuration
    pub(super) name: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum WalVerb {
    /// Show positions, cursors, tables, schemas and frames
    #[command(after_help = "\
Works on the log of a running daemon, of a stopped one, and on a copy (--path); never changes it.

Examples:
  replicator wal inspect
  replicator wal inspect --from 1000 --to 1010 --rows
  replicator wal inspect --table shop.users --json | jq 'select(.kind == \"frame\")'
  replicator wal inspect --path /backup/replicator-wal")]
    Inspect(InspectArgs),
    /// Check every checksum and invariant of the log
    #[command(after_help = "\
Goes on after what it finds, and exits 1 if it found anything.

Examples:
  replicator wal verify
  replicator wal verify --path /backup/replicator-wal --json")]
    Verify(VerifyArgs),
    /// Remove the cursor of a sink that is no longer configured, so that the log can be trimmed
    #[command(after_help = "\
Examples:
  replicator wal drop-cursor old-sink")]
    DropCursor(DropCursorArgs),
}

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// Fail if the log has no position to go on from
    #[arg(long)]
    pub(super) resume: bool,
    /// Where the source cannot go on from the log's position: take its current one, and read every table again
    #[arg(long)]
    pub(super) resync: bool,
    /// Copy up to the source's position of now, snapshot included, drain every sink, and exit
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) logs: LogArgs,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Form of log lines, which go to stderr
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) log_format: Format,
    /// Least level, or a filter such as info,replicator::source=debug [default: $REPLICATOR_LOG, or info]
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Print a JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
    /// Only tables that match this glob over database.table; may be given more than once
    #[arg(long = "table", value_name = "GLOB", value_parser = table_glob)]
    pub(super) tables: Vec<GlobMatcher>,
    /// Only tables in this state, at a sink or at the source; may be given more than once
    #[arg(long = "state", value_name = "WORD", value_parser = state())]
    pub(super) states: Vec<State>,
}

#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    /// A table to read; may be given more than once
    #[arg(long, value_name = "DATABASE.TABLE", required_unless_present = "tables")]
    pub(super) table: Vec<String>,
    /// Database of every --table, which then is the table's name alone: an alias, and for databases with a dot in their name
    #[arg(long, value_name = "NAME", requires = "table")]
    pub(super) database: Option<String>,
    /// Condition, in the source's SQL, that the rows fulfil
    #[arg(long = "where", value_name = "SQL", requires = "table")]
    pub(super) condition: Option<String>,
    /// Rows read at once; source.snapshot.chunk_rows without it
    #[arg(long, value_name = "ROWS", requires = "table")]
    pub(super) batch_size: Option<NonZeroU32>,
    /// Build a new copy beside the old one and put it in its place, so that rows that the source no longer has go as well
    #[arg(long, requires = "table", conflicts_with = "condition")]
    pub(super) replace: bool,
    /// YAML file with a list of the same: database, table, where, batch_size, replace
    #[arg(long, value_name = "FILE", conflicts_with_all = ["database", "table", "condition", "batch_size", "replace"])]
    pub(super) tables: Option<PathBuf>,
    /// Wait until the tables are complete at every sink; without a daemon that is always so
    #[arg(long)]
    pub(super) wait: bool,
    /// Give up the reads of these tables that operators have asked for
    #[arg(long, conflicts_with_all = ["wait", "condition", "batch_size", "replace"])]
    pub(super) cancel: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResyncArgs {
    /// A table to read, in place of all captured ones; may be given more than once
    #[arg(long, value_name = "DATABASE.TABLE")]
    pub(super) table: Vec<String>,
    /// Database of every --table, which then is the table's name alone: for databases with a dot in their name
    #[arg(long, value_name = "NAME", requires = "table")]
    pub(super) database: Option<String>,
    /// A sink to read for, in place of all configured ones; may be given more than once
    #[arg(long = "sink", value_name = "NAME")]
    pub(super) sinks: Vec<String>,
    /// Print one JSON document: tables (how many), sinks (null: all), done (false: handed to the daemon)
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// First LSN of the frames shown
    #[arg(long, value_name = "LSN")]
    pub(super) from: Option<u64>,
    /// Last LSN of the frames shown
    #[arg(long, value_name = "LSN")]
    pub(super) to: Option<u64>,
    /// Only what concerns this table
    #[arg(long, value_name = "DATABASE.TABLE", value_parser = table_name)]
    pub(super) table: Option<TableName>,
    /// Show the rows with their values
    #[arg(long)]
    pub(super) rows: bool,
    /// Print a JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    /// Directory or file of a log; wal.path of the configuration without it
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
    /// Directory or file of a log; wal.path of the configuration without it
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DropCursorArgs {
    /// Name of the sink that the cursor belonged to
    pub(super) name: String,
}

fn table_glob(text: &str) -> Result<GlobMatcher, String> {
    Ok(config::table_glob(text)?.compile_matcher())
}

fn state() -> impl TypedValueParser<Value = State> {
    let word = |word: String| State::ALL.into_iter().find(|state| state.as_str() == word).ok_or("no such state");
    PossibleValuesParser::new(State::ALL.map(State::as_str)).try_map(word)
}

/// The tables that `--table` names, with the database of `--database` if there is one.
pub(super) fn table_names(database: Option<&str>, tables: &[String]) -> Result<Vec<TableName>, Misuse> {
    let named = |table: &String| match database {
        Some(database) => Ok(TableName::new(database, table)),
        None => table_name(table).map_err(|error| Misuse(format!("--table {table}: {error}"))),
    };
    tables.iter().map(named).collect()
}

/// The first dot parts database and table: a database's name with a dot in it cannot be given here.
fn table_name(text: &str) -> Result<TableName, String> {
    match text.split_once('.') {
        Some((database, table)) if !database.is_empty() && !table.is_empty() => Ok(TableName::new(database, table)),
        _ => Err("write it as DATABASE.TABLE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_contradict_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_table_is_given_with_its_database() {
        assert_eq!(table_name("shop.users.old"), Ok(TableName::new("shop", "users.old")));
        for wrong in ["users", ".users", "shop."] {
            assert!(table_name(wrong).is_err(), "{wrong}");
            assert!(table_names(None, &[wrong.to_owned()]).is_err(), "{wrong}");
        }
        let tables = ["users".to_owned(), "orders.old".to_owned()];
        let named = table_names(Some("sh.op"), &tables).unwrap();
        assert_eq!(named, [TableName::new("sh.op", "users"), TableName::new("sh.op", "orders.old")]);
    }
}
