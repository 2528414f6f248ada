//! Opening the target: whether the server and the database are there, and whether the tables are as the sink left them.

use std::collections::HashMap;

use super::client::Client;
use super::names::{literal, quoted};
use super::target::Target;
use crate::config::Mode;
use crate::error::Failure;
use crate::model::TableName;
use crate::sink::clickhouse::ClickHousePlan;
use crate::sink::registry::Tables;

/// Whether the server answers this user, and has the database.
pub(super) async fn reach(client: &Client, plan: &ClickHousePlan) -> Result<(), Failure> {
    /// `UNKNOWN_DATABASE`.
    const NO_DATABASE: Option<u32> = Some(81);
    let what = format!("open database \"{}\" at {}", plan.database, plan.url);
    // The database of a query that needs none is looked up as well.
    client.execute("SELECT 1 FORMAT Null", false).await.map_err(|error| {
        let missing = error.code == NO_DATABASE;
        let failure = error.failure(&what);
        if missing {
            failure.hint(format!(
                "run `CREATE DATABASE {}` at the server, or set the sink's `database`",
                quoted(&plan.database)
            ))
        } else {
            failure
        }
    })?;
    client.is_let_in();
    Ok(())
}

/// Tables that are not as the sink left them, with what is different. One whose change was begun is in between, and the change comes
/// again.
pub(super) async fn altered(target: &Target) -> Result<Vec<(TableName, String)>, Failure> {
    let is_in_between =
        |name: &TableName| target.followed.stops.has(name) || target.followed.changes.is_unfinished(name);
    altered_of(&target.client, &target.clickhouse.database, &target.followed.tables, is_in_between).await
}

/// Of these tables those that are not as the sink left them, with what is different.
pub(super) async fn altered_of(
    client: &Client,
    database: &str,
    tables: &Tables<String>,
    is_in_between: impl Fn(&TableName) -> bool,
) -> Result<Vec<(TableName, String)>, Failure> {
    let sql = format!(
        "SELECT table, name, type FROM system.columns WHERE database = {} AND default_kind NOT IN ('MATERIALIZED', 'ALIAS', 'EPHEMERAL')",
        literal(database)
    );
    let rows: Vec<(String, String, String)> =
        client.rows(&sql).await.map_err(|error| error.failure("read the tables' columns"))?;
    let mut found: HashMap<String, HashMap<String, String>> = HashMap::new();
    for (table, name, ty) in rows {
        found.entry(table).or_default().insert(name, ty);
    }
    let mut altered = Vec::new();
    for (name, table) in tables {
        if is_in_between(name) {
            continue;
        }
        let layout = &table.layout;
        let Some(columns) = found.get(&layout.target) else {
            altered.push((name.clone(), format!("the table \"{}\" is gone from the target", layout.target)));
            continue;
        };
        let made = layout.table_columns();
        let different = made.iter().find_map(|(column, ty)| match columns.get(column) {
            None => Some(format!("it has no column \"{column}\"")),
            Some(is) if is != ty => Some(format!("its column \"{column}\" is {is} and was {ty}")),
            Some(_) => None,
        });
        if let Some(different) = different {
            let kind = if layout.mode == Mode::History { "changelog" } else { "table" };
            altered.push((
                name.clone(),
                format!("the {kind} \"{}\" was altered by somebody else: {different}", layout.target),
            ));
        }
    }
    Ok(altered)
}
