//! The `sinks` and `tables` sections.

use std::collections::HashMap;
use std::time::Duration;

use super::batch;
use super::ddl;
use super::file::Lookup;
use super::problem::Problems;
use super::rows;
use super::source::{ON_DOUBT, read_filter};
use super::tree::{Node, Section, nearest};
use super::units;
use super::values::{self, TableValues, ValuePolicy, check_zero_dates};
use super::{
    BatchPlan, Deletion, HashKey, Keyless, Mode, OnFull, OnRowError, Place, SinkKeys, SinkPlan, SinkType, SourceTag,
    TableFilter, TableOptions, TableRule,
};
use crate::model::{TableName, same_column};

/// A sink's tables have the source's names unless told otherwise.
pub(super) const DEFAULT_TABLE_NAME: &str = "{table}";
/// How long a log is full before a sink that may be detached from it is.
const DEFAULT_DETACH_AFTER: Duration = Duration::from_mins(10);
/// A name becomes a cursor's name, a metric's label and part of table names at the target.
const MAX_NAME: usize = 64;

const MODES: [(&str, Mode); 2] = [("mirror", Mode::Mirror), ("history", Mode::History)];
const DELETIONS: [(&str, Deletion); 2] = [("hard", Deletion::Hard), ("soft", Deletion::Soft)];
const KEYLESS: [(&str, Keyless); 3] = [("stop", Keyless::Stop), ("history", Keyless::History), ("skip", Keyless::Skip)];
const ON_ROW_ERROR: [(&str, OnRowError); 2] =
    [("stop_table", OnRowError::StopTable), ("dead_letter", OnRowError::DeadLetter)];

/// What goes with every sink.
pub(super) struct Shared<'s> {
    /// The top-level `tables` section.
    pub(super) rules: &'s [Option<TableRule>],
    /// The tables that the source captures.
    pub(super) filter: Option<&'s TableFilter>,
    /// The source's name.
    pub(super) source_name: &'s str,
    /// Whether a new log reads every table.
    pub(super) reads_tables: bool,
    /// The key under which columns are hashed.
    pub(super) hash_key: Option<HashKey>,
    pub(super) types: &'s [&'s SinkType],
    pub(super) environment: &'s Lookup<'s>,
}

/// A sink that was read, with the rules that are its own.
struct Read {
    plan: SinkPlan,
    sink_type: &'static str,
    rules: Vec<Option<TableRule>>,
}

/// The sinks of the list, with the rules that could be read; a place in either is a place in the file.
pub(super) fn read(list: &Node<'_>, shared: &Shared<'_>, problems: &Problems) -> Vec<SinkPlan> {
    let items = list.list().unwrap_or_default();
    let sinks: Vec<_> = items.into_iter().map(|item| read_sink(item, shared, problems)).collect();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    for (i, sink) in sinks.iter().enumerate() {
        let Some(Read { plan: sink, .. }) = sink else { continue };
        if let Some(first) = names.get(sink.name.as_str()) {
            problems.add(format!("sinks[{i}].name"), format!("\"{}\" is also the name of sinks[{first}]", sink.name));
        }
        names.entry(&sink.name).or_insert(i);
        let Place { key, place, message } = sink.settings.place(&sink.table_name);
        let place = (sink.settings.type_name(), place);
        if let Some(first) = places.get(&place) {
            problems.add(format!("sinks[{i}].{key}"), format!("{message} of sinks[{first}]"));
        }
        places.entry(place).or_insert(i);
    }
    check_batches(&sinks, shared.rules, problems);
    check_hashes(&sinks, shared, problems);
    check_shared_zero_dates(&sinks, shared, problems);
    sinks.into_iter().flatten().map(|sink| sink.plan).collect()
}

/// Notes what tables set that is larger than what their sinks have.
fn check_batches(sinks: &[Option<Read>], shared: &[Option<TableRule>], problems: &Problems) {
    for (at, sink) in sinks.iter().enumerate() {
        let Some(Read { plan, rules, .. }) = sink else { continue };
        batch::check((&format!("sinks[{at}].tables"), rules), &[(at, plan.batch)], problems);
    }
    let batch_of = |(at, sink): (usize, &Option<Read>)| Some((at, sink.as_ref()?.plan.batch));
    // A sink that could not be read may be the one with room for it.
    let all: Option<Vec<(usize, BatchPlan)>> = sinks.iter().enumerate().map(batch_of).collect();
    if let Some(all) = all {
        batch::check(("tables", shared), &all, problems);
    }
}

/// Notes columns that are to be hashed where there is no key for that.
fn check_hashes(sinks: &[Option<Read>], shared: &Shared<'_>, problems: &Problems) {
    if shared.hash_key.is_some() {
        return;
    }
    let of_sinks = sinks
        .iter()
        .enumerate()
        .filter_map(|(at, sink)| Some((format!("sinks[{at}].tables"), sink.as_ref()?.rules.as_slice())));
    for (path, rules) in std::iter::once(("tables".to_owned(), shared.rules)).chain(of_sinks) {
        let hashes = |rule: &Option<TableRule>| {
            rule.as_ref().is_some_and(|rule| rule.hash.as_ref().is_some_and(|hash| !hash.is_empty()))
        };
        if let Some(at) = rules.iter().position(hashes) {
            let message = "needs a key: name its file in hash_key_file, or set REPLICATOR_HASH_KEY";
            problems.add(format!("{path}[{at}].hash"), message);
            return;
        }
    }
}

/// Notes what the rules for every sink say of zero dates that one of the sinks cannot do.
fn check_shared_zero_dates(sinks: &[Option<Read>], shared: &Shared<'_>, problems: &Problems) {
    for (at, rule) in shared.rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        for (sink, read) in sinks.iter().enumerate() {
            let Some(read) = read else { continue };
            let sink_type = shared.types.iter().find(|sink_type| sink_type.name == read.sink_type);
            let has_own = |own: &TableRule| own.table == rule.table && own.values.zero_dates.is_some();
            if read.plan.rules.iter().any(has_own) {
                continue;
            }
            if let Some(message) = sink_type.and_then(|sink_type| check_zero_dates(rule.values, sink_type)) {
                problems.add(format!("tables[{at}].zero_dates"), format!("{message}, in sinks[{sink}].tables"));
            }
        }
    }
}

fn read_sink(item: Node<'_>, shared: &Shared<'_>, problems: &Problems) -> Option<Read> {
    let path = item.path().to_owned();
    let section = item.section();
    let name_key = section.key("name").required("a name for its cursor, metrics and status");
    let name = name_key.name();
    if let Some(name) = name.filter(|name| !is_plain_name(name)) {
        name_key.problem(format!("\"{name}\" must be up to {MAX_NAME} letters, digits, \"_\", \"-\" or \".\""));
    }
    let words: Vec<_> = shared.types.iter().map(|sink_type| (sink_type.name, *sink_type)).collect();
    let sink_type = section.key("type").required(&either(shared.types)).choice(&words);
    let template = section.key("table_name");
    let table_name = template.text().unwrap_or(DEFAULT_TABLE_NAME);
    if let Err(message) = check_template(table_name) {
        template.problem(message);
    }
    let filter = read_own_filter(&section);
    let mode = section.key("mode").choice(&MODES).unwrap_or(Mode::Mirror);
    let deletion = section.key("deletion").choice(&DELETIONS).unwrap_or(Deletion::Hard);
    let soft_delete_column = section.key("soft_delete_column").name().unwrap_or(TableOptions::SOFT_DELETE_COLUMN);
    let keyless = section.key("keyless").choice(&KEYLESS).unwrap_or_default();
    let source_tag = section
        .key("source_tag")
        .name()
        .map(|column| SourceTag { column: column.to_owned(), source: shared.source_name.to_owned() });
    let values = values::read(&section);
    let ddl = ddl::read(section.key("ddl").section());
    let on_full = read_on_full(&section.key("on_full"), &section.key("detach_after"));
    let on_row_error = section.key("on_row_error").choice(&ON_ROW_ERROR).unwrap_or_default();
    let adopt = section.key("adopt");
    let adopts = adopt.boolean().unwrap_or(false);
    if adopts && shared.reads_tables {
        adopt.problem(
            "takes tables over with the rows that they have, and source.startup_mode: initial would read every table over them; \
             set startup_mode to specific or latest (docs/handoff.md)",
        );
    }
    let captured = |table: &TableName| {
        let is_captured = shared.filter.is_none_or(|filter| filter.may_capture(table));
        let is_taken = match &filter {
            OwnFilter::These(filter) => filter.may_capture(table),
            OwnFilter::All | OwnFilter::Wrong => true,
        };
        match (is_captured, is_taken) {
            (false, _) => Some("source.include and source.exclude leave it out"),
            (true, false) => Some("the sink's include and exclude leave it out"),
            (true, true) => None,
        }
    };
    let rules = read_rules(&section.key("tables"), RulesOf::Sink, &captured, problems);
    // Without a type it is not known what its other keys mean.
    let sink_type = sink_type?;
    check_own_zero_dates((&section, &path), (values, &rules), sink_type, problems);
    let batch = batch::read(section.key("batch").section(), sink_type.batch);
    let settings = (sink_type.read)(&section, &SinkKeys { name, environment: shared.environment });
    section.finish_with(|key| match key {
        "rename" | "drop" | "hash" | "rows" => Some("it stands in a tables section, per table"),
        "on_doubt" => Some("it stands in the source section, and in the top-level tables section, per table"),
        "password" => {
            Some("a password has no place in this file: set REPLICATOR_SINK_<NAME>_PASSWORD, or password_file")
        }
        _ => None,
    });
    let settings = settings?;
    let plan = SinkPlan {
        table_name: settings.table_name(table_name),
        filter: match filter {
            OwnFilter::All => None,
            OwnFilter::These(filter) => Some(filter),
            OwnFilter::Wrong => return None,
        },
        shared_rules: shared.rules.iter().flatten().cloned().collect(),
        rules: rules.iter().flatten().cloned().collect(),
        ddl,
        on_full,
        on_row_error,
        adopt: adopts,
        source_tag,
        hash_key: shared.hash_key.clone(),
        ..SinkPlan::new(
            name?,
            TableOptions {
                deletion,
                soft_delete_column: soft_delete_column.to_owned(),
                values: ValuePolicy::new(sink_type.zero_dates).with(values),
                keyless,
                ..TableOptions::new(mode)
            },
            batch,
            settings,
        )
    };
    Some(Read { plan, sink_type: sink_type.name, rules })
}

/// Which of the captured tables a sink gets.
enum OwnFilter {
    All,
    These(TableFilter),
    /// What is written is wrong, which has been noted.
    Wrong,
}

fn read_own_filter(section: &Section<'_>) -> OwnFilter {
    let (include, exclude) = (section.key("include"), section.key("exclude"));
    if include.is_absent() && exclude.is_absent() {
        return OwnFilter::All;
    }
    read_filter(&include, &exclude, true).map_or(OwnFilter::Wrong, OwnFilter::These)
}

fn check_own_zero_dates(
    (section, path): (&Section<'_>, &str),
    (values, rules): (TableValues, &[Option<TableRule>]),
    sink_type: &SinkType,
    problems: &Problems,
) {
    if let Some(message) = check_zero_dates(values, sink_type) {
        section.key("zero_dates").problem(message);
    }
    for (at, rule) in rules.iter().enumerate() {
        if let Some(message) = rule.as_ref().and_then(|rule| check_zero_dates(rule.values, sink_type)) {
            problems.add(format!("{path}.tables[{at}].zero_dates"), message);
        }
    }
}

fn read_on_full(on_full: &Node<'_>, detach_after: &Node<'_>) -> OnFull {
    const WORDS: [(&str, bool); 2] = [("wait", false), ("detach", true)];
    const LEAST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_hours(24 * 365);
    let detaches = on_full.choice(&WORDS).unwrap_or(false);
    let after = units::duration_between(detach_after, DEFAULT_DETACH_AFTER, LEAST, MOST);
    if detaches { OnFull::Detach { after } } else { OnFull::Wait }
}

/// The names of all types: "a, b or c".
fn either(types: &[&SinkType]) -> String {
    let names: Vec<_> = types.iter().map(|sink_type| sink_type.name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "there is no type of sink".to_owned(),
    }
}

fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.len() <= MAX_NAME && name.chars().all(plain)
}

fn check_template(template: &str) -> Result<(), String> {
    const PLACES: [&str; 2] = ["table", "database"];
    if template.is_empty() {
        return Err("must not be empty".to_owned());
    }
    let mut rest = template;
    while let Some((_, tail)) = rest.split_once('{') {
        let Some((place, after)) = tail.split_once('}') else {
            return Err(format!("\"{template}\" has a {{ without its }}"));
        };
        if !PLACES.contains(&place) {
            let hint = nearest(place, PLACES.into_iter()).map_or_else(
                || "; there are {table} and {database}".to_owned(),
                |name| format!("; did you mean {{{name}}}?"),
            );
            return Err(format!("\"{template}\" has the unknown placeholder {{{place}}}{hint}"));
        }
        rest = after;
    }
    Ok(())
}

/// For whom a list of rules is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RulesOf {
    /// For every sink, and for the source.
    All,
    /// For one sink.
    Sink,
}

/// The rules of the list; `None` for one that could not be read. `left_out` says why a table does not come.
pub(super) fn read_rules(
    list: &Node<'_>,
    of: RulesOf,
    left_out: &dyn Fn(&TableName) -> Option<&'static str>,
    problems: &Problems,
) -> Vec<Option<TableRule>> {
    let section = list.path();
    let rules: Vec<_> = list.list().unwrap_or_default().into_iter().map(|item| read_rule(item, of)).collect();
    let mut seen: HashMap<&TableName, usize> = HashMap::new();
    for (i, rule) in rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        let path = format!("{section}[{i}]");
        if let Some(first) = seen.get(&rule.table) {
            problems.add(&path, format!("is about \"{}\", and so is {section}[{first}]", rule.table));
        }
        seen.entry(&rule.table).or_insert(i);
        if let Some(why) = left_out(&rule.table) {
            problems.add(&path, format!("\"{}\" is not copied: {why}", rule.table));
        }
        check_columns(rule, &path, problems);
    }
    rules
}

fn read_rule(item: Node<'_>, of: RulesOf) -> Option<TableRule> {
    let section = item.section();
    let database = section.key("database").required("the table's database").name();
    let table = section.key("table").required("the table's name").name();
    let rename_key = section.key("rename");
    let rename = rename_key.names();
    let rule = TableRule {
        rename: (!rename_key.is_absent()).then_some(rename),
        drop: section.key("drop").name_list(),
        hash: section.key("hash").name_list(),
        rows: rows::read(&section.key("rows")),
        mode: section.key("mode").choice(&MODES),
        deletion: section.key("deletion").choice(&DELETIONS),
        values: values::read(&section),
        keyless: section.key("keyless").choice(&KEYLESS),
        on_doubt: if of == RulesOf::All { section.key("on_doubt").choice(&ON_DOUBT) } else { None },
        batch: batch::read_of_table(section.key("batch").section()),
        table: TableName::new("", ""),
    };
    section.finish_with(|key| match key {
        "on_doubt" => Some("it is the source's: it stands in the top-level tables section"),
        _ => None,
    });
    Some(TableRule { table: TableName::new(database?, table?), ..rule })
}

/// Column names compare in lower case, as they do at the source.
fn check_columns(rule: &TableRule, path: &str, problems: &Problems) {
    let of = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    let (rename, drop, hash) = (rule.rename.clone().unwrap_or_default(), of(&rule.drop), of(&rule.hash));
    let mut targets: HashMap<String, &str> = HashMap::new();
    for (i, (from, to)) in rename.iter().enumerate() {
        let at = format!("{path}.rename.{from}");
        if to.is_empty() {
            problems.add(&at, "must not be empty");
        }
        if let Some(other) = targets.insert(to.to_lowercase(), from) {
            problems.add(&at, format!("\"{to}\" is also the new name of \"{other}\""));
        }
        if let Some((other, _)) = rename.iter().take(i).find(|(other, _)| same_column(other, from)) {
            problems.add(&at, format!("\"{from}\" and \"{other}\" are one column"));
        }
    }
    for (key, names) in [("drop", &drop), ("hash", &hash)] {
        for (i, column) in names.iter().enumerate() {
            let at = format!("{path}.{key}[{i}]");
            if key == "drop" && rename.iter().any(|(from, _)| same_column(from, column)) {
                problems.add(&at, format!("\"{column}\" is also renamed"));
            }
            if key == "hash" && drop.iter().any(|dropped| same_column(dropped, column)) {
                problems.add(&at, format!("\"{column}\" is also dropped"));
            }
            if let Some(first) = names.iter().take(i).position(|other| same_column(other, column)) {
                problems.add(&at, format!("\"{column}\" is also {key}[{first}]"));
            }
        }
    }
}
