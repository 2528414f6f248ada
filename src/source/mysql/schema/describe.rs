//! A table, as the catalogue describes it.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};

use super::columns::{self, RawColumn};
use super::defaults;
use super::existence::{Existence, existence, open_statement};
use super::failure::{VIEW_INVALID, WRONG_MERGE, query_failure, says_no_such_table};
use super::flavour::Flavour;
use super::keys::{self, ChunkKey, RawKeyPart};
use super::nature::{Instead, LeftOutBy, Nature, Relation, relation};
use super::quote::identifier;
use crate::codec::row_image::ImageWriter;
use crate::error::Failure;
use crate::model::{Column, ColumnDefault, ColumnType, TableName, TableSchema};

/// A table, as the catalogue describes it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The schema, equal to what `TABLE_MAP` tells, but for the types that it calls `BINARY`.
    pub schema: TableSchema,
    /// What a reader needs of each column, in the order of the schema.
    pub columns: Vec<ColumnFacts>,
    /// The key along which the table is cut into chunks; `None`: it is read whole.
    pub chunk_key: Option<ChunkKey>,
    /// Whether it can be copied at all.
    pub nature: Nature,
    raw: (Vec<RawColumn>, Vec<RawKeyPart>),
}

/// What a reader needs of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnFacts {
    /// The expression that selects it so that the image can be written from it.
    pub select: String,
}

impl Described {
    /// Whether the catalogue said the very same: then whatever was derived from `self` holds for `other`.
    pub fn same_catalogue(&self, other: &Self) -> bool {
        self.raw == other.raw && self.nature == other.nature
    }
}

/// Describes a table; `None` when no base table of that name exists, or none existed at some moment meanwhile: what came under its name
/// since is another table, of which the stream has the statement. Views and sequences are none.
///
/// The session must speak utf8mb4 in both directions.
///
/// # Errors
/// As [`describe_visible`]; a table that the account may not read, or not all columns of.
pub async fn describe(conn: &mut Conn, flavour: Flavour, table: &TableName) -> Result<Option<Described>, Failure> {
    // Opened first: that waits for a statement that is making or dropping the table, and tells hidden columns from none.
    if !opens(conn, table).await? {
        return Ok(None);
    }
    let described = describe_visible(conn, flavour, table).await?;
    if described.is_none() {
        // Gone since, or hidden since.
        opens(conn, table).await?;
    }
    Ok(described)
}

/// Whether the table exists; an error when the account may not read it.
async fn opens(conn: &mut Conn, table: &TableName) -> Result<bool, Failure> {
    match existence(conn, table).await? {
        Existence::Exists => Ok(true),
        Existence::NoSuchTable => Ok(false),
        Existence::Denied { grant } => Err(Failure::fatal(format!("the account may not read table \"{table}\""))
            .hint(format!("{grant}, or leave the table out by source.exclude"))),
        Existence::Broken { why } => Err(Existence::broken(table, &why)),
    }
}

/// Describes a table; `None` when the account sees no base table of that name: none exists, or it may not be read. A table that
/// vanishes between two of the questions is one that does not exist. Of a table whose columns the account may read in part, it shows
/// that part: the caller has opened the table ([`lock_definition`]), which is refused then.
///
/// The session must speak utf8mb4 in both directions.
///
/// # Errors
/// The server's.
pub async fn describe_visible(
    conn: &mut Conn,
    flavour: Flavour,
    table: &TableName,
) -> Result<Option<Described>, Failure> {
    let Some(Relation::Table(nature)) = relation(conn, table).await? else { return Ok(None) };
    let raw = columns::fetch(conn, table).await?;
    if raw.is_empty() {
        return Ok(None);
    }
    let Some(keys) = keys::fetch(conn, table).await? else { return Ok(None) };
    Ok(Some(assemble(flavour, table, nature, raw, keys)))
}

/// What came of asking for a table's metadata lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is held until the transaction ends.
    Held,
    /// Another session holds it in a way that keeps readers out.
    ByAnother,
    /// The account may not read it, or not all of it.
    NotSeen,
    /// Nothing of that name can be opened as a table that is copied: there is none, or something else.
    Instead(Instead),
}

/// Takes the table's metadata lock inside the open transaction: from here on no statement changes the table's definition. A table that
/// the account may read only in part is none that it sees.
///
/// # Errors
/// The server's.
pub async fn lock_definition(conn: &mut Conn, table: &TableName) -> Result<Locked, Failure> {
    match conn.query_drop(open_statement(table)).await {
        Ok(()) => Ok(Locked::Held),
        Err(Error::Server(error)) if LOCKED.contains(&error.code) => Ok(Locked::ByAnother),
        Err(Error::Server(error)) if NOT_SEEN.contains(&error.code) => Ok(Locked::NotSeen),
        Err(error) if says_no_such_table(&error) => Ok(Locked::Instead(Instead::Nothing)),
        Err(Error::Server(error)) if error.code == VIEW_INVALID => {
            Ok(Locked::Instead(Instead::NoTable("view".to_owned())))
        }
        Err(Error::Server(error)) if error.code == WRONG_MERGE => {
            Ok(Locked::Instead(Instead::LeftOut(LeftOutBy::merge())))
        }
        Err(error) => Err(query_failure(&format!("open table \"{table}\""), error)),
    }
}

/// Errors of opening a table that another session keeps locked, or is changing.
const LOCKED: [u16; 3] = [
    1205, // ER_LOCK_WAIT_TIMEOUT
    1213, // ER_LOCK_DEADLOCK
    1412, // ER_TABLE_DEF_CHANGED
];

/// Errors of opening a table that is not there for this account.
const NOT_SEEN: [u16; 3] = [
    1044, // ER_DBACCESS_DENIED_ERROR
    1142, // ER_TABLEACCESS_DENIED_ERROR
    1143, // ER_COLUMNACCESS_DENIED_ERROR
];

/// What the catalogue's answers about a table come to.
pub(super) fn assemble(
    flavour: Flavour,
    table: &TableName,
    nature: Nature,
    raw: Vec<RawColumn>,
    raw_keys: Vec<RawKeyPart>,
) -> Described {
    let types: Vec<ColumnType> =
        raw.iter().map(|column| column.column_type(flavour).unwrap_or_else(|| column.unknown_type())).collect();
    let (key, chunk_key) = keys::choose(&raw, &types, &raw_keys);
    let columns: Vec<Column> = raw
        .iter()
        .zip(&types)
        .map(|(column, ty)| Column {
            name: column.name.clone(),
            ty: ty.clone(),
            nullable: column.nullable,
            default: ColumnDefault::Unknown,
            attributes: Some(column.attributes()),
            collation: column.collation_id.filter(|_| ty.charset().is_some()),
        })
        .collect();
    let mut schema = TableSchema { name: table.clone(), columns, key };
    let nature = match nature {
        Nature::Copied => LeftOutBy::described_columns(&schema, flavour).map_or(Nature::Copied, Nature::LeftOut),
        Nature::LeftOut(by) => Nature::LeftOut(by),
    };
    // A schema that has no writer (a type that is not read) is described all the same.
    if let Ok(writer) = ImageWriter::new(&schema) {
        for (place, (column, raw)) in schema.columns.iter_mut().zip(&raw).enumerate() {
            column.default = defaults::default(raw, &column.ty, flavour, &writer, place);
        }
    }
    let facts = schema.columns.iter().map(|column| ColumnFacts { select: select(column) }).collect();
    Described { schema, columns: facts, chunk_key, nature, raw: (raw, raw_keys) }
}

fn select(column: &Column) -> String {
    let name = identifier(&column.name);
    match &column.ty {
        // By number: a label may be of any character set, and the ordinal 0 has none.
        ColumnType::Enum { .. } | ColumnType::Set { .. } => format!("CAST({name} AS UNSIGNED)"),
        _ => name,
    }
}
