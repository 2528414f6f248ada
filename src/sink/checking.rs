//! What `check` asks of a sink, and what of it is the same for every kind: what the rules make of the captured
//! tables, and what is under their names at the target.

use std::collections::BTreeSet;
use std::sync::Arc;

use wal::LogId;

use super::TargetState;
use super::adopt::{OurTable, Under, differences, never, read_over, refused};
use super::layout::{Dialect, Layout, options_for};
use super::rules::{RowRules, leaves_out, shown_schema};
use crate::config::{Mode, SinkPlan};
use crate::error::Failure;
use crate::model::{CheckItem, TableName, TableSchema, same_column};

/// Tables that are named of a longer list.
const SHOWN: usize = 5;

/// What a sink is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The log, if there is one that can be read.
    pub log: Option<LogId>,
    /// The captured tables as the source defines them; none where it does not say.
    pub tables: &'a [TableSchema],
    /// The next start reads every table for this sink, if its target knows nothing.
    pub reads_all: bool,
}

/// What was found of a sink.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The findings.
    pub items: Vec<CheckItem>,
    /// What its target says of itself; `None`: it could not be asked.
    pub state: Option<TargetState>,
}

/// A captured table as a sink lays it out.
pub(super) struct LaidOut<T> {
    /// As the target is shown it.
    pub(super) schema: Arc<TableSchema>,
    pub(super) layout: Layout<T>,
    /// The keys of the rules by which the target has other rows than the source.
    rules: Vec<&'static str>,
}

/// What is under the name of a table.
pub(super) struct Seen {
    pub(super) name: TableName,
    pub(super) at_target: String,
    pub(super) ours: OurTable,
    pub(super) under: Under,
    /// Why it would not be taken over, whatever it is.
    pub(super) never: Option<Failure>,
    /// The keys of the rules by which the target has other rows than the source.
    pub(super) rules: Vec<&'static str>,
}

impl<T> LaidOut<T> {
    /// With what is under its name.
    pub(super) fn seen(&self, plan: &SinkPlan, ours: OurTable, under: Under) -> Seen {
        let name = self.schema.name.clone();
        let never = never(plan, &name, &self.layout);
        Seen { at_target: self.layout.target.clone(), ours, under, never, rules: self.rules.clone(), name }
    }
}

/// The captured tables as a sink lays them out, and what is to be said of those that it cannot.
pub(super) fn lay_out<D: Dialect>(
    dialect: &D,
    plan: &SinkPlan,
    tables: &[TableSchema],
) -> (Vec<LaidOut<D::Type>>, Vec<CheckItem>) {
    let (mut laid_out, mut stopped, mut by_rule) = (Vec::new(), Vec::new(), Vec::new());
    for schema in tables.iter().filter(|schema| leaves_out::<D>(plan, schema).is_none()) {
        match lay_out_one(dialect, plan, schema) {
            Ok(table) => laid_out.push(table),
            Err(failure) => stopped.push((&schema.name, failure)),
        }
        by_rule.extend(key_rules(plan, schema).into_iter().map(|said| (&schema.name, said)));
    }
    let mut items = Vec::new();
    if !stopped.is_empty() {
        let names = stopped.iter().map(|(name, _)| name.to_string()).collect();
        let facts: Vec<String> = stopped.iter().map(|(_, failure)| failure.fact()).collect();
        let hints: BTreeSet<&str> = stopped.iter().filter_map(|(_, failure)| failure.hint.as_deref()).collect();
        let hints = hints.into_iter().collect::<Vec<_>>().join("\n");
        let detail = format!("would be stopped: {}", listed(&facts));
        items.push(CheckItem::fail(named(plan, "rules and types"), detail, Some(hints)).about(names));
    } else if !tables.is_empty() {
        let detail = format!("{} tables can be written as configured", laid_out.len());
        items.push(CheckItem::ok(named(plan, "rules and types"), detail));
    }
    if !by_rule.is_empty() {
        let names: BTreeSet<String> = by_rule.iter().map(|(name, _)| name.to_string()).collect();
        let facts: Vec<String> = by_rule.into_iter().map(|(_, said)| said).collect();
        let mend =
            "take the column out of the rule where readers of the copy look rows up by the source's key".to_owned();
        let item = CheckItem::warn(named(plan, "rules of keys"), listed(&facts), Some(mend));
        items.push(item.about(names.into_iter().collect()));
    }
    (laid_out, items)
}

fn lay_out_one<D: Dialect>(dialect: &D, plan: &SinkPlan, schema: &TableSchema) -> Result<LaidOut<D::Type>, Failure> {
    RowRules::of(plan, schema)?;
    let rules = row_rules(plan, schema);
    let schema = shown_schema(plan, Arc::new(schema.clone()));
    let options = options_for::<D>(plan, &schema.name, Some(&schema));
    let layout = Layout::new(dialect, &schema, &options, plan.target_name(&schema.name))?;
    Ok(LaidOut { schema, layout, rules })
}

/// The keys of the rules that make something else of a table's rows.
fn row_rules(plan: &SinkPlan, schema: &TableSchema) -> Vec<&'static str> {
    let options = plan.options_for(&schema.name);
    let has = |name: &String| schema.columns.iter().any(|column| same_column(name, &column.name));
    let rules = [
        ("rename", options.rename.iter().any(|(name, _)| has(name))),
        ("drop", options.drop.iter().any(has)),
        ("hash", options.hash.iter().any(has)),
        ("rows", !options.rows.is_empty()),
    ];
    rules.into_iter().filter(|(_, applies)| *applies).map(|(key, _)| key).collect()
}

/// What rules make of the columns of a mirror's key.
fn key_rules(plan: &SinkPlan, schema: &TableSchema) -> Vec<String> {
    let options = plan.options_for(&schema.name);
    let Some(key) = schema.key.as_ref().filter(|_| options.mode == Mode::Mirror) else { return Vec::new() };
    let columns = key.columns.iter().filter_map(|place| schema.columns.get(usize::from(*place)));
    let mut said = Vec::new();
    for column in columns.map(|column| &column.name) {
        if options.hash.iter().any(|name| same_column(name, column)) {
            said.push(format!("\"{column}\" of the key of {} is written as its hash", schema.name));
        }
        if let Some((_, new)) = options.rename.iter().find(|(name, _)| same_column(name, column)) {
            said.push(format!("\"{column}\" of the key of {} is written as \"{new}\"", schema.name));
        }
    }
    said
}

/// What is to be said of what is under the names of tables that the sink has not made yet. `reads_all`: every table is read for it.
pub(super) fn under_names<D: Dialect>(plan: &SinkPlan, seen: &[Seen], reads_all: bool) -> Vec<CheckItem> {
    let (mut free, mut taken, mut missing, mut fits) = (0, Vec::new(), Vec::new(), Vec::new());
    for table in seen {
        match &table.under {
            Under::Nothing if plan.adopt && table.never.is_none() && !reads_all => missing.push(table),
            Under::Nothing | Under::Made => free += 1,
            Under::Theirs(theirs) => {
                let differences = differences(&table.ours, theirs, D::COLUMNS);
                match &table.never {
                    _ if plan.adopt && reads_all => taken.push((&table.name, {
                        let failure = read_over(&table.name, &table.at_target);
                        (failure.message, failure.hint)
                    })),
                    Some(failure) if plan.adopt => {
                        taken.push((&table.name, (failure.message.clone(), failure.hint.clone())));
                    }
                    None if plan.adopt && differences.is_empty() => fits.push(&table.name),
                    None if plan.adopt => taken.push((&table.name, {
                        let failure = refused(&table.name, &table.at_target, &differences, &table.ours);
                        (failure.message, failure.hint)
                    })),
                    _ => taken.push((&table.name, not_adopted(table, &differences))),
                }
            }
        }
    }
    let name = named(plan, "names at the target");
    let mut items = Vec::new();
    if !taken.is_empty() {
        let names = taken.iter().map(|(name, _)| name.to_string()).collect();
        let facts: Vec<String> = taken.iter().map(|(_, (fact, _))| fact.clone()).collect();
        let mut hints: Vec<String> = taken.into_iter().filter_map(|(_, (_, hint))| hint).collect();
        hints.dedup();
        items.push(CheckItem::fail(name.clone(), listed(&facts), Some(hints.join("\n"))).about(names));
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(|table| table.name.to_string()).collect();
        let detail = format!(
            "`adopt: true`, and not at the target: {}; the sink makes them empty, and nothing reads the rows that the source has",
            listed(&names)
        );
        let statements: Vec<&str> = missing.iter().map(|table| table.ours.statement.as_str()).collect();
        items.push(CheckItem::warn(name.clone(), detail, Some(statements.join("\n"))).about(names));
    }
    if !fits.is_empty() {
        let names: Vec<String> = fits.iter().map(ToString::to_string).collect();
        let detail = format!(
            "taken over as they are: {} (each with its first change; `backfill --replace` before that empties it until its rows are read)",
            listed(&names)
        );
        items.push(CheckItem::ok(name.clone(), detail).about(names));
    }
    items.extend(taken_over_by_rules(plan, missing.iter().map(|table| &table.name).chain(fits), seen));
    if items.is_empty() && free > 0 {
        items.push(CheckItem::ok(name, "none is taken by what this sink did not make"));
    }
    items
}

/// Tables whose rows the sink takes as they are, and of which the rules make something else than the source has.
fn taken_over_by_rules<'t>(
    plan: &SinkPlan,
    taken_over: impl Iterator<Item = &'t TableName>,
    seen: &[Seen],
) -> Option<CheckItem> {
    let taken_over: BTreeSet<&TableName> = taken_over.collect();
    let ruled = || seen.iter().filter(|table| !table.rules.is_empty() && taken_over.contains(&table.name));
    let facts: Vec<String> = ruled().map(|table| format!("{} ({})", table.name, table.rules.join(", "))).collect();
    if facts.is_empty() {
        return None;
    }
    let detail = format!("their rows at the target have to be as the rules make them: {}", listed(&facts));
    let mend = "load them as the rules say: nothing looks at rows that are taken over".to_owned();
    let names = ruled().map(|table| table.name.to_string()).collect();
    Some(CheckItem::warn(named(plan, "rules of rows taken over"), detail, Some(mend)).about(names))
}

/// A table that is there, and that the configuration does not take over.
fn not_adopted(table: &Seen, differences: &[String]) -> (String, Option<String>) {
    let Seen { name, at_target, never, .. } = table;
    let fact = format!("the target has \"{at_target}\", which this sink did not make for {name}");
    let free = "rename or drop it, or set another `table_name` for the sink";
    let hint = if never.is_none() && differences.is_empty() {
        format!(
            "{free}; or, if its rows are the source's as of the place where the log begins, set `adopt: true` for the sink (docs/handoff.md)"
        )
    } else {
        free.to_owned()
    };
    (fact, Some(hint))
}

fn named(plan: &SinkPlan, what: &str) -> String {
    format!("sink {}: {what}", plan.name)
}

fn listed(facts: &[String]) -> String {
    let shown = facts.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match facts.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown}; and {more} more"),
        _ => shown,
    }
}
