//! The target's table of refusals ([`crate::sink::refusals`]).
//!
//! | table `_replicator_refused_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `last_ms`, `lasted_ms` | the last refusal by the server's clock, and how long they have lasted until then |
//! | `refusals`, `reason` | how many there were, the last one's words |
//! | `version`, `is_gone` | number of the line; 1 when the table has been written to since |

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::error::Refused;
use super::names::{REFUSED, literal, quoted};
use super::registry::{append, line};
use crate::model::TableName;
use crate::sink::refusals::{Lasting, Line, Refusals};

/// Reads what the target holds, and makes its table if there is none.
pub(super) async fn load(client: &Client, sink: &str) -> Result<Refusals, Refused> {
    let table = quoted(REFUSED);
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} (sink String, source_database String, source_table String, last_ms UInt64, \
         lasted_ms UInt64, refusals UInt64, reason String, version UInt64, is_gone UInt8) ENGINE = ReplacingMergeTree(version) \
         ORDER BY (sink, source_database, source_table) SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    );
    client.execute(&sql, false).await?;
    let sql = format!(
        "SELECT source_database, source_table, version, last_ms, lasted_ms, refusals, is_gone FROM {table} FINAL WHERE sink = {}",
        literal(sink)
    );
    let mut lines = BTreeMap::new();
    for (database, table, version, last_ms, lasted_ms, refusals, is_gone) in
        client.rows::<(String, String, u64, u64, u64, u64, u8)>(&sql).await?
    {
        let lasting = Lasting { refusals, time: Duration::from_millis(lasted_ms), last_ms };
        let lasting = (is_gone == 0).then_some(lasting);
        lines.insert(TableName::new(database, table), Line { version, lasting });
    }
    Ok(Refusals::new(lines))
}

/// The server's clock, in milliseconds since 1970.
pub(super) async fn clock_ms(client: &Client) -> Result<u64, Refused> {
    let clock: Vec<(u64,)> = client.rows("SELECT toUInt64(toUnixTimestamp64Milli(now64(3)))").await?;
    let now = clock.first().copied();
    now.map(|(now,)| now).ok_or_else(|| Refused::refused_here("the server's clock has no row".to_owned()))
}

/// Writes a table's line.
pub(super) async fn save(
    client: &Client,
    sink: &str,
    table: &TableName,
    new: &Line,
    reason: &str,
) -> Result<(), Refused> {
    let row = match new.lasting {
        Some(Lasting { refusals, time, last_ms }) => {
            let lasted_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            serde_json::json!({
                "last_ms": last_ms, "lasted_ms": lasted_ms, "refusals": refusals, "reason": reason, "is_gone": 0
            })
        }
        None => serde_json::json!({ "last_ms": 0, "lasted_ms": 0, "refusals": 0, "reason": "", "is_gone": 1 }),
    };
    append(client, REFUSED, &[line(sink, table, new.version, row)]).await
}
