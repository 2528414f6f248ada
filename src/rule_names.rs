//! What the rules of sinks name that the source does not have: an error for `check`, and a warning at the start.
//!
//! A name that is spelled wrong leaves out nothing, hashes nothing and renames nothing, so it must not pass in silence.

use std::collections::BTreeSet;

use mysql_async::Conn;

use crate::config::{Plan, TableFilter};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::missing_columns;
use crate::source::mysql::schema;
use crate::source::mysql::server::ServerInfo;

/// A name that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The sink.
    pub sink: String,
    /// The table that the rule is about.
    pub table: TableName,
    /// The key and the column; `None`: there is no such table.
    pub column: Option<(&'static str, String)>,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sink, table, column } = self;
        match column {
            None => write!(f, "sink \"{sink}\" has a rule for table \"{table}\", which the source does not have"),
            Some((key, column)) => {
                write!(
                    f,
                    "sink \"{sink}\": `{key}` of table \"{table}\" names column \"{column}\", which it does not have"
                )
            }
        }
    }
}

/// What is to be done about it.
pub const HINT: &str = "spell it as the source does, or take it out of the rule";

/// The tables that rules are about.
fn ruled(plan: &Plan) -> BTreeSet<TableName> {
    let of_sinks = plan.sinks.iter().flat_map(|sink| {
        let literals = sink.filter.iter().flat_map(TableFilter::literals);
        sink.ruled_tables().chain(literals).cloned()
    });
    let names = plan.source.filter.names();
    of_sinks.map(|table| names.table(table)).collect()
}

/// Every name of the rules that means nothing at a source of these `tables`, of which those that have rules are described.
pub fn unknown_names(plan: &Plan, tables: &[TableName], described: &[TableSchema]) -> Vec<Unknown> {
    let names = plan.source.filter.names();
    let mut unknown = Vec::new();
    for sink in &plan.sinks {
        let literals = sink.filter.iter().flat_map(TableFilter::literals);
        let ruled: BTreeSet<TableName> =
            sink.ruled_tables().chain(literals).map(|table| names.table(table.clone())).collect();
        for table in ruled {
            if !tables.contains(&table) {
                unknown.push(Unknown { sink: sink.name.clone(), table, column: None });
                continue;
            }
            let Some(schema) = described.iter().find(|schema| schema.name == table) else { continue };
            let missing = missing_columns(sink, schema).into_iter();
            unknown.extend(missing.map(|column| Unknown {
                sink: sink.name.clone(),
                table: table.clone(),
                column: Some(column),
            }));
        }
    }
    unknown
}

/// [`unknown_names`] of a source that is asked. `tables` are those that it captures.
///
/// # Errors
/// The server's.
pub async fn look_up(
    conn: &mut Conn,
    server: &ServerInfo,
    plan: &Plan,
    tables: &[TableName],
) -> Result<Vec<Unknown>, Failure> {
    let ruled = ruled(plan);
    if ruled.is_empty() {
        return Ok(Vec::new());
    }
    let names = plan.source.filter.names();
    let is_wanted = |table: &TableName| ruled.contains(table) && tables.contains(table);
    let described = schema::describe_those(conn, server.flavour, names, is_wanted).await?;
    Ok(unknown_names(plan, tables, &described))
}
