//! The ClickHouse sink as the scenarios see it: a database for the mirror, and one for the changelogs.

use std::path::Path;

use serde_json::{Value, json};

use super::target::{Mode, Target};
use crate::support::clickhouse::{ClickHouse as Server, REPLICA};
use crate::support::copies::ClickHouseCopy;
use crate::support::sandbox::{CHANGELOG, clickhouse_sink};

pub struct ClickHouse {
    server: Server,
}

impl Target for ClickHouse {
    type Copy<'t> = ClickHouseCopy<'t>;

    const KILLS: (&'static str, u32) = ("REPLICATOR_CLICKHOUSE_KILLS", 20);
    const HAS_SERVER: bool = true;
    const HOLDS_KEYLESS: bool = false;
    /// Dates that name no day, by `zero_dates: stop`.
    const NOT_HELD: &'static [&'static str] = &["zero_date", "zero_datetime", "zero_timestamp"];

    async fn start(_: &Path) -> Self {
        let server = Server::start().await;
        server.exec(format!("CREATE DATABASE {CHANGELOG}")).await;
        Self { server }
    }

    fn sink(&self, mode: Mode) -> Value {
        let mut sink = clickhouse_sink(&self.server, mode.name(), database(mode), mode.name());
        sink["zero_dates"] = json!("stop");
        sink
    }

    fn copy(&self, mode: Mode) -> ClickHouseCopy<'_> {
        ClickHouseCopy { server: &self.server, database: database(mode) }
    }

    fn named(&self, table: &str) -> String {
        format!("{REPLICA}.{table}")
    }

    async fn exec(&self, sql: &str) {
        self.server.exec(sql).await;
    }

    async fn refuse(&self, mode: Mode, table: &str, column: &str) {
        let check = format!("CHECK ifNull({column}, 0) != 13");
        self.exec(&format!("ALTER TABLE {}.{table} ADD CONSTRAINT unlucky {check}", database(mode))).await;
    }

    async fn take_all(&self, mode: Mode, table: &str) {
        self.exec(&format!("ALTER TABLE {}.{table} DROP CONSTRAINT unlucky", database(mode))).await;
    }

    async fn value(&self, sql: &str) -> String {
        self.server.query(sql).await.trim_end().to_owned()
    }

    async fn key(&self, table: &str) -> Vec<String> {
        let sql = format!("SELECT sorting_key FROM system.tables WHERE database = '{REPLICA}' AND name = '{table}'");
        self.server.query(sql).await.trim().split(", ").map(str::to_owned).collect()
    }

    async fn go_away(&mut self) {
        self.server.stop();
    }

    fn away_error(&self) -> String {
        self.server.port().to_string()
    }

    async fn come_back(&mut self) {
        self.server.start_again().await;
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    async fn start_again(&mut self) {
        self.server.start_again().await;
    }

    /// However often it was opened, and whatever was under way then, the epoch is the first.
    async fn assert_sound(&self, tables: &[String]) {
        let epoch = self.server.query(format!("SELECT max(epoch) FROM {REPLICA}._replicator_cursors")).await;
        assert_eq!(epoch, "1\n");
        for table in tables {
            let sql = format!("SELECT count() FROM {REPLICA}.{table} WHERE bitShiftRight(_version, 56) != 1");
            assert_eq!(self.server.query(sql).await, "0\n", "{table}");
        }
    }
}

fn database(mode: Mode) -> &'static str {
    match mode {
        Mode::Mirror => REPLICA,
        Mode::History => CHANGELOG,
    }
}
