//! Where a table is cut into ranges.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use super::progress::Ranges;
use super::range::{self, Bound, Range};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::schema::{ChunkKey, identifier, query_failure, table_identifier};

/// The last key of a table; `None` when it has no rows.
pub(super) async fn last_key(conn: &mut Conn, table: &TableName, key: &ChunkKey) -> Result<Option<Bound>, Failure> {
    let order = range::order(key, "DESC");
    bound(conn, table, key, &format!("{} ORDER BY {order} LIMIT 1", from(table, key, ""))).await
}

/// Makes the next range, of about `rows` rows that meet the filter, and takes note of it; `None` when ranges reach the last key.
pub(super) async fn next_range(
    conn: &mut Conn,
    table: &TableName,
    ranges: &Ranges,
    filter: Option<&str>,
    rows: u64,
) -> Result<Option<Range>, Failure> {
    if ranges.all_made() {
        return Ok(None);
    }
    let key = &ranges.key;
    let mut condition = range::upto(key, &ranges.last);
    if let Some(frontier) = &ranges.frontier {
        condition = format!("{} AND {condition}", range::after(key, frontier));
    }
    if let Some(filter) = filter {
        condition = format!("{condition} AND ({filter})");
    }
    let sql = format!(
        "{} WHERE {condition} ORDER BY {} LIMIT 1 OFFSET {}",
        from(table, key, "FORCE INDEX"),
        range::order(key, "ASC"),
        rows.saturating_sub(1)
    );
    let upto = bound(conn, table, key, &sql).await?.unwrap_or_else(|| ranges.last.clone());
    Ok(Some(Range { after: ranges.frontier.clone(), upto }))
}

fn from(table: &TableName, key: &ChunkKey, hint: &str) -> String {
    let hint = if hint.is_empty() { String::new() } else { format!(" {hint} ({})", identifier(&key.index)) };
    format!("SELECT {} FROM {}{hint}", range::select(key), table_identifier(table))
}

async fn bound(conn: &mut Conn, table: &TableName, key: &ChunkKey, sql: &str) -> Result<Option<Bound>, Failure> {
    let failure = |error| query_failure(&format!("cut table \"{table}\" into chunks"), error);
    let Some(mut row) = conn.query_first::<Row, _>(sql).await.map_err(failure)? else {
        return Ok(None);
    };
    let texts: Option<Vec<String>> = (0..key.parts.len()).map(|place| row.take_opt(place)?.ok()).collect();
    texts
        .and_then(|texts| Bound::from_texts(key, &texts))
        .map(Some)
        .ok_or_else(|| Failure::fatal(format!("a key value of table \"{table}\" is not of its column's type")))
}
