//! One row of `information_schema.COLUMNS` into a [`ColumnType`].

use std::collections::{BTreeSet, HashMap};

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::labels;
use super::nature::{BLOB_COMPRESSED, OLD_DATETIME, OLD_TIME, OLD_TIMESTAMP, VARCHAR_COMPRESSED, unsupported};
use super::quote::text_literal;
use crate::error::Failure;
use crate::model::{Attributes, Charset, ColumnType, IntWidth, TableName};
use crate::source::mysql::schema::Flavour;
use crate::source::mysql::schema::failure::query_failure;

/// What the catalogue says of a column, unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawColumn {
    pub(super) name: String,
    pub(super) default: Option<String>,
    pub(super) nullable: bool,
    pub(super) data_type: String,
    pub(super) column_type: String,
    pub(super) octets: Option<u64>,
    pub(super) precision: Option<u64>,
    pub(super) scale: Option<u64>,
    pub(super) fsp: Option<u64>,
    pub(super) charset: Option<String>,
    pub(super) collation: Option<String>,
    pub(super) extra: String,
    pub(super) expression: Option<String>,
    /// The number of its collation, which the catalogue has in another place.
    pub(super) collation_id: Option<u16>,
}

/// What is asked of each column. The numbers of collations are asked for by themselves: MariaDB would make its list of
/// all of them once for each column of a join.
const ASKED: &str = "c.COLUMN_NAME, c.COLUMN_DEFAULT, c.IS_NULLABLE = 'YES', LOWER(c.DATA_TYPE), c.COLUMN_TYPE, \
    c.CHARACTER_OCTET_LENGTH, c.NUMERIC_PRECISION, c.NUMERIC_SCALE, c.DATETIME_PRECISION, c.CHARACTER_SET_NAME, \
    c.COLLATION_NAME, c.EXTRA, c.GENERATION_EXPRESSION";
/// Where it stands.
const FROM: &str = "information_schema.COLUMNS c";

/// The columns of tables of a database, in order, by the names of the tables. A table of which the catalogue's answer cannot be read has none.
pub(super) async fn fetch_all(
    conn: &mut Conn,
    database: &str,
    tables: &[&str],
) -> Result<Vec<(String, Vec<RawColumn>)>, Failure> {
    let of = text_literal(database);
    let listed: Vec<String> = tables.iter().map(|table| text_literal(table)).collect();
    let listed = listed.join(", ");
    let sql = format!(
        "SELECT {ASKED}, c.TABLE_NAME FROM {FROM} WHERE c.TABLE_SCHEMA = {of} AND c.TABLE_NAME IN ({listed}) \
         ORDER BY BINARY c.TABLE_NAME, c.ORDINAL_POSITION"
    );
    let purpose = format!("describe the tables of \"{database}\"");
    let rows: Vec<mysql_async::Row> = conn.query(sql).await.map_err(|error| query_failure(&purpose, error))?;
    let mut tables: Vec<(String, Option<Vec<RawColumn>>)> = Vec::new();
    for mut row in rows {
        let table: Option<String> = take(&mut row, 13);
        let unreadable = || Failure::fatal(format!("the catalogue's answer about \"{database}\" is not readable"));
        let (table, column) = (table.ok_or_else(unreadable)?, RawColumn::take(&mut row));
        if tables.last().is_none_or(|(last, _)| *last != table) {
            tables.push((table, Some(Vec::new())));
        }
        if let Some((_, columns)) = tables.last_mut() {
            *columns = columns.take().zip(column).map(|(mut columns, column)| {
                columns.push(column);
                columns
            });
        }
    }
    let mut tables: Vec<_> = tables.into_iter().filter_map(|(table, columns)| Some((table, columns?))).collect();
    number_collations(conn, tables.iter_mut().flat_map(|(_, columns)| columns).collect()).await?;
    Ok(tables)
}

/// Sets the numbers of the columns' collations. One of MariaDB that goes with several character sets has no number.
async fn number_collations(conn: &mut Conn, columns: Vec<&mut RawColumn>) -> Result<(), Failure> {
    let used: BTreeSet<String> =
        columns.iter().filter_map(|column| Some(text_literal(column.collation.as_deref()?))).collect();
    if used.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS WHERE ID IS NOT NULL AND COLLATION_NAME IN ({})",
        Vec::from_iter(used).join(", ")
    );
    let numbers: Vec<(String, u16)> =
        conn.query(sql).await.map_err(|error| query_failure("ask for the numbers of collations", error))?;
    let numbers: HashMap<String, u16> = numbers.into_iter().collect();
    for column in columns {
        column.collation_id = column.collation.as_ref().and_then(|collation| numbers.get(collation).copied());
    }
    Ok(())
}

/// The columns of a table in order; none when it does not exist.
pub(super) async fn fetch(conn: &mut Conn, table: &TableName) -> Result<Vec<RawColumn>, Failure> {
    let (database, name) = (text_literal(&table.database), text_literal(&table.table));
    let sql = format!(
        "SELECT {ASKED} FROM {FROM} WHERE c.TABLE_SCHEMA = {database} AND c.TABLE_NAME = {name} ORDER BY c.ORDINAL_POSITION"
    );
    let rows: Vec<mysql_async::Row> =
        conn.query(sql).await.map_err(|error| query_failure(&format!("describe table \"{table}\""), error))?;
    let mut columns = Vec::with_capacity(rows.len());
    for mut row in rows {
        columns.push(RawColumn::take(&mut row).ok_or_else(|| {
            Failure::fatal(format!("the catalogue's answer about table \"{table}\" is not readable"))
        })?);
    }
    number_collations(conn, columns.iter_mut().collect()).await?;
    Ok(columns)
}

fn take<T: mysql_async::prelude::FromValue>(row: &mut mysql_async::Row, place: usize) -> Option<T> {
    row.take_opt(place)?.ok()
}

impl RawColumn {
    fn take(row: &mut mysql_async::Row) -> Option<Self> {
        Some(Self {
            name: take(row, 0)?,
            default: take(row, 1)?,
            nullable: take(row, 2)?,
            data_type: take(row, 3)?,
            column_type: take(row, 4)?,
            octets: take(row, 5)?,
            precision: take(row, 6)?,
            scale: take(row, 7)?,
            fsp: take(row, 8)?,
            charset: take(row, 9)?,
            collation: take(row, 10)?,
            extra: take::<Option<String>>(row, 11)?.unwrap_or_default().to_ascii_uppercase(),
            expression: take(row, 12)?,
            collation_id: None,
        })
    }

    /// The type: what a `TABLE_MAP` with full metadata tells, and what it calls `BINARY` by its own name; `None` when the
    /// catalogue's facts do not make one.
    pub(super) fn column_type(&self, flavour: Flavour) -> Option<ColumnType> {
        let unsigned = self.column_type.to_ascii_lowercase().contains("unsigned");
        let int = |width| Some(ColumnType::Int { width, unsigned });
        let fsp = || u8::try_from(self.fsp.unwrap_or(0)).ok();
        let max_bytes = || u16::try_from(self.octets?).ok();
        let charset = || Some(Charset::new(self.charset.as_deref()?));
        // MariaDB 10.3: a column attribute shown in the type only; such columns have type codes of their own in the binlog.
        let compressed = flavour == Flavour::MariaDb && self.column_type.contains("COMPRESSED");
        // Types that were made with mysql56_temporal_format=OFF.
        let old = flavour == Flavour::MariaDb && self.column_type.contains("/* mariadb-5.3 */");
        match self.data_type.as_str() {
            "varchar" | "varbinary" if compressed => Some(unsupported(VARCHAR_COMPRESSED)),
            "tinyblob" | "blob" | "mediumblob" | "longblob" | "tinytext" | "text" | "mediumtext" | "longtext"
                if compressed =>
            {
                Some(unsupported(BLOB_COMPRESSED))
            }
            "time" if old => Some(unsupported(OLD_TIME)),
            "datetime" if old => Some(unsupported(OLD_DATETIME)),
            "timestamp" if old => Some(unsupported(OLD_TIMESTAMP)),
            "tinyint" => int(IntWidth::W1),
            "smallint" => int(IntWidth::W2),
            "mediumint" => int(IntWidth::W3),
            "int" => int(IntWidth::W4),
            "bigint" => int(IntWidth::W8),
            "float" => Some(ColumnType::Float),
            "double" => Some(ColumnType::Double),
            "decimal" => Some(ColumnType::Decimal {
                precision: u8::try_from(self.precision?).ok()?,
                scale: u8::try_from(self.scale?).ok()?,
            }),
            "year" => Some(ColumnType::Year),
            "date" => Some(ColumnType::Date),
            "time" => Some(ColumnType::Time { fsp: fsp()? }),
            "datetime" => Some(ColumnType::DateTime { fsp: fsp()? }),
            "timestamp" => Some(ColumnType::Timestamp { fsp: fsp()? }),
            "bit" => Some(ColumnType::Bit { bits: u8::try_from(self.precision?).ok()? }),
            "char" => Some(ColumnType::Char { max_bytes: max_bytes()?, charset: charset()? }),
            "varchar" => Some(ColumnType::VarChar { max_bytes: max_bytes()?, charset: charset()? }),
            "binary" => Some(ColumnType::Binary { length: max_bytes()? }),
            "varbinary" => Some(ColumnType::VarBinary { max_bytes: max_bytes()? }),
            "tinytext" => Some(ColumnType::Text { length_bytes: 1, charset: charset()? }),
            "text" => Some(ColumnType::Text { length_bytes: 2, charset: charset()? }),
            "mediumtext" => Some(ColumnType::Text { length_bytes: 3, charset: charset()? }),
            "longtext" => Some(ColumnType::Text { length_bytes: 4, charset: charset()? }),
            "tinyblob" => Some(ColumnType::Blob { length_bytes: 1 }),
            "blob" => Some(ColumnType::Blob { length_bytes: 2 }),
            "mediumblob" => Some(ColumnType::Blob { length_bytes: 3 }),
            "longblob" => Some(ColumnType::Blob { length_bytes: 4 }),
            "enum" => Some(ColumnType::Enum { members: labels::parse(&self.column_type)? }),
            "set" => Some(ColumnType::Set { members: labels::parse(&self.column_type)? }),
            "json" => Some(ColumnType::Json),
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Some(ColumnType::Geometry),
            "vector" if flavour == Flavour::MySql => Some(ColumnType::Vector),
            "uuid" if flavour == Flavour::MariaDb => Some(ColumnType::Uuid),
            "inet6" if flavour == Flavour::MariaDb => Some(ColumnType::Inet6),
            "inet4" if flavour == Flavour::MariaDb => Some(ColumnType::Inet4),
            // Whatever comes is MYSQL_TYPE_STRING to MariaDB's protocol.
            other => Some(Self::of_another_type(other)),
        }
    }

    /// What decides, beside the type, what becomes of the values when the definition changes.
    pub(super) fn attributes(&self) -> Attributes {
        let ty = self.column_type.to_ascii_lowercase();
        let zerofill = ty.contains("zerofill") && !matches!(self.data_type.as_str(), "enum" | "set");
        let unsigned = ty.contains("unsigned") && !matches!(self.data_type.as_str(), "enum" | "set");
        let digits = if matches!(self.data_type.as_str(), "float" | "double") {
            ty.split_once('(')
                .and_then(|(_, rest)| rest.split_once(')')?.0.split_once(','))
                .and_then(|(length, after_point)| Some((length.trim().parse().ok()?, after_point.trim().parse().ok()?)))
        } else {
            None
        };
        let generated = self.is_generated().then(|| self.expression.clone().unwrap_or_default());
        Attributes { generated, auto_increment: self.extra.contains("AUTO_INCREMENT"), digits, unsigned, zerofill }
    }

    /// The type as the server names it, where that makes none that is known.
    pub(super) fn unknown_type(&self) -> ColumnType {
        Self::of_another_type(&self.column_type)
    }

    fn of_another_type(name: &str) -> ColumnType {
        ColumnType::Unsupported { code: 254, name: name.to_owned() }
    }

    /// Whether the server computes the value.
    pub(super) fn is_generated(&self) -> bool {
        // MySQL's DEFAULT_GENERATED is a default that is an expression, not a generated column.
        self.extra.contains("VIRTUAL GENERATED") || self.extra.contains("STORED GENERATED")
    }
}

#[cfg(test)]
pub(super) fn raw(name: &str, data_type: &str, column_type: &str) -> RawColumn {
    RawColumn {
        name: name.to_owned(),
        default: None,
        nullable: true,
        data_type: data_type.to_owned(),
        column_type: column_type.to_owned(),
        octets: None,
        precision: None,
        scale: None,
        fsp: None,
        charset: None,
        collation: None,
        extra: String::new(),
        expression: None,
        collation_id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_width_and_sign_whatever_the_display_width() {
        let ty = |data, column| raw("c", data, column).column_type(Flavour::MariaDb).unwrap();
        assert_eq!(ty("bigint", "bigint(20) unsigned"), ColumnType::Int { width: IntWidth::W8, unsigned: true });
        assert_eq!(ty("tinyint", "tinyint(1)"), ColumnType::Int { width: IntWidth::W1, unsigned: false });
        assert_eq!(
            ty("mediumint", "mediumint(8) unsigned zerofill"),
            ColumnType::Int { width: IntWidth::W3, unsigned: true }
        );
    }

    #[test]
    fn strings_carry_their_length_in_bytes_and_their_charset() {
        let column = RawColumn { octets: Some(1020), charset: Some("utf8mb4".into()), ..raw("c", "char", "char(255)") };
        assert_eq!(
            column.column_type(Flavour::MySql).unwrap(),
            ColumnType::Char { max_bytes: 1020, charset: Charset::new("utf8mb4") }
        );
        let column = RawColumn { octets: Some(4), ..raw("c", "binary", "binary(4)") };
        assert_eq!(column.column_type(Flavour::MySql).unwrap(), ColumnType::Binary { length: 4 });
    }

    #[test]
    fn types_that_are_not_read_are_named() {
        let ty = |data, column| raw("c", data, column).column_type(Flavour::MariaDb).unwrap();
        assert_eq!(ty("xmltype", "xmltype"), ColumnType::Unsupported { code: 254, name: "xmltype".into() });
        assert!(matches!(ty("blob", "blob /*M!100301 COMPRESSED*/"), ColumnType::Unsupported { code: 140, .. }));
        for (data, code) in [("timestamp", 7), ("time", 11), ("datetime", 12)] {
            let old = raw("c", data, &format!("{data}(3) /* mariadb-5.3 */")).column_type(Flavour::MariaDb).unwrap();
            assert!(matches!(old, ColumnType::Unsupported { code: found, .. } if found == code), "{old:?}");
        }
    }

    #[test]
    fn types_that_the_binlog_calls_binary_have_their_own_names() {
        for (name, ty) in [("uuid", ColumnType::Uuid), ("inet6", ColumnType::Inet6), ("inet4", ColumnType::Inet4)] {
            assert_eq!(raw("c", name, name).column_type(Flavour::MariaDb), Some(ty));
        }
    }

    #[test]
    fn a_default_that_is_an_expression_does_not_make_a_column_generated() {
        let column = |extra: &str| RawColumn { extra: extra.to_owned(), ..raw("c", "int", "int") };
        assert!(!column("DEFAULT_GENERATED ON UPDATE CURRENT_TIMESTAMP").is_generated());
        assert!(column("VIRTUAL GENERATED").is_generated() && column("STORED GENERATED INVISIBLE").is_generated());
    }
}
