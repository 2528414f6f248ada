//! The `sinks` and `tables` sections.

use std::collections::HashMap;
use std::time::Duration;

use super::batch;
use super::ddl;
use super::file::Lookup;
use super::problem::Problems;
use super::source::ON_DOUBT;
use super::tree::{Node, nearest};
use super::units;
use super::{Deletion, Mode, OnFull, Place, SinkKeys, SinkPlan, SinkType, TableFilter, TableOptions, TableRule};
use crate::model::TableName;

/// A sink's tables have the source's names unless told otherwise.
pub(super) const DEFAULT_TABLE_NAME: &str = "{table}";
/// Column that marks a softly deleted row.
pub(super) const DEFAULT_SOFT_DELETE_COLUMN: &str = "is_deleted";
/// How long a log is full before a sink that may be detached from it is.
const DEFAULT_DETACH_AFTER: Duration = Duration::from_mins(10);
/// A name becomes a cursor's name, a metric's label and part of table names at the target.
const MAX_NAME: usize = 64;

const MODES: [(&str, Mode); 2] = [("mirror", Mode::Mirror), ("history", Mode::History)];
const DELETIONS: [(&str, Deletion); 2] = [("hard", Deletion::Hard), ("soft", Deletion::Soft)];

/// The sinks of the list, with the rules that could be read; a place in either is a place in the file.
pub(super) fn read(
    list: &Node<'_>,
    rules: &[Option<TableRule>],
    known: (&[&SinkType], &Lookup<'_>),
    problems: &Problems,
) -> Vec<SinkPlan> {
    let items = list.list().unwrap_or_default();
    let good: Vec<_> = rules.iter().flatten().cloned().collect();
    let sinks: Vec<_> = items.into_iter().map(|item| read_sink(item, &good, known)).collect();
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    for (i, sink) in sinks.iter().enumerate() {
        let Some(sink) = sink else { continue };
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
    batch::check(rules, &sinks, problems);
    sinks.into_iter().flatten().collect()
}

fn read_sink(
    item: Node<'_>,
    rules: &[TableRule],
    (types, environment): (&[&SinkType], &Lookup<'_>),
) -> Option<SinkPlan> {
    let section = item.section();
    let name_key = section.key("name").required("a name for its cursor, metrics and status");
    let name = name_key.name();
    if let Some(name) = name.filter(|name| !is_plain_name(name)) {
        name_key.problem(format!("\"{name}\" must be up to {MAX_NAME} letters, digits, \"_\", \"-\" or \".\""));
    }
    let words: Vec<_> = types.iter().map(|sink_type| (sink_type.name, *sink_type)).collect();
    let sink_type = section.key("type").required(&either(types)).choice(&words);
    let template = section.key("table_name");
    let table_name = template.text().unwrap_or(DEFAULT_TABLE_NAME);
    if let Err(message) = check_template(table_name) {
        template.problem(message);
    }
    let mode = section.key("mode").choice(&MODES).unwrap_or(Mode::Mirror);
    let deletion = section.key("deletion").choice(&DELETIONS).unwrap_or(Deletion::Hard);
    let soft_delete_column = section.key("soft_delete_column").name().unwrap_or(DEFAULT_SOFT_DELETE_COLUMN);
    let ddl = ddl::read(section.key("ddl").section());
    let on_full = read_on_full(&section.key("on_full"), &section.key("detach_after"));
    // Without a type it is not known what its other keys mean.
    let sink_type = sink_type?;
    let batch = batch::read(section.key("batch").section(), sink_type.batch);
    let settings = (sink_type.read)(&section, &SinkKeys { name, environment });
    section.finish_with(|key| match key {
        "rename" | "drop" => Some("it stands in the tables section, per table"),
        "tables" | "include" | "exclude" => Some("source.include says which tables are copied"),
        "password" => {
            Some("a password has no place in this file: set REPLICATOR_SINK_<NAME>_PASSWORD, or password_file")
        }
        _ => None,
    });
    let settings = settings?;
    Some(SinkPlan {
        name: name?.to_owned(),
        table_name: settings.table_name(table_name),
        defaults: TableOptions {
            mode,
            deletion,
            soft_delete_column: soft_delete_column.to_owned(),
            rename: Vec::new(),
            drop: Vec::new(),
        },
        rules: rules.to_vec(),
        ddl,
        batch,
        on_full,
        settings,
    })
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

/// The rules of the list; `None` for one that could not be read.
pub(super) fn read_rules(list: &Node<'_>, filter: Option<&TableFilter>, problems: &Problems) -> Vec<Option<TableRule>> {
    let rules: Vec<_> = list.list().unwrap_or_default().into_iter().map(read_rule).collect();
    let mut seen: HashMap<&TableName, usize> = HashMap::new();
    for (i, rule) in rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        let path = format!("tables[{i}]");
        if let Some(first) = seen.get(&rule.table) {
            problems.add(&path, format!("is about \"{}\", and so is tables[{first}]", rule.table));
        }
        seen.entry(&rule.table).or_insert(i);
        if filter.is_some_and(|filter| !filter.may_capture(&rule.table)) {
            let message = format!("\"{}\" is not copied: source.include and source.exclude leave it out", rule.table);
            problems.add(&path, message);
        }
        check_columns(rule, &path, problems);
    }
    rules
}

fn read_rule(item: Node<'_>) -> Option<TableRule> {
    let section = item.section();
    let database = section.key("database").required("the table's database").name();
    let table = section.key("table").required("the table's name").name();
    let rename = section.key("rename").names();
    let drop = section.key("drop").list().unwrap_or_default();
    let drop = drop.iter().filter_map(|item| item.name().map(str::to_owned)).collect();
    let mode = section.key("mode").choice(&MODES);
    let deletion = section.key("deletion").choice(&DELETIONS);
    let on_doubt = section.key("on_doubt").choice(&ON_DOUBT);
    let batch = batch::read_of_table(section.key("batch").section());
    section.finish();
    Some(TableRule { table: TableName::new(database?, table?), rename, drop, mode, deletion, on_doubt, batch })
}

/// Column names compare without case, as they do at the source.
fn check_columns(rule: &TableRule, path: &str, problems: &Problems) {
    let mut targets: HashMap<String, &str> = HashMap::new();
    let mut sources: HashMap<String, &str> = HashMap::new();
    for (from, to) in &rule.rename {
        let at = format!("{path}.rename.{from}");
        if to.is_empty() {
            problems.add(&at, "must not be empty");
        }
        if let Some(other) = targets.insert(to.to_lowercase(), from) {
            problems.add(&at, format!("\"{to}\" is also the new name of \"{other}\""));
        }
        if let Some(other) = sources.insert(from.to_lowercase(), from) {
            problems.add(&at, format!("\"{from}\" and \"{other}\" are one column"));
        }
    }
    let mut dropped: HashMap<String, usize> = HashMap::new();
    for (i, column) in rule.drop.iter().enumerate() {
        let at = format!("{path}.drop[{i}]");
        if sources.contains_key(&column.to_lowercase()) {
            problems.add(&at, format!("\"{column}\" is also renamed"));
        }
        if let Some(first) = dropped.insert(column.to_lowercase(), i) {
            problems.add(&at, format!("\"{column}\" is also drop[{first}]"));
        }
    }
}
