//! Whether a start would go well: what source, log, listener and sinks say before anything is changed.

use std::path::{Path, PathBuf};

use wal::Lsn;

use crate::codec::stored::{self, SOURCE_POSITION, StoredPosition};
use crate::config::{HttpPlan, Plan, WalPlan, show_size};
use crate::control::{Client, ClientError, Request};
use crate::deliver::{Apart, TableAtSink, tables_at};
use crate::error::Failure;
use crate::model::{CheckItem, CheckStatus, TableName};
use crate::rule_names::{self, Unknown};
use crate::sink::{self, CLASH_HINT, NOT_TAKEN, clashes};
use crate::source::mysql::names::require_same_names;
use crate::source::mysql::server::ServerInfo;
use crate::source::mysql::{connect, preflight, schema};
use crate::table;
use crate::telemetry::{Status, TableStatus};

/// Checks everything that a start needs; changes nothing.
pub async fn check(plan: &Plan) -> Vec<CheckItem> {
    let running = match Client::connect(&plan.wal.path) {
        Ok(_) => true,
        Err(ClientError::NotRunning) => false,
        Err(error) => return vec![CheckItem::fail("daemon", format!("{error}: {}", cause(&error)), None)],
    };
    let mut items = preflight::checks(&plan.source).await;
    if items.iter().all(|item| item.status != CheckStatus::Fail) {
        items.extend(table_names(plan, running).await);
    }
    items.extend([log(&plan.wal, running), disk(&plan.wal)]);
    for sink_plan in &plan.sinks {
        items.extend(sink::check(sink_plan).await);
    }
    items.extend(tables_that_come_in(plan, running));
    items.push(listener(plan.http, running).await);
    items
}

/// Whether every captured table has a name of its own at every sink, and the one that the log has for it. Asked only of a source that
/// answers.
async fn table_names(plan: &Plan, running: bool) -> Vec<CheckItem> {
    const NAME: &str = "table names";
    let Captured { plan, tables, unknown } = match captured_tables(plan, running).await {
        Ok(captured) => captured,
        Err(failure) => {
            let hint = failure.hint.clone();
            return vec![CheckItem::fail(NAME, Failure { hint: None, ..failure }.chain(), hint)];
        }
    };
    let clashes: Vec<_> = plan.sinks.iter().flat_map(|sink| clashes(&tables, sink)).collect();
    let names = if clashes.is_empty() {
        CheckItem::ok(NAME, format!("each of the {} tables has its own at every sink", tables.len()))
    } else {
        let detail: Vec<_> = clashes.iter().map(ToString::to_string).collect();
        CheckItem::fail(NAME, detail.join("; "), Some(CLASH_HINT.to_owned()))
    };
    vec![names, rules(&plan, &unknown)]
}

/// Tables that sinks did not get, and are configured to get now: the next start reads them for those sinks.
fn tables_that_come_in(plan: &Plan, running: bool) -> Vec<CheckItem> {
    let mut items = Vec::new();
    for sink in &plan.sinks {
        let name = format!("sink {}: tables", sink.name);
        let apart = if running { apart_at_daemon(plan, &sink.name) } else { apart_in_log(plan, &sink.name) };
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
fn apart_in_log(plan: &Plan, sink: &str) -> Result<Vec<TableName>, Failure> {
    // Whether the log can be read is another check.
    let Ok(reader) = wal::Reader::open_read_only(&plan.wal.path) else { return Ok(Vec::new()) };
    let tables = tables_at(&reader, sink)?.into_iter();
    let is_captured = |table: &TableName| plan.source.filter.may_capture(table);
    let is_apart = |at: &TableAtSink| at.apart.as_ref().is_some_and(Apart::is_by_name);
    Ok(tables.filter(|(table, at)| is_apart(at) && is_captured(table)).map(|(table, _)| table).collect())
}

/// The same of a daemon that runs.
fn apart_at_daemon(plan: &Plan, sink: &str) -> Result<Vec<TableName>, Failure> {
    let client = Client::connect(&plan.wal.path).map_err(not_answered)?;
    let status: Status = client.ask_one(&Request::Status).map_err(not_answered)?;
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
    Ok(names.filter_map(captured).collect())
}

fn not_answered(error: ClientError) -> Failure {
    Failure::fatal("the daemon does not say what its sinks get").caused_by(error)
}

/// Whether what the rules of sinks name is there.
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
    /// What its rules name that is not there.
    unknown: Vec<Unknown>,
}

/// The configuration under the source's rule for names, and the tables that it captures.
async fn captured_tables(plan: &Plan, running: bool) -> Result<Captured, Failure> {
    let mut connection = connect::connect(&plan.source).await?;
    let server = ServerInfo::probe(&mut connection).await?;
    let plan = plan.under(server.names)?;
    let tables: Vec<TableName> = schema::list(&mut connection, &plan.source.filter).await?.copied().cloned().collect();
    let unknown = rule_names::look_up(&mut connection, &server, &plan, &tables).await?;
    // It has answered; a goodbye it does not hear changes nothing.
    drop(connection.disconnect().await);
    // The log of a running daemon is locked, and the daemon itself notices another rule. Whether another log can be read is another check.
    if !running && let Ok(reader) = wal::Reader::open_read_only(&plan.wal.path) {
        let known: Vec<_> = table::records(&reader)?.into_iter().map(|(table, _)| table).collect();
        if stored::get::<StoredPosition>(&reader, SOURCE_POSITION.key())?.is_some() {
            require_same_names(stored::source_names(&reader)?, &server, &known)?;
        }
    }
    Ok(Captured { plan, tables, unknown })
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or(String::new(), ToString::to_string)
}

fn log(plan: &WalPlan, running: bool) -> CheckItem {
    const NAME: &str = "log";
    let path = plan.path.display();
    if running {
        return CheckItem::ok(NAME, format!("in use by the running daemon, in \"{path}\""));
    }
    if !plan.path.exists() {
        return match writable(&existing_parent(&plan.path)) {
            Ok(()) => CheckItem::ok(NAME, format!("start will make it in \"{path}\"")),
            Err(error) => {
                CheckItem::fail(NAME, format!("cannot be made in \"{path}\": {error}"), Some(mend_directory(plan)))
            }
        };
    }
    if let Err(error) = writable(&plan.path) {
        return CheckItem::fail(NAME, format!("\"{path}\" cannot be written: {error}"), Some(mend_directory(plan)));
    }
    match wal::Reader::open_read_only(&plan.path) {
        Ok(reader) => {
            let durable = reader.positions().durable;
            match stored::check_format(&reader, durable == Lsn::ZERO) {
                Ok(()) => CheckItem::ok(NAME, format!("in \"{path}\", up to lsn {durable}")),
                Err(failure) => {
                    let hint = failure.hint.clone();
                    CheckItem::fail(NAME, Failure { hint: None, ..failure }.chain(), hint)
                }
            }
        }
        Err(wal::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            CheckItem::ok(NAME, format!("start will make it in \"{path}\""))
        }
        Err(error) => CheckItem::fail(NAME, format!("{error} {}", cause(&error)).trim_end().to_owned(), None),
    }
}

fn mend_directory(plan: &WalPlan) -> String {
    format!("make \"{}\" a directory that this user may write, or change wal.path", plan.path.display())
}

/// The closest directory above that exists.
fn existing_parent(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|path| path.exists()).map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn writable(directory: &Path) -> std::io::Result<()> {
    if !directory.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
    }
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}

/// The log may take its limit: what it does not take yet must be free.
fn disk(plan: &WalPlan) -> CheckItem {
    const NAME: &str = "disk for the log";
    let place = existing_parent(&plan.path);
    let free = match rustix::fs::statvfs(&place) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
        Err(error) => {
            return CheckItem::fail(NAME, format!("cannot be measured in \"{}\": {error}", place.display()), None);
        }
    };
    let taken =
        wal::Reader::open_read_only(&plan.path).and_then(|reader| reader.stats()).map_or(0, |stats| stats.disk_bytes);
    let needed = plan.max_size.saturating_sub(taken);
    let detail = format!("{} free, the log may take {} more", show_rounded(free), show_rounded(needed));
    if free >= needed {
        return CheckItem::ok(NAME, detail);
    }
    let mend = format!("set wal.max_size below {}, or make room", show_rounded(free.saturating_add(taken)));
    CheckItem::warn(NAME, detail, Some(mend))
}

fn show_rounded(bytes: u64) -> String {
    if bytes < 1 << 20 { show_size(bytes) } else { bytesize::ByteSize::b(bytes).display().iec().to_string() }
}

async fn listener(plan: HttpPlan, running: bool) -> CheckItem {
    const NAME: &str = "http.listen";
    let Some(address) = plan.listen else { return CheckItem::ok(NAME, "off") };
    if running {
        return CheckItem::ok(NAME, format!("{address}, in use by the running daemon"));
    }
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) if address.ip().is_loopback() => CheckItem::ok(NAME, address.to_string()),
        Ok(_) => CheckItem::warn(
            NAME,
            format!("{address} is reached from other machines, without a password"),
            Some("listen on 127.0.0.1, or keep others out by a firewall".to_owned()),
        ),
        Err(error) => CheckItem::fail(
            NAME,
            format!("cannot listen on {address}: {error}"),
            Some("choose another address in http.listen, or none".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wal_plan(path: &Path) -> WalPlan {
        WalPlan { path: path.to_owned(), max_size: 64 << 20 }
    }

    #[test]
    fn a_log_that_start_can_make_is_right_and_one_it_cannot_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(log(&wal_plan(&directory.path().join("new/deep")), false).status, CheckStatus::Ok);
        assert_eq!(log(&wal_plan(directory.path()), false).status, CheckStatus::Ok);
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(log(&wal_plan(&file), false).status, CheckStatus::Fail);
        assert_eq!(log(&wal_plan(&file.join("below")), false).status, CheckStatus::Fail);
    }

    #[test]
    fn a_log_that_may_outgrow_its_disk_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(disk(&WalPlan { path: directory.path().to_owned(), max_size: 1 << 60 }).status, CheckStatus::Warn);
        assert_eq!(disk(&wal_plan(directory.path())).status, CheckStatus::Ok);
    }

    #[tokio::test]
    async fn a_listener_is_checked_by_taking_its_address() {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plan = HttpPlan { listen: Some(taken.local_addr().unwrap()), table_metrics: true };
        assert_eq!(listener(plan, false).await.status, CheckStatus::Fail);
        assert_eq!(listener(plan, true).await.status, CheckStatus::Ok);
        drop(taken);
        assert_eq!(listener(plan, false).await.status, CheckStatus::Ok);
        assert_eq!(listener(HttpPlan { listen: None, table_metrics: true }, false).await.detail, "off");
    }
}
