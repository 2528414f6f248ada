//! Connections of the snapshot and what their sessions are set to.

use std::sync::Arc;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::sync::OnceCell;

use crate::config::SourcePlan;
use crate::error::Failure;
use crate::source::mysql::connect;
use crate::source::mysql::schema::{Flavour, query_failure};

/// Seconds to wait for a metadata lock: the least that the servers take. While `LOCK TABLES` waits, writers of the table queue up
/// after it, and a read of a whole table may make the stream wait as long. Another try follows.
const LOCK_WAIT_SECONDS: u32 = 1;

/// What the snapshot needs to know of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Which of the two.
    pub(super) flavour: Flavour,
    /// Version.
    pub(super) version: (u16, u16, u16),
}

/// Opens connections.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    plan: Arc<SourcePlan>,
    server: Arc<OnceCell<Server>>,
}

impl Sessions {
    pub(super) fn new(plan: SourcePlan) -> Self {
        Self { plan: Arc::new(plan), server: Arc::default() }
    }

    /// The server, once a connection has been opened.
    pub(super) fn server(&self) -> Result<Server, Failure> {
        self.server.get().copied().ok_or_else(|| Failure::retry("the source has not been reached yet"))
    }

    /// A connection for everything but rows: texts come in utf8mb4.
    pub(super) async fn control(&self) -> Result<Conn, Failure> {
        self.open("").await
    }

    /// A connection for rows: strings come in their columns' own character sets.
    pub(super) async fn reader(&self) -> Result<Conn, Failure> {
        self.open(", character_set_results = NULL").await
    }

    async fn open(&self, more: &str) -> Result<Conn, Failure> {
        let mut conn = connect::connect(&self.plan).await?;
        let server = self.server.get_or_try_init(|| probe(&mut conn)).await?;
        // The statement names the catalogue's cached estimates on MySQL, which may be a day old otherwise.
        let own = match server.flavour {
            Flavour::MySql => ", information_schema_stats_expiry = 0, max_execution_time = 0",
            Flavour::MariaDb => ", max_statement_time = 0",
        };
        let settings = format!(
            // No mode that refuses or alters what is stored: zero dates, padded CHARs, invalid days.
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', lock_wait_timeout = {LOCK_WAIT_SECONDS}, \
             net_write_timeout = 600, net_read_timeout = 600, wait_timeout = 28800{own}{more}"
        );
        for statement in ["SET NAMES utf8mb4", &settings, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"] {
            conn.query_drop(statement)
                .await
                .map_err(|error| query_failure("prepare a session for the snapshot", error))?;
        }
        Ok(conn)
    }
}

async fn probe(conn: &mut Conn) -> Result<Server, Failure> {
    let text: Option<String> =
        conn.query_first("SELECT VERSION()").await.map_err(|error| query_failure("ask for the version", error))?;
    let text = text.unwrap_or_default();
    let flavour = if text.to_ascii_lowercase().contains("mariadb") { Flavour::MariaDb } else { Flavour::MySql };
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u16>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    Ok(Server { flavour, version: (next(), next(), next()) })
}
