//! The captured tables: that there are any, that they can be read, and what about them is worth knowing.

use std::collections::BTreeMap;

use mysql_async::Conn;

use super::failed;
use crate::config::{SourcePlan, TableFilter};
use crate::error::Failure;
use crate::model::{CheckItem, TableName};
use crate::source::mysql::schema::{self, Existence, Listed, Listing, Nature, Unmatched, describe_visible, existence};
use crate::source::mysql::server::{self, Flavour, ServerInfo};

/// Names shown of a longer list.
const SHOWN: usize = 5;

pub(super) async fn checks(connection: &mut Conn, server: &ServerInfo, source: &SourcePlan) -> Vec<CheckItem> {
    let listing = match schema::list(connection, &source.filter).await {
        Ok(listing) => listing,
        Err(failure) => return vec![failed("captured tables", &failure)],
    };
    let tables: Vec<TableName> = listing.copied().cloned().collect();
    let mut items = vec![captured(&tables)];
    items.extend(left_out(&listing));
    items.extend(listing.unmatched.iter().map(unmatched));
    if tables.is_empty() {
        return items;
    }
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

fn captured(tables: &[TableName]) -> CheckItem {
    let name = "captured tables";
    if tables.is_empty() {
        return CheckItem::warn(
            name,
            "none that the account can see matches source.include and source.exclude",
            Some("check source.include, and that the account has SELECT on the tables".to_owned()),
        );
    }
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    CheckItem::ok(name, format!("{}: {}", names.len(), listed(&names))).about(names)
}

/// Tables that are captured by name and cannot be copied by their nature, in one finding for each reason.
fn left_out(listing: &Listing) -> Vec<CheckItem> {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Listed { table, nature } in &listing.tables {
        if let Nature::LeftOut(why) = nature {
            by_reason.entry(why.to_string()).or_default().push(table.to_string());
        }
    }
    by_reason.into_iter().map(|(reason, names)| not_copied(&reason, names)).collect()
}

fn not_copied(reason: &str, names: Vec<String>) -> CheckItem {
    let detail = format!("not copied: {}: {reason}", listed(&names));
    let mend = "name them in source.exclude, if that is as it should be".to_owned();
    CheckItem::warn("tables left out", detail, Some(mend)).about(names)
}

fn unmatched(entry: &Unmatched) -> CheckItem {
    CheckItem::fail("source.include", entry.reason(), Some(entry.remedy())).about(vec![entry.table.to_string()])
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

async fn look(connection: &mut Conn, server: &ServerInfo, tables: &[TableName]) -> Result<Vec<CheckItem>, Failure> {
    let (mut keyless, mut others) = (Vec::new(), Vec::new());
    let (mut denied, mut grants) = (Vec::new(), Vec::new());
    for table in tables {
        match existence(connection, table).await? {
            Existence::Exists => {}
            // A table dropped at this moment is ours no more.
            Existence::NoSuchTable => continue,
            Existence::Denied { grant } => {
                denied.push(table.to_string());
                grants.push(grant);
                continue;
            }
            Existence::Broken { why } => {
                let failure = Existence::broken(table, &why);
                others.push(failed("table definitions", &failure).about(vec![table.to_string()]));
                continue;
            }
        }
        let Some(described) = describe_visible(connection, server.flavour, table).await? else { continue };
        if described.schema.key.is_none() {
            keyless.push(table.to_string());
        }
        if let Nature::LeftOut(by) = described.nature {
            // A type that is newer than this version.
            others.push(not_copied(&by.to_string(), vec![table.to_string()]));
        }
    }
    let mut items = Vec::new();
    items.push(if denied.is_empty() {
        CheckItem::ok("privilege SELECT", "every captured table can be read")
    } else {
        let detail = format!("cannot read, or not all columns of: {}", listed(&denied));
        CheckItem::fail("privilege SELECT", detail, Some(grants.join("\n"))).about(denied)
    });
    items.append(&mut others);
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
