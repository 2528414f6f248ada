//! The `source` section.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use globset::{GlobSet, GlobSetBuilder};

use super::file::Lookup;
use super::problem::Problems;
use super::secret::read_secret;
use super::tls;
use super::tree::{Node, Section};
use super::units::{self, SourceUrl};
use super::{DoubtPlan, OnPurged, Password, SnapshotPlan, SourcePlan, SpecificStart, Startup, TableFilter};
use crate::model::{OnDoubt, TableName};

/// Environment variable that holds the source's password.
pub const PASSWORD_VARIABLE: &str = "REPLICATOR_SOURCE_PASSWORD";

/// The name of the one source that most have.
pub(super) const DEFAULT_NAME: &str = "source";

/// Rows of a snapshot chunk: a chunk is cut at about 8 MiB anyway, so that this decides only for narrow rows.
pub(super) const DEFAULT_CHUNK_ROWS: u32 = 50_000;
/// More rows than this in one chunk gain nothing.
const MAX_CHUNK_ROWS: u32 = 16_000_000;
/// Long enough for a server under load to answer a question about a table, short enough that a table which somebody keeps locked
/// is read again later rather than waited for.
pub(super) const DEFAULT_DESCRIBE_WAIT: Duration = Duration::from_secs(2);
/// A table that is written past its copies all the time is read six times an hour at most, and then less and less.
pub(super) const DEFAULT_REREAD_PAUSE: Duration = Duration::from_mins(10);
const MAX_REREAD_PAUSE: Duration = Duration::from_hours(24);
/// Read in seconds, whatever the server.
pub(super) const DEFAULT_REREAD_KEYLESS_ROWS: u64 = 100_000;
/// The words of `on_purged`.
const ON_PURGED: [(&str, OnPurged); 2] = [("stop", OnPurged::Stop), ("resync", OnPurged::Resync)];
/// The words of `on_doubt`.
pub(super) const ON_DOUBT: [(&str, OnDoubt); 2] = [("reread", OnDoubt::Reread), ("stop_table", OnDoubt::StopTable)];
const MIN_DESCRIBE_WAIT: Duration = Duration::from_millis(10);
const MAX_DESCRIBE_WAIT: Duration = Duration::from_mins(10);
/// Room for a large table without a key, and for what is written to it meanwhile.
pub(super) const DEFAULT_SPOOL_MAX: u64 = 10 << 30;
/// Transactions that coordinators prepare are small; a larger one costs a read of its tables.
pub(super) const DEFAULT_XA_BYTES: u64 = 64 << 20;
/// A coordinator ends what it has prepared within seconds; what stays for longer was left behind.
pub(super) const DEFAULT_XA_WAIT: Duration = Duration::from_mins(5);
const MAX_XA_WAIT: Duration = Duration::from_hours(24);
/// Two readers keep a small source busy without occupying it.
pub(super) const DEFAULT_PARALLEL: u16 = 2;
/// Each reader is a connection and up to 8 MiB of memory.
const MAX_PARALLEL: u16 = 64;

pub(super) fn read(section: Section<'_>, environment: &Lookup<'_>, problems: &Problems) -> Option<SourcePlan> {
    let url = section.key("url").required("the server as mysql://user@host:3306").parsed(SourceUrl::parse);
    let password = read_password(&section.key("password_file"), PASSWORD_VARIABLE, environment(PASSWORD_VARIABLE));
    let server_id = section
        .key("server_id")
        .required("a number that no other replica of this server uses, such as 5400")
        .integer(1..=u32::MAX);
    let startup = read_startup(&section);
    let on_purged = section.key("on_purged").choice(&ON_PURGED).unwrap_or_default();
    let include = section.key("include").required("the tables to copy as database.table globs, such as [\"shop.*\"]");
    let filter = read_filter(&include, &section.key("exclude"), false);
    let name = section.key("name").name().unwrap_or(DEFAULT_NAME).to_owned();
    let snapshot = read_snapshot(section.key("snapshot").section());
    let describe_wait = units::duration_between(
        &section.key("describe_wait"),
        DEFAULT_DESCRIBE_WAIT,
        MIN_DESCRIBE_WAIT,
        MAX_DESCRIBE_WAIT,
    );
    let doubts = read_doubts(&section);
    let spool_max = section.key("spool_max").parsed(units::size).unwrap_or(DEFAULT_SPOOL_MAX);
    let xa_bytes = section.key("xa_bytes").parsed(units::size).unwrap_or(DEFAULT_XA_BYTES);
    let xa_wait = units::duration_between(&section.key("xa_wait"), DEFAULT_XA_WAIT, Duration::ZERO, MAX_XA_WAIT);
    let tls = tls::read(section.key("tls").section(), url.as_ref().is_some_and(SourceUrl::is_loopback));
    section.finish_with(|key| match key {
        "password" => Some("a password has no place in this file: set REPLICATOR_SOURCE_PASSWORD, or password_file"),
        "host" | "port" | "user" | "username" => Some("host, port and user stand in url: mysql://user@host:3306"),
        "tables" | "databases" => Some("include lists what to copy as database.table globs, such as \"shop.*\""),
        _ => None,
    });
    let url = url?;
    if url.user.chars().any(char::is_control) {
        problems.add("source.url", "has a user name with control characters");
    }
    Some(SourcePlan {
        name,
        host: url.host,
        port: url.port,
        user: url.user,
        password: password?,
        server_id: server_id?,
        startup: startup?,
        on_purged,
        filter: filter?,
        describe_wait,
        doubts,
        spool_max,
        xa_bytes,
        xa_wait,
        snapshot,
        tls: tls?,
    })
}

/// From the environment or a file; neither is an empty password.
pub(super) fn read_password(file: &Node<'_>, name: &str, variable: Option<String>) -> Option<Password> {
    if file.is_absent() {
        return Some(variable.map(Password::fixed).unwrap_or_default());
    }
    let path = file.name()?;
    if variable.is_some() {
        file.problem(format!("and the environment variable {name} are both set; keep one"));
        return None;
    }
    match read_secret(Path::new(path)) {
        Ok(_) => Some(Password::of_file(path)),
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            file.problem(format!("\"{path}\" holds no password"));
            None
        }
        Err(error) => {
            file.problem(format!("cannot read \"{path}\": {error}"));
            None
        }
    }
}

fn read_startup(section: &Section<'_>) -> Option<Startup> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Initial,
        Latest,
        Specific,
    }
    let mode = section.key("startup_mode");
    let words = [("initial", Word::Initial), ("latest", Word::Latest), ("specific", Word::Specific)];
    let word = if mode.is_absent() { Some(Word::Initial) } else { mode.choice(&words) };
    let specific = section.key("specific");
    let given = !specific.is_absent();
    if given && word.is_some_and(|word| word != Word::Specific) {
        specific.problem("has a meaning only with startup_mode: specific");
    }
    if !given && word == Some(Word::Specific) {
        mode.problem("\"specific\" needs source.specific with file and pos, or gtid");
    }
    let start = given.then(|| read_specific(specific)).flatten();
    match word? {
        Word::Initial => Some(Startup::Initial),
        Word::Latest => Some(Startup::Latest),
        Word::Specific => start.map(Startup::Specific),
    }
}

fn read_specific(node: Node<'_>) -> Option<SpecificStart> {
    /// Every binlog file starts with a magic of 4 bytes; an event before that cannot be.
    const FIRST_EVENT: u64 = 4;
    let section = node.section();
    let (file, pos, gtid) = (section.key("file"), section.key("pos"), section.key("gtid"));
    let (by_file, by_gtid) = (!file.is_absent() || !pos.is_absent(), !gtid.is_absent());
    let start = match (by_file, by_gtid) {
        (true, true) => {
            gtid.problem("cannot stand beside file and pos; keep one of the two");
            None
        }
        (false, false) => {
            file.problem("required with pos; or gtid in their place");
            None
        }
        (false, true) => gtid.name().map(|gtid| SpecificStart::Gtid(gtid.to_owned())),
        (true, false) => {
            let file = file.required("the binlog file that pos is in").name();
            let pos = pos.required("the offset in the file").integer(FIRST_EVENT..=u64::MAX);
            file.zip(pos).map(|(file, pos)| SpecificStart::FilePos { file: file.to_owned(), pos })
        }
    };
    section.finish();
    start
}

/// A filter of tables. `is_open`: without `include` it has every table.
pub(super) fn read_filter(include: &Node<'_>, exclude: &Node<'_>, is_open: bool) -> Option<TableFilter> {
    let included = if is_open && include.is_absent() { Globs::every() } else { read_globs(include) };
    let excluded = read_globs(exclude);
    if included.as_ref().is_some_and(|globs| globs.as_written.is_empty()) && !include.is_absent() {
        include.problem("must name at least one table, such as [\"shop.*\"]");
    }
    let (included, excluded) = (included?, excluded?);
    let filter = TableFilter::new(included.as_written, excluded.as_written);
    Some(filter.in_lower_case(included.in_lower_case, excluded.in_lower_case).naming(included.literals))
}

/// A compiled list.
struct Globs {
    as_written: GlobSet,
    in_lower_case: GlobSet,
    /// The tables that it names without a glob.
    literals: Vec<TableName>,
}

impl Globs {
    /// Of every table.
    fn every() -> Option<Self> {
        let mut builder = GlobSetBuilder::new();
        builder.add(units::table_glob("*.*").ok()?);
        let every = builder.build().ok()?;
        Some(Self { as_written: every.clone(), in_lower_case: every, literals: Vec::new() })
    }
}

fn read_globs(list: &Node<'_>) -> Option<Globs> {
    let (mut as_written, mut in_lower_case) = (GlobSetBuilder::new(), GlobSetBuilder::new());
    let mut literals = Vec::new();
    let mut all_right = true;
    for item in list.list()? {
        let Some(text) = item.text() else {
            all_right = false;
            continue;
        };
        match units::table_glob(text) {
            Ok(glob) => {
                in_lower_case.add(units::glob_in_lower_case(&glob));
                as_written.add(glob);
                literals.extend(units::literal_table(text));
            }
            Err(message) => {
                item.problem(message);
                all_right = false;
            }
        }
    }
    let built = |builder: GlobSetBuilder| {
        builder.build().map_err(|error| list.problem(format!("cannot be compiled: {error}"))).ok()
    };
    let (as_written, in_lower_case) = (built(as_written)?, built(in_lower_case)?);
    all_right.then_some(Globs { as_written, in_lower_case, literals })
}

fn read_doubts(section: &Section<'_>) -> DoubtPlan {
    let pause = section.key("reread_pause");
    DoubtPlan {
        on_doubt: section.key("on_doubt").choice(&ON_DOUBT).unwrap_or_default(),
        tables: Vec::new(),
        reread_pause: units::duration_between(&pause, DEFAULT_REREAD_PAUSE, Duration::ZERO, MAX_REREAD_PAUSE),
        reread_keyless_rows: section
            .key("reread_keyless_rows")
            .integer(0..=u64::MAX)
            .unwrap_or(DEFAULT_REREAD_KEYLESS_ROWS),
    }
}

fn read_snapshot(section: Section<'_>) -> SnapshotPlan {
    let (chunk_rows, parallel) = (section.key("chunk_rows"), section.key("parallel"));
    let limit = section.key("max_rows_per_second");
    let plan = SnapshotPlan {
        chunk_rows: chunk_rows.integer(1..=MAX_CHUNK_ROWS).unwrap_or(DEFAULT_CHUNK_ROWS),
        parallel: parallel.integer(1..=MAX_PARALLEL).unwrap_or(DEFAULT_PARALLEL),
        max_rows_per_second: limit.integer(0..=u64::MAX).unwrap_or(0),
    };
    section.finish();
    plan
}
