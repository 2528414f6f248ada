//! Whether another replica of the source has `source.server_id` at this moment. A server serves one replica of an id:
//! where a second one connects, it ends the first.
//!
//! What a server shows depends on it. MySQL lists its replicas to an account that may be one; MariaDB to one with
//! REPLICATION MASTER ADMIN, which replicator needs for nothing else. Without it, the account sees its own
//! connections at least, though not their ids.

use std::time::Duration;

use mysql_async::{Conn, Row, ServerError};

use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::CheckItem;
use crate::source::mysql::server::{self, Flavour, ServerInfo};

const NAME: &str = "server id in use";
/// A server notices within two heartbeats that a replica is gone: a daemon that was killed is listed for so long.
const LOOKS: u32 = 7;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
const DENIED: u16 = 1227;

/// What to do where two have one id.
const HINT: &str = "give source.server_id a value that no server and no other replica uses, or stop the other replica";

/// Looks for the id among the source's replicas. `is_running`: the daemon of this configuration is one of them.
pub(super) async fn check(conn: &mut Conn, server: &ServerInfo, source: &SourcePlan, is_running: bool) -> CheckItem {
    let id = source.server_id;
    if is_running {
        return CheckItem::ok(
            NAME,
            format!("{id} is the running daemon's; the source does not list a second one of the same id"),
        );
    }
    for look in 1.. {
        let found = match list(conn, server).await {
            Ok(replicas) => replicas.into_iter().find(|replica| replica.id == id),
            Err(failure) if is_denied(&failure) => return own_dumps(conn, server, id).await,
            Err(failure) => return super::failed(NAME, &failure),
        };
        match found {
            None => break,
            Some(replica) if look == LOOKS => {
                let detail = format!(
                    "{id} is in use by a replica that is connected to the source{}: the source would end one of the two, again and again",
                    replica.shown()
                );
                return CheckItem::fail(NAME, detail, Some(HINT.to_owned()));
            }
            Some(_) => tokio::time::sleep(BETWEEN_LOOKS).await,
        }
    }
    CheckItem::ok(NAME, format!("no replica that is connected to the source has {id}"))
}

/// A replica as the source lists it.
struct Replica {
    id: u32,
    host: String,
    port: u16,
}

impl Replica {
    fn shown(&self) -> String {
        match (self.host.as_str(), self.port) {
            ("", _) => String::new(),
            (host, 0) => format!(" (it calls itself \"{host}\")"),
            (host, port) => format!(" (it calls itself \"{host}\", port {port})"),
        }
    }
}

async fn list(conn: &mut Conn, server: &ServerInfo) -> Result<Vec<Replica>, Failure> {
    let is_new = server.flavour == Flavour::MySql && server.version >= (8, 0, 22);
    let sql = if is_new { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" };
    let rows: Vec<Row> = server::query(conn, sql, "list the source's replicas").await?;
    let replica = |row: Row| {
        Some(Replica {
            id: row.get_opt(0)?.ok()?,
            host: row.get_opt(1).and_then(Result::ok).unwrap_or_default(),
            port: row.get_opt(2).and_then(Result::ok).unwrap_or_default(),
        })
    };
    Ok(rows.into_iter().filter_map(replica).collect())
}

fn is_denied(failure: &Failure) -> bool {
    let cause = failure.source.as_ref().and_then(|cause| cause.downcast_ref::<ServerError>());
    cause.is_some_and(|error| error.code == DENIED)
}

/// The connections of the account itself that read the binlog: all that it may see.
async fn own_dumps(conn: &mut Conn, server: &ServerInfo, id: u32) -> CheckItem {
    let why = match server.flavour {
        Flavour::MariaDb => "SHOW SLAVE HOSTS needs REPLICATION MASTER ADMIN",
        Flavour::MySql => "SHOW REPLICAS needs REPLICATION SLAVE",
    };
    let sql = "SELECT HOST FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%' ORDER BY HOST";
    let mut hosts: Vec<String> = Vec::new();
    for _ in 0..LOOKS {
        hosts = match server::query(conn, sql, "list the connections that read the binlog").await {
            Ok(hosts) => hosts,
            Err(failure) => {
                let detail = format!("whether another replica has {id} is not known: {why}, and {}", failure.fact());
                return CheckItem::warn(NAME, detail, None);
            }
        };
        if hosts.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    if hosts.is_empty() {
        let detail =
            format!("no binlog dump is visible to the account; those of other accounts and their ids are not ({why})");
        return CheckItem::ok(NAME, detail);
    }
    let detail = format!(
        "the binlog is read by {} with an account that is visible to this one: whether with {id} is not known ({why}); with the same id, the \
         source would end one of the two",
        hosts.join(", ")
    );
    CheckItem::warn(NAME, detail, Some(HINT.to_owned()))
}
