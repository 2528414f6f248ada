//! Tables that are locked at the source, so that whoever asks about them or reads them has to wait.

use std::time::Instant;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::daemon::LIMIT;
use super::process::POLL;
use super::server::{Server, USER};

/// A session that holds the write locks of some tables: no other session reads or opens them until it is released,
/// dropped or the server ends.
pub struct Locks {
    connection: Conn,
}

impl Locks {
    /// Takes the write lock of these tables of a database.
    pub async fn write(server: &Server, database: &str, tables: &[&str]) -> Self {
        let mut connection = server.connect().await;
        let list: Vec<String> = tables.iter().map(|table| format!("{table} WRITE")).collect();
        connection.query_drop(format!("USE {database}; LOCK TABLES {}", list.join(", "))).await.unwrap();
        Self { connection }
    }

    /// Runs statements of the holder, which may be about the locked tables only.
    pub async fn exec(&mut self, sql: impl AsRef<str>) {
        let sql = sql.as_ref();
        self.connection.query_drop(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }

    /// Gives the locks back.
    pub async fn release(mut self) {
        self.exec("UNLOCK TABLES").await;
        self.connection.disconnect().await.unwrap();
    }
}

/// How many sessions of the product's account wait for a lock of a table at this moment.
pub async fn waiting(server: &Server) -> usize {
    sessions_that_wait(server, &format!("user = '{USER}'")).await
}

/// Ends the sessions of the product's account that wait for a lock of a table: a server does not notice that who asked
/// is gone.
pub async fn end_waiting(server: &Server) {
    let sessions: Vec<u64> = server
        .query(format!(
            "SELECT id FROM information_schema.processlist WHERE user = '{USER}' AND state LIKE 'Waiting for table%'"
        ))
        .await;
    let mut connection = server.connect().await;
    for session in sessions {
        // It may have ended in between.
        drop(connection.query_drop(format!("KILL {session}")).await);
    }
    connection.disconnect().await.unwrap();
}

/// Waits until so many sessions of other accounts wait for a lock of a table.
pub async fn until_others_wait(server: &Server, sessions: usize) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let waiting = sessions_that_wait(server, &format!("user <> '{USER}'")).await;
        if waiting >= sessions {
            return;
        }
        assert!(Instant::now() < deadline, "{waiting} sessions wait for a lock, not {sessions}");
        tokio::time::sleep(POLL).await;
    }
}

async fn sessions_that_wait(server: &Server, condition: &str) -> usize {
    server
        .query_one(format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE {condition} AND state LIKE 'Waiting for table%'"
        ))
        .await
}
