//! What the sink knows of its tables, kept in the target beside them.
//!
//! | table `_replicator_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `target` | name of the target table |
//! | `options` | the options it was made under, JSON |
//! | `columns` | the columns that are written, JSON: (source, target, type) |
//! | `source_schema` | the source's schema as last applied, JSON |
//! | `begun` | LSN of a change whose first step may have been done (see `changes`); 0 on the lines that end a change |
//! | `version`, `is_gone` | LSN of the last change that was done; 1 for a table that is no more |
//!
//! | table `_replicator_stopped_tables` | |
//! |---|---|
//! | `sink`, `source_database`, `source_table` | the key |
//! | `since_lsn`, `reason` | its changes from here on are left out, and why |
//! | `is_dropped` | 1 while the source does not have the table any more |
//! | `version`, `is_gone` | LSN of the stop or of its end; 1 for a table that is written again |
//!
//! [`load`] compares each line with the configuration. A difference stops the sink with the way out: nothing is altered to fit a
//! changed configuration.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use wal::Lsn;

use super::client::Client;
use super::error::Refused;
use super::layout::{Layout, TargetColumn};
use super::names::{STOPPED, TABLES, literal, quoted};
use crate::config::{ClickHousePlan, Deletion, JsonType, Mode, SetType, SinkPlan, TableOptions};
use crate::error::Failure;
use crate::model::{ColumnDefault, TableName, TableSchema};
use crate::sink::StoppedTable;

/// A target table as the sink last left it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The source's schema.
    pub(super) schema: TableSchema,
    /// What it was made under.
    pub(super) options: StoredOptions,
    /// The columns that are written, as they are at the target.
    pub(super) layout: Layout,
}

/// Options that decide a table's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredOptions {
    history: bool,
    soft_delete_column: Option<String>,
    rename: Vec<(String, String)>,
    drop: Vec<String>,
    table_name: String,
    json_type: bool,
    set_arrays: bool,
}

impl StoredOptions {
    /// What the configuration says for a table now.
    pub(super) fn of(plan: &SinkPlan, clickhouse: &ClickHousePlan, table: &TableName) -> Self {
        let TableOptions { mode, deletion, soft_delete_column, rename, drop } = plan.options_for(table);
        let soft = mode == Mode::Mirror && deletion == Deletion::Soft;
        Self {
            history: mode == Mode::History,
            soft_delete_column: soft.then_some(soft_delete_column),
            rename,
            drop,
            table_name: plan.table_name.clone(),
            json_type: clickhouse.types.json == JsonType::Json,
            set_arrays: clickhouse.types.sets == SetType::Array,
        }
    }

    fn mode(&self) -> Mode {
        if self.history { Mode::History } else { Mode::Mirror }
    }

    /// The first difference, in words.
    pub(super) fn difference(&self, now: &Self) -> Option<String> {
        let say = |what: &str, is: String, wanted: String| {
            Some(format!("`{what}: {is}`, and the configuration now says `{wanted}`"))
        };
        let json = |value: &[(String, String)]| serde_json::to_string(value).unwrap_or_default();
        if self.history != now.history {
            let word = |history| if history { "history" } else { "mirror" }.to_owned();
            return say("mode", word(self.history), word(now.history));
        }
        if self.soft_delete_column != now.soft_delete_column {
            let word =
                |column: &Option<String>| column.clone().map_or("hard".to_owned(), |column| format!("soft, {column}"));
            return say("deletion", word(&self.soft_delete_column), word(&now.soft_delete_column));
        }
        if self.table_name != now.table_name {
            return say("table_name", self.table_name.clone(), now.table_name.clone());
        }
        if self.rename != now.rename {
            return say("rename", json(&self.rename), json(&now.rename));
        }
        if self.drop != now.drop {
            return say("drop", self.drop.join(", "), now.drop.join(", "));
        }
        if self.json_type != now.json_type {
            let word = |json| if json { "json" } else { "string" }.to_owned();
            return say("json", word(self.json_type), word(now.json_type));
        }
        if self.set_arrays != now.set_arrays {
            let word = |arrays| if arrays { "array" } else { "string" }.to_owned();
            return say("sets", word(self.set_arrays), word(now.set_arrays));
        }
        None
    }
}

/// A column as it is stored: (source, target, type).
type StoredColumn = (String, String, String);

/// Creates both tables if there are none.
pub(super) async fn create(client: &Client) -> Result<(), Refused> {
    const KEY: &str = "sink String, source_database String, source_table String";
    const TAIL: &str = "version UInt64, is_gone UInt8) ENGINE = ReplacingMergeTree(version, is_gone) \
                        ORDER BY (sink, source_database, source_table) \
                        SETTINGS fsync_after_insert = 1, fsync_part_directory = 1";
    let tables = quoted(TABLES);
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {tables} ({KEY}, target String, options String, columns String, source_schema String, begun UInt64, {TAIL}"
    );
    client.execute(&sql, false).await?;
    let stopped = quoted(STOPPED);
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {stopped} ({KEY}, since_lsn UInt64, reason String, is_dropped UInt8, {TAIL}"
    );
    client.execute(&sql, false).await
}

/// A line of one of the sink's tables of tables, as JSON.
pub(super) fn line(sink: &str, name: &TableName, version: u64, mut row: serde_json::Value) -> String {
    if let Some(fields) = row.as_object_mut() {
        fields.insert("sink".into(), sink.into());
        fields.insert("source_database".into(), name.database.clone().into());
        fields.insert("source_table".into(), name.table.clone().into());
        fields.insert("version".into(), version.into());
    }
    row.to_string()
}

/// Appends lines: all of them or none. Of two lines of one table and one version, the later one counts.
pub(super) async fn append(client: &Client, table: &str, lines: &[String]) -> Result<(), Refused> {
    client.insert(&format!("INSERT INTO {} FORMAT JSONEachRow", quoted(table)), lines.join("\n").into_bytes()).await
}

fn table_line(sink: &str, version: Lsn, table: &Table, begun: Lsn) -> Result<String, Refused> {
    // Defaults only mean something at the moment a column is added.
    let mut schema = table.schema.clone();
    for column in &mut schema.columns {
        column.default = ColumnDefault::Unknown;
    }
    let source = |column: &TargetColumn| schema.columns.get(column.source).map(|source| source.name.clone());
    let columns: Vec<StoredColumn> = table
        .layout
        .columns
        .iter()
        .filter_map(|column| Some((source(column)?, column.name.clone(), column.ty.clone())))
        .collect();
    let text = |value: serde_json::Result<String>| value.map_err(|error| Refused::unreadable(&error));
    let row = serde_json::json!({
        "target": table.layout.target,
        "options": text(serde_json::to_string(&table.options))?,
        "columns": text(serde_json::to_string(&columns))?,
        "source_schema": text(serde_json::to_string(&schema))?,
        "begun": begun.raw(),
        "is_gone": 0,
    });
    Ok(line(sink, &table.schema.name, version.raw(), row))
}

fn gone_line(sink: &str, lsn: Lsn, table: &TableName) -> String {
    line(sink, table, lsn.raw(), serde_json::json!({ "is_gone": 1 }))
}

/// Says in a table's line, which is of `version`, that the change at `lsn` is begun.
pub(super) async fn begin(client: &Client, sink: &str, version: Lsn, table: &Table, lsn: Lsn) -> Result<(), Refused> {
    append(client, TABLES, &[table_line(sink, version, table, lsn)?]).await
}

/// Writes a table's line as of the change at `lsn`, which is done then.
pub(super) async fn save(client: &Client, sink: &str, lsn: Lsn, table: &Table) -> Result<(), Refused> {
    append(client, TABLES, &[table_line(sink, lsn, table, Lsn::ZERO)?]).await
}

/// Removes a table's line.
pub(super) async fn forget(client: &Client, sink: &str, lsn: Lsn, table: &TableName) -> Result<(), Refused> {
    append(client, TABLES, &[gone_line(sink, lsn, table)]).await
}

/// Puts `table`'s line in the place of the line of `from`, at once.
pub(super) async fn replace_line(
    client: &Client,
    sink: &str,
    lsn: Lsn,
    from: &TableName,
    table: &Table,
) -> Result<(), Refused> {
    append(client, TABLES, &[gone_line(sink, lsn, from), table_line(sink, lsn, table, Lsn::ZERO)?]).await
}

/// Notes, as of `lsn`, that a table is stopped.
pub(super) async fn stop(
    client: &Client,
    sink: &str,
    lsn: Lsn,
    table: &TableName,
    why: &StoppedTable,
    is_dropped: bool,
) -> Result<(), Refused> {
    let row = serde_json::json!({
        "since_lsn": why.since.raw(), "reason": why.reason, "is_dropped": u8::from(is_dropped), "is_gone": 0
    });
    append(client, STOPPED, &[line(sink, table, lsn.raw(), row)]).await
}

/// Notes that a table is written again.
pub(super) async fn revive(client: &Client, sink: &str, lsn: Lsn, table: &TableName) -> Result<(), Refused> {
    append(client, STOPPED, &[gone_line(sink, lsn, table)]).await
}

/// The stopped tables, and those of them that the source does not have any more.
pub(super) async fn load_stopped(
    client: &Client,
    sink: &str,
) -> Result<(BTreeMap<TableName, StoppedTable>, HashSet<TableName>), Refused> {
    let sql = format!(
        "SELECT source_database, source_table, since_lsn, reason, is_dropped FROM {} FINAL WHERE sink = {}",
        quoted(STOPPED),
        literal(sink)
    );
    let (mut stopped, mut dropped) = (BTreeMap::new(), HashSet::new());
    for (database, table, since, reason, is_dropped) in client.rows::<(String, String, u64, String, u8)>(&sql).await? {
        let table = TableName::new(database, table);
        if is_dropped == 1 {
            dropped.insert(table.clone());
        }
        stopped.insert(table, StoppedTable { since: Lsn::new(since), reason });
    }
    Ok((stopped, dropped))
}

/// Every line of the sink, each checked against the configuration.
pub(super) async fn load(
    client: &Client,
    plan: &SinkPlan,
    clickhouse: &ClickHousePlan,
) -> Result<BTreeMap<TableName, Table>, Failure> {
    let sql = format!(
        "SELECT source_database, source_table, target, options, columns, source_schema FROM {} FINAL WHERE sink = {}",
        quoted(TABLES),
        literal(&plan.name)
    );
    let rows: Vec<(String, String, String, String, String, String)> =
        client.rows(&sql).await.map_err(|error| error.failure("read the sink's tables"))?;
    let mut tables = BTreeMap::new();
    for (database, table, target, options, columns, schema) in rows {
        let name = TableName::new(database, table);
        let Some(table) = read(&name, target, &options, &columns, &schema) else {
            return Err(Failure::fatal(format!("the line of {name} in \"{TABLES}\" is not readable"))
                .hint("restore the target, or give the sink a new name: it then starts afresh, with a new snapshot"));
        };
        let now = StoredOptions::of(plan, clickhouse, &name);
        if let Some(difference) = table.options.difference(&now) {
            return Err(Failure::fatal(format!("{name} is written with {difference}")).hint(format!(
                "set the configuration back; or, to make the copy anew, run `DROP TABLE {}.{}; DELETE FROM {}.{} WHERE sink = {} AND \
                 source_database = {} AND source_table = {}` at the target, start again, and run `replicator backfill --database {} --table {}`",
                quoted(&clickhouse.database),
                quoted(&table.layout.target),
                quoted(&clickhouse.database),
                quoted(TABLES),
                literal(&plan.name),
                literal(&name.database),
                literal(&name.table),
                name.database,
                name.table,
            )));
        }
        tables.insert(name, table);
    }
    Ok(tables)
}

fn read(name: &TableName, target: String, options: &str, columns: &str, schema: &str) -> Option<Table> {
    let options: StoredOptions = serde_json::from_str(options).ok()?;
    let schema: TableSchema = serde_json::from_str(schema).ok().filter(|schema: &TableSchema| schema.name == *name)?;
    let stored: Vec<StoredColumn> = serde_json::from_str(columns).ok()?;
    let columns = stored
        .into_iter()
        .map(|(source, name, ty)| Some(TargetColumn { source: schema.column_index(&source)?, name, ty }))
        .collect::<Option<Vec<_>>>()?;
    let key = match (options.mode(), &schema.key) {
        (Mode::Mirror, Some(key)) => key
            .columns
            .iter()
            .map(|source| columns.iter().position(|column| column.source == usize::from(*source)))
            .collect::<Option<Vec<_>>>()?,
        _ => Vec::new(),
    };
    let layout = Layout { target, mode: options.mode(), columns, key, soft: options.soft_delete_column.clone() };
    Some(Table { schema, options, layout })
}
