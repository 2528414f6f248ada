//! The captured tables: that there are any, that they can be read, and what about them is worth knowing.

use mysql_async::Conn;

use super::failed;
use crate::config::{SourcePlan, TableFilter};
use crate::error::Failure;
use crate::model::{CheckItem, TableName};
use crate::source::mysql::schema::{self, describe, list_tables};
use crate::source::mysql::server::{self, Flavour, ServerInfo};

/// Names shown of a longer list.
const SHOWN: usize = 5;

pub(super) async fn checks(connection: &mut Conn, server: &ServerInfo, source: &SourcePlan) -> Vec<CheckItem> {
    let name = "captured tables";
    let tables = match list_tables(connection, &source.filter).await {
        Ok(tables) => tables,
        Err(failure) => return vec![failed(name, &failure)],
    };
    if tables.is_empty() {
        return vec![CheckItem::warn(
            name,
            "none that the account can see matches source.include and source.exclude",
            Some("check source.include, and that the account has SELECT on the tables".to_owned()),
        )];
    }
    let mut items = vec![CheckItem::ok(name, format!("{}", tables.len()))];
    match look(connection, server, &tables).await {
        Ok(found) => items.extend(found),
        Err(failure) => items.push(failed("table definitions", &failure)),
    }
    match cascades(connection, server, &source.filter).await {
        Ok(found) => items.extend(found),
        Err(failure) => items.push(failed("foreign keys", &failure)),
    }
    items
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

async fn look(connection: &mut Conn, server: &ServerInfo, tables: &[TableName]) -> Result<Vec<CheckItem>, Failure> {
    let flavour = match server.flavour {
        Flavour::MySql => schema::Flavour::MySql,
        Flavour::MariaDb => schema::Flavour::MariaDb,
    };
    let (mut unreadable, mut keyless, mut unsupported) = (Vec::new(), Vec::new(), Vec::new());
    let mut denied = Vec::new();
    for table in tables {
        let sql = format!("SELECT 1 FROM {} LIMIT 0", quoted(table));
        if let Err(failure) = server::query::<u8>(connection, &sql, "read a captured table").await {
            unreadable.push(table.to_string());
            denied.push((table.database.clone(), failure));
        }
        // A table dropped in this moment is none of ours any more.
        let Some(described) = describe(connection, flavour, table).await? else { continue };
        if described.schema.key.is_none() {
            keyless.push(table.to_string());
        }
        for column in &described.schema.columns {
            if let crate::model::ColumnType::Unsupported { name, .. } = &column.ty {
                unsupported.push(format!("{table}.{} ({name})", column.name));
            }
        }
    }
    let mut items = Vec::new();
    items.push(match denied.first() {
        None => CheckItem::ok("privilege SELECT", "every captured table can be read"),
        Some((database, failure)) => {
            let cause = std::error::Error::source(failure).map(ToString::to_string).unwrap_or_default();
            let account = server::text(connection, "SELECT CURRENT_USER()", "read the account's name").await?;
            CheckItem::fail(
                "privilege SELECT",
                format!("cannot read {}: {cause}", listed(&unreadable)),
                Some(format!(
                    "GRANT SELECT ON `{}`.* TO '{}'",
                    database.replace('`', "``"),
                    account.replacen('@', "'@'", 1)
                )),
            )
        }
    });
    items.push(if unsupported.is_empty() {
        CheckItem::ok("column types", "all are supported")
    } else {
        CheckItem::fail(
            "column types",
            format!("not supported: {}", listed(&unsupported)),
            Some("leave the tables out with source.exclude, or change the columns' types".to_owned()),
        )
    });
    items.push(if keyless.is_empty() {
        CheckItem::ok("table keys", "every captured table has one")
    } else {
        CheckItem::warn(
            "table keys",
            format!("no primary key and no unique key over NOT NULL columns: {}; rows are found by all their values, slowly, and the snapshot reads such a table in one piece", listed(&keyless)),
            Some("ALTER TABLE ... ADD PRIMARY KEY (...)".to_owned()),
        )
    });
    Ok(items)
}

fn quoted(table: &TableName) -> String {
    format!("`{}`.`{}`", table.database.replace('`', "``"), table.table.replace('`', "``"))
}

/// Rows that a foreign key changes are not in the binlog, except from MySQL 9.6 on, where the server and not the engine
/// follows the key.
async fn cascades(
    connection: &mut Conn,
    server: &ServerInfo,
    filter: &TableFilter,
) -> Result<Option<CheckItem>, Failure> {
    if server.flavour == Flavour::MySql && server.version >= (9, 6, 0) {
        return Ok(None);
    }
    let sql = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
               WHERE DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION') \
               ORDER BY 1, 2, 3";
    let rows: Vec<(String, String, String)> = server::query(connection, sql, "read the source's foreign keys").await?;
    let keys: Vec<String> = rows
        .into_iter()
        .filter(|(database, table, _)| filter.captures(database, table))
        .map(|(database, table, key)| format!("{database}.{table}.{key}"))
        .collect();
    Ok(Some(if keys.is_empty() {
        CheckItem::ok("foreign keys", "none changes captured rows by itself")
    } else {
        CheckItem::warn(
            "foreign keys",
            format!("rows that these delete or update are not in the binlog, and stay behind in every sink: {}", listed(&keys)),
            Some("declare the keys with ON DELETE and ON UPDATE RESTRICT and change child rows by statements, or use MySQL 9.6 or later".to_owned()),
        )
    }))
}
