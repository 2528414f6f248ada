//! Connections of the snapshot and what their sessions are set to. All of them are to the server that the stream reads:
//! one that has reached another server is an error that is tried again.

use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::{Names, ServerIdentity, TableName};
use crate::source::mysql::connect;
use crate::source::mysql::schema::{Flavour, query_failure};
use crate::source::mysql::server::Known;
use crate::source::mysql::stream_server::StreamServer;

/// Seconds to wait for a metadata lock: the least that the servers take. While `LOCK TABLES` waits, writers of the
/// table queue up after it. Another try follows.
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
    stream: StreamServer,
    /// What the connection that was opened last is to.
    server: Arc<Mutex<Option<Server>>>,
}

impl Sessions {
    pub(super) fn new(plan: SourcePlan, stream: StreamServer) -> Self {
        Self { plan: Arc::new(plan), stream, server: Arc::default() }
    }

    /// The server, once a connection has been opened.
    pub(super) fn server(&self) -> Result<Server, Failure> {
        let server = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server.ok_or_else(|| Failure::retry("the source has not been reached yet"))
    }

    /// The server's rule for names of databases and tables.
    pub(super) fn names(&self) -> Names {
        self.plan.filter.names()
    }

    /// Whether the daemon captures a table.
    pub(super) fn captures(&self, table: &TableName) -> bool {
        self.plan.filter.captures(&table.database, &table.table)
    }

    /// Whose server the stream reads.
    pub(super) fn stream_identity(&self) -> ServerIdentity {
        self.stream.identity()
    }

    /// A connection for everything but rows, to the stream's server: texts come in utf8mb4.
    pub(super) async fn control(&self) -> Result<Conn, Failure> {
        Ok(self.control_of(&self.stream.identity()).await?.0)
    }

    /// [`Sessions::control`] to this server.
    pub(super) async fn control_of(&self, identity: &ServerIdentity) -> Result<(Conn, Server), Failure> {
        self.open(identity, "").await
    }

    /// A connection for rows, to this server: strings come in their columns' own character sets.
    pub(super) async fn reader_of(&self, identity: &ServerIdentity) -> Result<Conn, Failure> {
        Ok(self.open(identity, ", character_set_results = NULL").await?.0)
    }

    async fn open(&self, identity: &ServerIdentity, more: &str) -> Result<(Conn, Server), Failure> {
        let mut conn = connect::connect(&self.plan).await?;
        let known = Known::ask(&mut conn).await?;
        self.stream.require_identity(&known.identity, identity)?;
        let server = Server { flavour: known.flavour, version: known.version };
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
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
        Ok((conn, server))
    }
}
