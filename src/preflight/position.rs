//! The log beside the source: whether the server still has what follows the log's position, and is the server that
//! the log was read from.

use mysql_async::Conn;
use wal::Reader;

use crate::codec::stored::{self, SOURCE_POSITION, StoredPosition};
use crate::config::{OnPurged, SourcePlan, Startup};
use crate::error::{Failure, Unusable};
use crate::ingest::refused_position;
use crate::model::{CheckItem, SourcePosition};
use crate::source::mysql::server::{ROW_METADATA, ServerInfo};
use crate::source::mysql::start::{self, StartPoint};
use crate::telemetry::{Position, SourcePhase, Status};

const NAME: &str = "log position";

/// The position of a log that no daemon has open.
pub(super) async fn of_log(
    conn: &mut Conn,
    server: &ServerInfo,
    source: &SourcePlan,
    log: Option<&Reader>,
) -> CheckItem {
    let stored = match log.map(|log| stored::get::<StoredPosition>(log, SOURCE_POSITION.key())).transpose() {
        Ok(stored) => stored.flatten(),
        Err(failure) => return failed(&failure),
    };
    let Some(StoredPosition::MySql(stored)) = stored else { return first(conn, server, source).await };
    let resolved = start::resolve(conn, server, Some(&stored), &source.startup).await;
    let shown = Position::from(stored.clone());
    let met = match log.map(refused_position).transpose() {
        Ok(met) => met.flatten().filter(|refused| refused.is_about(&stored, &server.identity)),
        Err(failure) => return failed(&failure),
    };
    match (resolved, met) {
        (Err(failure), _) => unusable(failure, source.on_purged),
        (Ok(_), Some(refused)) => {
            let detail = format!("{shown}: the last start could not read on from there: {}", refused.failure().message);
            CheckItem::warn(NAME, detail, Some(start::RESYNC.to_owned()))
        }
        (Ok(_), None) => CheckItem::ok(NAME, format!("{shown}: the source has what follows it")),
    }
}

/// The position of a daemon that runs. It holds the log, so no more is known of it than what the daemon says.
pub(super) async fn of_daemon(conn: &mut Conn, server: &ServerInfo, source: &SourcePlan, status: &Status) -> CheckItem {
    let reading = &status.source;
    let state = reading.state.as_str();
    if reading.state == SourcePhase::Failed {
        let why = reading.error.clone().unwrap_or_default();
        return CheckItem::fail(NAME, format!("the daemon has failed at the source: {why}"), None);
    }
    let Some(position) = &reading.position else {
        return CheckItem::ok(NAME, format!("the daemon has none yet, it is {state}"));
    };
    let identity = server.identity.to_string();
    if reading.server.as_ref().is_some_and(|read| !read.contains(&identity)) {
        let detail = format!(
            "the daemon reads {}, and source.url leads to {identity} now",
            reading.server.as_deref().unwrap_or_default()
        );
        return CheckItem::warn(NAME, detail, Some("let the address of source.url lead to one server".to_owned()));
    }
    // The creation time of its file is in the log, which the daemon holds: whether the binlogs were reset is for the
    // daemon to notice.
    let at = SourcePosition {
        server: server.identity.clone(),
        file: position.file.clone().unwrap_or_default(),
        pos: position.pos.unwrap_or_default(),
        file_created: 0,
        gtid: position.gtid.clone(),
    };
    match start::resolve(conn, server, Some(&at), &source.startup).await {
        Err(failure) => unusable(failure, source.on_purged),
        Ok(_) => {
            let error = reading.error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
            let detail = format!(
                "{position}: the source has what follows it, and the daemon is {state}{error}; the running daemon holds the log, so file times and \
                 what an earlier stream met there are not compared"
            );
            if reading.error.is_some() { CheckItem::warn(NAME, detail, None) } else { CheckItem::ok(NAME, detail) }
        }
    }
}

/// Where a log begins that has no position.
async fn first(conn: &mut Conn, server: &ServerInfo, source: &SourcePlan) -> CheckItem {
    let mode = match &source.startup {
        Startup::Initial => "initial: it reads every table",
        Startup::Latest => "latest: it reads no table, and begins at the end of the binlog",
        Startup::Specific(_) => "specific: it reads no table, and begins there",
    };
    match start::resolve(conn, server, None, &source.startup).await {
        Ok(StartPoint { position, .. }) if matches!(source.startup, Startup::Specific(_)) && !server.tells_names() => {
            let detail = format!(
                "none yet: the log begins at {} (startup_mode {mode}); the binlog does not name the columns of rows, so tables that were written since \
                 then are left out until they are read again",
                Position::from(position)
            );
            let mend = format!("{}, and take the dump or the copy after it", server.set(ROW_METADATA, "'FULL'"));
            CheckItem::warn(NAME, detail, Some(mend))
        }
        Ok(StartPoint { position, .. }) => CheckItem::ok(
            NAME,
            format!("none yet: the log begins at {} (startup_mode {mode})", Position::from(position)),
        ),
        Err(failure) => failed(&failure),
    }
}

/// A position that the source does not go on from.
fn unusable(failure: Failure, on_purged: OnPurged) -> CheckItem {
    if failure.unusable == Some(Unusable::Purged) && on_purged == OnPurged::Resync {
        let detail = format!(
            "{}; `on_purged: resync` takes the source's current position, and every table is read again",
            failure.fact()
        );
        return CheckItem::warn(NAME, detail, failure.hint);
    }
    failed(&failure)
}

fn failed(failure: &Failure) -> CheckItem {
    let hint = failure.hint.clone();
    CheckItem::fail(NAME, failure.fact(), hint)
}
