//! The sink's cursor in the target, table `_replicator_cursors`: how far a log has been applied. It is written after the rows of a
//! round are stored, so it is never ahead of them; rows that are ahead of it are sent again, and their versions make that harmless.
//!
//! It grows with the log, whatever the clock of the server does. It is what tells a restored, emptied or exchanged target from the one that was written to.

use wal::{LogId, Lsn};

use super::client::Client;
use super::error::Refused;
use super::names::{CURSORS, literal, quoted};
use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::sink::TargetState;

/// Creates the table if there is none.
pub(super) async fn create(client: &Client) -> Result<(), Refused> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (sink String, log String, lsn UInt64, written DateTime64(3, 'UTC') DEFAULT now64(3)) \
         ENGINE = ReplacingMergeTree(lsn) ORDER BY sink SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
        quoted(CURSORS)
    );
    client.execute(&sql, false).await
}

/// What the target holds.
pub(super) async fn read(client: &Client, sink: &str) -> Result<TargetState, Failure> {
    let sql = format!("SELECT log, lsn FROM {} FINAL WHERE sink = {}", quoted(CURSORS), literal(sink));
    let rows: Vec<(String, u64)> = client.rows(&sql).await.map_err(|error| error.failure("read the sink's cursor"))?;
    let Some((log, lsn)) = rows.into_iter().next() else { return Ok(TargetState::Fresh) };
    let log: LogId = log.parse().map_err(|_| {
        Failure::fatal(format!("the cursor of sink '{sink}' in \"{CURSORS}\" names no log"))
            .hint("restore the target, or give the sink a new name: it then starts afresh, with a new snapshot")
    })?;
    Ok(TargetState::At { log, epoch: Epoch::FIRST, applied: Lsn::new(lsn) })
}

/// Says that everything up to `applied` is stored.
pub(super) async fn write(client: &Client, sink: &str, log: LogId, applied: Lsn) -> Result<(), Refused> {
    let row = serde_json::json!({ "sink": sink, "log": log.to_string(), "lsn": applied.raw() });
    let sql = format!("INSERT INTO {} (sink, log, lsn) FORMAT JSONEachRow", quoted(CURSORS));
    client.insert(&sql, row.to_string().into_bytes()).await
}
