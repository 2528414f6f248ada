//! The configuration file: read, walked to its end, and turned into a [`Plan`] or into the list of all that is wrong.
//!
//! Nothing is corrected: a value is taken as written or is a problem. Relative paths are relative to the working
//! directory, like those of the command line.

use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};

use serde_norway::Value;

use super::problem::{ConfigError, Problems};
use super::reload::Tree;
use super::sinks::RulesOf;
use super::tree::{Node, Section};
use super::units;
use crate::model::TableName;

use super::{DeadLetterPlan, HttpPlan, LogPlan, Plan, SinkType, Startup, TableRule, WalPlan, hash_key, sinks, source};

/// Where `/metrics` and `/health` are served: on this machine only.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:9180";
/// Directory of the log.
pub(super) const DEFAULT_WAL_PATH: &str = "./replicator-wal";
/// Size limit of the log: hours of a busy server, and small beside a database's own disk.
pub(super) const DEFAULT_MAX_SIZE: u64 = 20 << 30;
/// The most that dead letters take in the log: millions of small rows.
pub(super) const DEFAULT_DEAD_LETTER_BYTES: u64 = 1 << 30;
/// Below this the log spends its time waiting for sinks.
const MIN_MAX_SIZE: u64 = 64 << 20;

/// Reads a configuration file, in which sinks are of these types; passwords come from environment variables or from the
/// files it names.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn load(path: &Path, types: &[&SinkType]) -> Result<Plan, ConfigError> {
    load_with_tree(path, types).map(|(plan, _)| plan)
}

/// As [`load`], with the file as it is written, to compare it with a later one.
///
/// # Errors
/// As [`load`].
pub fn load_with_tree(path: &Path, types: &[&SinkType]) -> Result<(Plan, Tree), ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let environment = |name: &str| match std::env::var(name) {
        // A variable that is set to nothing says that there is no password.
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("the environment variable is not UTF-8".to_owned()),
    };
    let plan = parse(path, &text, &environment, types)?;
    let value =
        serde_norway::from_str(&text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })?;
    Ok((plan, Tree::new(value)))
}

/// Gives the value of an environment variable.
pub type Environment<'e> = dyn Fn(&str) -> Result<Option<String>, String> + 'e;

/// The plan that `text` describes, in which sinks are of these types; `path` is only named in errors.
///
/// # Errors
/// [`ConfigError`] with everything that is wrong.
pub fn parse(path: &Path, text: &str, environment: &Environment<'_>, types: &[&SinkType]) -> Result<Plan, ConfigError> {
    let value: Value =
        serde_norway::from_str(text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })?;
    let problems = Problems::default();
    let lookup = |name: &str| {
        let found = environment(name).map_err(|message| problems.add(name, message));
        found.unwrap_or_default()
    };
    let plan = read(&value, &lookup, types, &problems);
    match (plan, problems.into_vec()) {
        (Some(plan), problems) if problems.is_empty() => Ok(plan),
        (_, problems) => Err(ConfigError::Invalid { path: path.to_owned(), problems }),
    }
}

/// The value of an environment variable; what is wrong with it has been noted.
pub(super) type Lookup<'e> = dyn Fn(&str) -> Option<String> + 'e;

fn read(value: &Value, environment: &Lookup<'_>, types: &[&SinkType], problems: &Problems) -> Option<Plan> {
    let root = Section::root(value, problems);
    let mut source =
        source::read(root.key("source").required("the server to copy from").section(), environment, problems);
    let wal = read_wal(root.key("wal").section());
    let sink_list = root.key("sinks").required("a list of targets; [] only fills the log");
    let filter = source.as_ref().map(|source| &source.filter);
    let left_out = |table: &TableName| {
        let is_captured = filter.is_none_or(|filter| filter.may_capture(table));
        (!is_captured).then_some("source.include and source.exclude leave it out")
    };
    let rules = sinks::read_rules(&root.key("tables"), RulesOf::All, &left_out, problems);
    let variable = environment(hash_key::HASH_KEY_VARIABLE);
    let hash_key = hash_key::read(&root.key("hash_key_file"), variable);
    let shared = sinks::Shared {
        rules: &rules,
        filter,
        source_name: source.as_ref().map_or("", |source| &source.name),
        reads_tables: source.as_ref().is_some_and(|source| source.startup == Startup::Initial),
        hash_key,
        types,
        environment,
    };
    let sinks = sinks::read(&sink_list, &shared, problems);
    if let Some(source) = &mut source {
        let on_doubt = |rule: &TableRule| Some((rule.table.clone(), rule.on_doubt?));
        source.doubts.tables = rules.iter().flatten().filter_map(on_doubt).collect();
    }
    let http = read_http(root.key("http").section());
    let dead_letters = read_dead_letters(root.key("dead_letters").section());
    let log = read_log(root.key("log").section());
    root.finish();
    Some(Plan { source: source?, wal, sinks, http, dead_letters, log })
}

fn read_wal(section: Section<'_>) -> WalPlan {
    let path = section.key("path").name().unwrap_or(DEFAULT_WAL_PATH);
    let size = section.key("max_size");
    let max_size = size.parsed(units::size).unwrap_or(DEFAULT_MAX_SIZE);
    if max_size < MIN_MAX_SIZE {
        size.problem(format!("must be at least {}", units::show_size(MIN_MAX_SIZE)));
    }
    section.finish();
    WalPlan { path: PathBuf::from(path), max_size }
}

fn read_dead_letters(section: Section<'_>) -> DeadLetterPlan {
    let max_bytes = section.key("max_bytes").parsed(units::size).unwrap_or(DEFAULT_DEAD_LETTER_BYTES);
    section.finish();
    DeadLetterPlan { max_bytes }
}

fn read_log(section: Section<'_>) -> LogPlan {
    let level = section.key("level").parsed(|text| units::log_filter(text).map(|()| text.to_owned()));
    section.finish();
    level.map_or_else(LogPlan::default, |level| LogPlan { level })
}

fn read_http(section: Section<'_>) -> HttpPlan {
    let key = section.key("listen");
    let listen = if key.is_null() { None } else { read_listen(&key) };
    let table_metrics = section.key("table_metrics").boolean().unwrap_or(true);
    section.finish();
    HttpPlan { listen, table_metrics }
}

fn read_listen(key: &Node<'_>) -> Option<std::net::SocketAddr> {
    if key.is_absent() {
        return DEFAULT_LISTEN.parse().ok();
    }
    key.parsed(units::listen).flatten()
}
