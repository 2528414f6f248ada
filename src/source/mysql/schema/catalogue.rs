//! How all captured tables are defined, as the catalogue lists them at one moment or another.
//!
//! A question for so many tables of a database at a time, and one more for each table without a primary key. No table is locked, so what is found may be
//! half of one definition and half of another: it is good for finding tables of which the definition has to be asked for.

use std::collections::{BTreeSet, HashMap};

use mysql_async::Conn;

use super::describe::{Described, assemble};
use super::estimate::{self, Estimate};
use super::existence::open_those;
use super::flavour::Flavour;
use super::nature::{Nature, Relation};
use super::{columns, keys, list};
use crate::config::TableFilter;
use crate::error::Failure;
use crate::model::{Names, TableName, TableSchema};

/// Tables that are asked about at once: what the catalogue says of them is in memory.
const AT_ONCE: usize = 200;

/// Describes those of the tables that have a primary key, and of which the account may read every column, and says how
/// large each is. The others are not in the answer: each has to be asked about by itself ([`super::describe()`]).
///
/// A description holds at a moment of its own during the call, and may be half of one definition and half of another
/// where a statement changes the table meanwhile. The session must speak utf8mb4 in both directions.
///
/// # Errors
/// The server's.
pub async fn describe_together(
    conn: &mut Conn,
    flavour: Flavour,
    rule: Names,
    tables: &[TableName],
) -> Result<HashMap<TableName, (Described, Estimate)>, Failure> {
    // Opened first: that waits for a statement that is making or dropping a table, and tells hidden columns from none.
    let opened = open_those(conn, tables).await?;
    let mut of_databases: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (table, _) in tables.iter().zip(opened).filter(|(_, opened)| *opened) {
        of_databases.entry(&table.database).or_default().insert(&table.table);
    }
    let mut found = HashMap::with_capacity(tables.len());
    for (database, names) in of_databases {
        let asked: Vec<&str> = names.iter().copied().collect();
        let known = |name: &str| {
            let table = rule.table(TableName::new(database, name));
            names.contains(table.table.as_str()).then_some(table)
        };
        let mut sizes = HashMap::new();
        for (name, relation, estimate) in estimate::relations(conn, database, &asked).await? {
            if let (Some(table), Relation::Table(nature)) = (known(&name), relation) {
                sizes.insert(table, (nature, estimate));
            }
        }
        let mut primary = keys::fetch_primary(conn, database, &asked).await?;
        for (name, columns) in columns::fetch_all(conn, database, &asked).await? {
            let Some(table) = known(&name) else { continue };
            if let (Some(keys), Some((nature, estimate))) = (primary.remove(&name), sizes.remove(&table)) {
                let described = assemble(flavour, &table, nature, columns, keys);
                found.insert(table, (described, estimate));
            }
        }
    }
    Ok(found)
}

/// The captured tables that can be copied, by the names that they are known by.
///
/// # Errors
/// The server's.
pub async fn describe_all(
    conn: &mut Conn,
    flavour: Flavour,
    filter: &TableFilter,
) -> Result<Vec<TableSchema>, Failure> {
    let is_captured = |table: &TableName| filter.captures(&table.database, &table.table);
    describe_those(conn, flavour, filter.names(), is_captured).await
}

/// The tables that are wanted and can be copied, at a server with this rule for names, by the names that they are known by.
///
/// # Errors
/// The server's.
pub async fn describe_those(
    conn: &mut Conn,
    flavour: Flavour,
    names: Names,
    is_wanted: impl Fn(&TableName) -> bool,
) -> Result<Vec<TableSchema>, Failure> {
    let rule = names;
    let visible = list::visible(conn, rule).await?;
    let wanted: BTreeSet<TableName> = visible
        .into_iter()
        .filter(|(table, relation)| is_wanted(table) && matches!(relation, Relation::Table(Nature::Copied)))
        .map(|(table, _)| table)
        .collect();
    let wanted: Vec<TableName> = wanted.into_iter().collect();
    let mut found = Vec::with_capacity(wanted.len());
    for tables in wanted.chunk_by(|one, other| one.database == other.database) {
        for tables in tables.chunks(AT_ONCE) {
            let Some(TableName { database, .. }) = tables.first() else { continue };
            let names: Vec<&str> = tables.iter().map(|table| table.table.as_str()).collect();
            let mut primary = keys::fetch_primary(conn, database, &names).await?;
            for (name, columns) in columns::fetch_all(conn, database, &names).await? {
                let table = rule.table(TableName::new(database.as_str(), name.as_str()));
                if !tables.contains(&table) {
                    continue;
                }
                let keys = match primary.remove(&name) {
                    Some(primary) => Some(primary),
                    None => keys::fetch(conn, &TableName::new(database.as_str(), name)).await?,
                };
                if let Some(keys) = keys {
                    found.push(assemble(flavour, &table, Nature::Copied, columns, keys).schema);
                }
            }
        }
    }
    Ok(found)
}
