//! Whether a start would go well: what source, log, listener and sinks say before anything is changed, each alone and
//! beside the others.

mod machine;
mod position;
mod targets;

use std::collections::BTreeSet;

use wal::Lsn;

use crate::codec::stored::{self, SOURCE_POSITION, StoredPosition};
use crate::config::Plan;
use crate::control::{Client, ClientError, Request};
use crate::deliver::{Apart, TableAtSink, tables_at, would_read_all};
use crate::error::Failure;
use crate::model::{CheckItem, CheckStatus, TableName, TableSchema};
use crate::rule_names::{self, Unknown};
use crate::sink::{self, Against, CLASH_HINT, Checked, NOT_TAKEN, clashes};
use crate::source::mysql::names::require_same_names;
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::{connect, preflight, schema};
use crate::table;
use crate::telemetry::{Status, TableStatus};

/// Checks everything that a start needs; changes nothing. Where a daemon runs it holds the log, and says what of it
/// is compared.
pub async fn check(plan: &Plan) -> Vec<CheckItem> {
    let daemon = match Client::connect(&plan.wal.path) {
        Ok(client) => match client.ask_one(&Request::Status) {
            Ok(status) => Some(status),
            Err(error) => return vec![not_reached(&error)],
        },
        Err(ClientError::NotRunning) => None,
        Err(error) => return vec![not_reached(&error)],
    };
    let daemon: Option<&Status> = daemon.as_ref();
    let running = daemon.is_some();
    // Whether a log can be read is a check of its own.
    let log = if running { None } else { wal::Reader::open_read_only(&plan.wal.path).ok() };
    let log = log.filter(|log| stored::check_format(log, log.positions().durable == Lsn::ZERO).is_ok());
    let mut items = preflight::checks(&plan.source, running).await;
    let is_source_good = items.iter().all(|item| item.status != CheckStatus::Fail);
    let mut tables = Vec::new();
    match captured_tables(plan, (daemon, log.as_ref())).await {
        Ok(Captured { plan, tables: named, described, unknown, position }) => {
            items.push(position);
            if is_source_good {
                items.extend([table_names(&plan, &named), rules(&plan, &unknown)]);
            }
            tables = described;
        }
        // It is among what was found of the source.
        Err(_) if !is_source_good => {}
        Err(failure) => {
            let hint = failure.hint.clone();
            items.push(CheckItem::fail("table names", failure.fact(), hint));
        }
    }
    items.extend([machine::log(&plan.wal, running), machine::disk(&plan.wal)]);
    for sink_plan in &plan.sinks {
        // A record that is damaged is a finding of the log beside the target.
        let reads_all = log.as_ref().is_some_and(|log| would_read_all(log, &sink_plan.name).unwrap_or(false));
        let against = Against { log: log.as_ref().map(wal::Reader::id), tables: &tables, reads_all };
        let Checked { items: found, state } = sink::check(sink_plan, against).await;
        items.extend(found);
        items.extend(match daemon {
            Some(status) => Some(targets::beside_daemon(sink_plan, status)),
            None => targets::beside_log(sink_plan, state, log.as_ref()),
        });
    }
    items.extend(tables_that_come_in(plan, (daemon, log.as_ref())));
    items.push(machine::listener(plan.http, running).await);
    items
}

fn not_reached(error: &ClientError) -> CheckItem {
    CheckItem::fail("daemon", format!("{error}: {}", machine::cause(error)), None)
}

/// Whether every captured table has a name of its own at every sink.
fn table_names(plan: &Plan, tables: &[TableName]) -> CheckItem {
    const NAME: &str = "table names";
    let clashes: Vec<_> = plan.sinks.iter().flat_map(|sink| clashes(tables, sink)).collect();
    if clashes.is_empty() {
        return CheckItem::ok(NAME, format!("each of the {} tables has its own at every sink", tables.len()));
    }
    let detail: Vec<_> = clashes.iter().map(ToString::to_string).collect();
    CheckItem::fail(NAME, detail.join("; "), Some(CLASH_HINT.to_owned()))
}

/// Tables that sinks did not get, and are configured to get now: the next start reads them for those sinks.
fn tables_that_come_in(plan: &Plan, (daemon, log): (Option<&Status>, Option<&wal::Reader>)) -> Vec<CheckItem> {
    let mut items = Vec::new();
    for sink in &plan.sinks {
        let name = format!("sink {}: tables", sink.name);
        let apart = match (daemon, log) {
            (Some(status), _) => Ok(apart_at_daemon(plan, status, &sink.name)),
            (None, Some(log)) => apart_in_log(plan, log, &sink.name),
            (None, None) => Ok(Vec::new()),
        };
        match apart {
            Ok(apart) => {
                let come: Vec<String> =
                    apart.iter().filter(|table| sink.takes(table)).map(ToString::to_string).collect();
                if !come.is_empty() {
                    let detail = format!(
                        "the next start reads again for this sink, which `include` and `exclude` kept them from: {}",
                        come.join(", ")
                    );
                    items.push(CheckItem::warn(name, detail, None).about(come));
                }
            }
            Err(failure) => items.push(CheckItem::fail(name, failure.chain(), None)),
        }
    }
    items
}

/// Tables that the log says a sink does not get, by its name.
fn apart_in_log(plan: &Plan, log: &wal::Reader, sink: &str) -> Result<Vec<TableName>, Failure> {
    let tables = tables_at(log, sink)?.into_iter();
    let is_captured = |table: &TableName| plan.source.filter.may_capture(table);
    let is_apart = |at: &TableAtSink| at.apart.as_ref().is_some_and(Apart::is_by_name);
    Ok(tables.filter(|(table, at)| is_apart(at) && is_captured(table)).map(|(table, _)| table).collect())
}

/// The same of a daemon that runs.
fn apart_at_daemon(plan: &Plan, status: &Status, sink: &str) -> Vec<TableName> {
    let is_apart =
        |table: &TableStatus| table.sinks.get(sink).is_some_and(|at| at.stated.why.as_deref() == Some(NOT_TAKEN));
    let names = status.tables.iter().filter(|table| is_apart(table)).map(|table| table.table.as_str());
    // A name may have dots of its own: it is divided where the table is captured.
    let captured = |name: &str| {
        let mut divided = name
            .match_indices('.')
            .filter_map(|(at, dot)| Some(TableName::new(name.get(..at)?, name.get(at + dot.len()..)?)));
        divided.find(|table| plan.source.filter.may_capture(table))
    };
    names.filter_map(captured).collect()
}

/// Whether what the rules of sinks name is there at the source.
fn rules(plan: &Plan, unknown: &[Unknown]) -> CheckItem {
    const NAME: &str = "rules of tables";
    if unknown.is_empty() {
        let ruled: usize = plan.sinks.iter().map(|sink| sink.ruled_tables().count()).sum();
        let detail = if ruled == 0 { "none" } else { "every table and column that they name is there" };
        return CheckItem::ok(NAME, detail);
    }
    let detail: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    let tables = unknown.iter().map(|unknown| unknown.table.to_string()).collect();
    CheckItem::fail(NAME, detail.join("; "), Some(rule_names::HINT.to_owned())).about(tables)
}

/// What a source says of the configuration.
struct Captured {
    /// The configuration under the source's rule for names.
    plan: Plan,
    /// The tables that it captures.
    tables: Vec<TableName>,
    /// As they are defined.
    described: Vec<TableSchema>,
    /// What its rules name that is not there.
    unknown: Vec<Unknown>,
    /// Whether the source has what follows the log's position.
    position: CheckItem,
}

/// The configuration under the source's rule for names, the tables that it captures, and the log's position at the
/// source.
async fn captured_tables(
    plan: &Plan,
    (daemon, log): (Option<&Status>, Option<&wal::Reader>),
) -> Result<Captured, Failure> {
    let mut connection = connect::connect(&plan.source).await?;
    let server = ServerInfo::probe(&mut connection).await?;
    let plan = plan.under(server.names)?;
    let position = match daemon {
        Some(status) => position::of_daemon(&mut connection, &server, &plan.source, status).await,
        None => position::of_log(&mut connection, &server, &plan.source, log).await,
    };
    let tables: BTreeSet<TableName> =
        schema::list(&mut connection, &plan.source.filter).await?.copied().cloned().collect();
    let names = plan.source.filter.names();
    let described =
        schema::describe_those(&mut connection, server.flavour, names, |table| tables.contains(table)).await?;
    let tables: Vec<TableName> = tables.into_iter().collect();
    let unknown = rule_names::unknown_names(&plan, &tables, &described);
    // It has answered; a goodbye it does not hear changes nothing.
    drop(connection.disconnect().await);
    // A running daemon itself notices another rule.
    if let Some(log) = log {
        let known: Vec<_> = table::records(log)?.into_iter().map(|(table, _)| table).collect();
        if stored::get::<StoredPosition>(log, SOURCE_POSITION.key())?.is_some() {
            require_same_names(stored::source_names(log)?, &server, &known)?;
        }
    }
    Ok(Captured { plan, tables, described, unknown, position })
}
