//! `TABLE_MAP`, read into what it says of the schema of the rows behind it ([`Told`]).
//!
//! A table of which a column cannot be read is [`Read::Not`]: that is the table's matter, and no fault of the event.
//!
//! With full metadata (WL#4618) the schema is exact by construction: the server writes this event from the table definition under which
//! it wrote the rows. Only what the event tells goes in: the key is the primary key or none, defaults are unknown. With less metadata
//! (`binlog_row_metadata`), it says what it does not tell, too.
//!
//! | bytes | field |
//! |---|---|
//! | 6 | table id |
//! | 2 | flags |
//! | 1 + n + 1 | database: length, name, zero byte |
//! | 1 + n + 1 | table: length, name, zero byte |
//! | 1-9 | number of columns, length-encoded |
//! | n | type codes |
//! | 1-9 + n | metadata of the types, behind its length |
//! | n | bitmap of nullable columns |
//! | rest | optional metadata: kind (1), length (1-9), value |

use super::collations::{BINARY, Collations};
mod optional;

use self::optional::{Optional, collation_ids, label_lists, primary_key, unsigned_flags};
use super::cursor::Cursor;
use super::error::BinlogError;
use crate::codec::row_image::shown_text;
use crate::model::{
    Charset, Column, ColumnDefault, ColumnType, IntWidth, Lacks, TableName, TableSchema, Told, placed, unlabelled,
};
use crate::source::mysql::schema::{LeftOutBy, unsupported};

/// Where the part that does not change between two events of one table starts: behind table id and flags.
pub(super) const FIXED: usize = 8;

/// Type codes (`enum_field_types`) that have a meaning here.
mod code {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    pub(super) use crate::source::mysql::schema::{BLOB_COMPRESSED, VARCHAR_COMPRESSED};
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const MEDIUM_BLOB: u8 = 250;
    pub(super) const LONG_BLOB: u8 = 251;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

/// The names in a `TABLE_MAP` event, and what follows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) database: &'a str,
    pub(super) table: &'a str,
    rest: &'a [u8],
}

/// The table id of a `TABLE_MAP` event.
pub(super) fn table_id(data: &[u8]) -> Result<u64, BinlogError> {
    Cursor::new(data).u48("table id")
}

/// Reads the names.
pub(super) fn names(data: &[u8]) -> Result<Named<'_>, BinlogError> {
    let mut cursor = Cursor::new(data);
    cursor.take(FIXED, "table id")?;
    let mut name = |part| {
        let len = usize::from(cursor.u8(part)?);
        let bytes = cursor.take(len, part)?;
        cursor.u8(part)?;
        std::str::from_utf8(bytes).map_err(|_| BinlogError::Damaged { part })
    };
    let (database, table) = (name("database name")?, name("table name")?);
    Ok(Named { database, table, rest: cursor.rest() })
}

/// The table's name, of an event without its table id and flags.
pub(super) fn name(bytes: &[u8]) -> Option<TableName> {
    let mut cursor = Cursor::new(bytes);
    let mut text = || {
        let len = usize::from(cursor.u8("name").ok()?);
        let bytes = cursor.take(len, "name").ok()?;
        cursor.u8("name").ok()?;
        std::str::from_utf8(bytes).ok()
    };
    let (database, table) = (text()?, text()?);
    Some(TableName::new(database, table))
}

/// How many columns the table has, by an event without its table id and flags.
pub(super) fn column_count(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    for _ in 0..2 {
        let len = usize::from(cursor.u8("name").ok()?);
        cursor.take(len + 1, "name").ok()?;
    }
    cursor.len("number of columns").ok()
}

/// A column's type before the optional metadata is known. `STRING` is resolved: it hides `ENUM` and `SET`.
#[derive(Clone, Copy, Debug)]
struct Wire {
    code: u8,
    /// First and second metadata byte; 0 where the type has none.
    meta: [u8; 2],
}

impl Wire {
    fn meta16(self) -> u16 {
        u16::from_le_bytes(self.meta)
    }

    fn first(self) -> u8 {
        let [first, _] = self.meta;
        first
    }

    /// Counted by `SIGNEDNESS`. YEAR is, too, although it has no sign.
    fn is_numeric(self) -> bool {
        matches!(
            self.code,
            code::TINY
                | code::SHORT
                | code::INT24
                | code::LONG
                | code::LONGLONG
                | code::NEWDECIMAL
                | code::FLOAT
                | code::DOUBLE
                | code::YEAR
        )
    }

    /// Counted by `DEFAULT_CHARSET` and `COLUMN_CHARSET`: what the server keeps as a string or a `BLOB`, whatever it holds. To MySQL
    /// a `VECTOR` is one, and `JSON` and spatial types are none; to MariaDB spatial types are some, too.
    fn is_character(self, mariadb: bool) -> bool {
        match self.code {
            code::STRING
            | code::VAR_STRING
            | code::VARCHAR
            | code::VARCHAR_COMPRESSED
            | code::TINY_BLOB
            | code::MEDIUM_BLOB
            | code::LONG_BLOB
            | code::BLOB
            | code::BLOB_COMPRESSED => true,
            code::VECTOR => !mariadb,
            code::GEOMETRY => mariadb,
            _ => false,
        }
    }

    fn is_label(self) -> bool {
        matches!(self.code, code::ENUM | code::SET)
    }
}

fn metadata_len(code: u8) -> Option<usize> {
    Some(match code {
        code::FLOAT
        | code::DOUBLE
        | code::TIMESTAMP2
        | code::DATETIME2
        | code::TIME2
        | code::BLOB_COMPRESSED
        | code::VECTOR
        | code::JSON
        | code::TINY_BLOB
        | code::MEDIUM_BLOB
        | code::LONG_BLOB
        | code::BLOB
        | code::GEOMETRY => 1,
        code::VARCHAR
        | code::BIT
        | code::VARCHAR_COMPRESSED
        | code::NEWDECIMAL
        | code::ENUM
        | code::SET
        | code::VAR_STRING
        | code::STRING => 2,
        // DECIMAL of MySQL 4, NULL, and the temporal types of before 5.6 have none either.
        0..=14 => 0,
        _ => return None,
    })
}

/// The types; or the place of the first column of which nobody knows how much metadata it has, and its code.
fn wire_types(codes: &[u8], metadata: &[u8]) -> Result<Result<Vec<Wire>, (usize, u8)>, BinlogError> {
    let mut metadata = Cursor::new(metadata);
    let mut types = Vec::with_capacity(codes.len());
    for (place, code) in codes.iter().enumerate() {
        let Some(len) = metadata_len(*code) else { return Ok(Err((place, *code))) };
        let meta = match *metadata.take(len, "type metadata")? {
            [] => [0, 0],
            [a] => [a, 0],
            [a, b, ..] => [a, b],
        };
        types.push(if *code == code::STRING { string_type(meta) } else { Wire { code: *code, meta } });
    }
    Ok(Ok(types))
}

/// `STRING`'s first metadata byte is the real type, its second the length; two bits of the length above 255 are put, upside
/// down, into the first one.
fn string_type([first, second]: [u8; 2]) -> Wire {
    if first & 0x30 == 0x30 {
        return Wire { code: first, meta: [second, 0] };
    }
    let high = (first & 0x30) ^ 0x30;
    Wire { code: first | 0x30, meta: [second, high >> 4] }
}

/// What a `TABLE_MAP` comes to.
#[derive(Debug)]
pub(super) enum Read {
    /// What it says of the schema of the rows behind it.
    Told(Told),
    /// Rows of the table cannot be read, because of a column.
    Not(LeftOutBy),
}

/// Reads the whole event.
pub(super) fn schema(named: Named<'_>, mariadb: bool, collations: &Collations) -> Result<Read, BinlogError> {
    let name = TableName::new(named.database, named.table);
    let mut cursor = Cursor::new(named.rest);
    let count = cursor.len("number of columns")?;
    let codes = cursor.take(count, "column types")?;
    let metadata = cursor.lenenc_bytes("type metadata")?;
    let nullable = cursor.take(count.div_ceil(8), "nullability bitmap")?;
    let types = wire_types(codes, metadata)?;
    let optional = Optional::parse(cursor.rest())?;

    let mut names = Names(optional.column_names.map(Cursor::new));
    let types = match types {
        Ok(types) => types,
        Err((place, code)) => {
            for before in 0..place {
                names.next(before)?;
            }
            return Ok(Read::Not(LeftOutBy::unsupported_column(&names.next(place)?, &unsupported(code))));
        }
    };

    let numeric = types.iter().filter(|ty| ty.is_numeric()).count();
    let signedness = optional.signedness.unwrap_or_default();
    if optional.signedness.is_some() && signedness.len() < numeric.div_ceil(8) {
        return Err(BinlogError::Damaged { part: "signedness" });
    }
    let character = types.iter().filter(|ty| ty.is_character(mariadb)).count();
    let charsets = collation_ids(optional.default_charset, optional.column_charset, character)?;
    let labelled = types.iter().filter(|ty| ty.is_label()).count();
    let label_charsets = collation_ids(optional.label_default_charset, optional.label_column_charset, labelled)?;
    let has = |code: u8| types.iter().any(|ty| ty.code == code);
    let has_labels = label_charsets.is_some()
        && (optional.enum_labels.is_some() || !has(code::ENUM))
        && (optional.set_labels.is_some() || !has(code::SET));
    let lacks = Lacks {
        names: optional.column_names.is_none(),
        signs: numeric > 0 && optional.signedness.is_none(),
        charsets: character > 0 && charsets.is_none(),
        labels: labelled > 0 && !has_labels,
    };

    let mut unsigned = unsigned_flags(signedness);
    let mut charsets = charsets.unwrap_or_default().into_iter();
    let mut label_charsets = label_charsets.unwrap_or_default().into_iter();
    let mut enums = label_lists(optional.enum_labels.unwrap_or_default())?.into_iter();
    let mut sets = label_lists(optional.set_labels.unwrap_or_default())?.into_iter();

    let mut columns = Vec::with_capacity(types.len());
    for (i, ty) in types.iter().enumerate() {
        let column = names.next(i)?;
        let id = match *ty {
            ty if ty.is_label() => label_charsets.next().unwrap_or(BINARY),
            ty if ty.is_character(mariadb) => charsets.next().unwrap_or(BINARY),
            _ => BINARY,
        };
        let charset = if id == BINARY { Some(Charset::new("binary")) } else { collations.charset(id).cloned() };
        let Some(charset) = charset else {
            return Ok(Read::Not(LeftOutBy::unknown_collation(column, id)));
        };
        let mut collation = None;
        let ty = if ty.is_label() && lacks.labels {
            let values = usize::from(ty.first());
            match ty.code {
                code::ENUM => ColumnType::Enum { members: unlabelled(if values > 1 { 256 } else { 1 }) },
                _ => ColumnType::Set { members: unlabelled(8 * values) },
            }
        } else if ty.is_label() {
            let lists = if ty.code == code::ENUM { &mut enums } else { &mut sets };
            let labels = lists.next().ok_or(BinlogError::Damaged { part: "labels" })?;
            let members = labels.into_iter().map(|label| shown_text(label, &charset)).collect::<Option<Vec<_>>>();
            let Some(members) = members else {
                return Ok(Read::Not(LeftOutBy::unsupported_charset(column, charset.as_str())));
            };
            if ty.code == code::ENUM { ColumnType::Enum { members } } else { ColumnType::Set { members } }
        } else if ty.is_character(mariadb) {
            collation = u16::try_from(id).ok().filter(|_| id != BINARY);
            character_type(*ty, Some(charset).filter(|_| id != BINARY))
        } else {
            plain_type(*ty, ty.is_numeric() && unsigned.next().unwrap_or(false))
        };
        let has_charset = ty.charset().is_some();
        let nullable = nullable.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1);
        columns.push(Column {
            name: column,
            ty,
            nullable,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: collation.filter(|_| has_charset && lacks.is_nothing()),
        });
    }
    let schema = TableSchema { key: primary_key(&optional, columns.len())?, name, columns };
    Ok(match LeftOutBy::columns(&schema) {
        None => Read::Told(Told { schema, lacks }),
        Some(by) => Read::Not(by),
    })
}

/// The names of the columns, where the event has them.
struct Names<'a>(Option<Cursor<'a>>);

impl Names<'_> {
    /// The name of the column at a place: each place once, in order.
    fn next(&mut self, place: usize) -> Result<String, BinlogError> {
        match &mut self.0 {
            Some(names) => column_name(names),
            None => Ok(placed(place)),
        }
    }
}

fn column_name(names: &mut Cursor<'_>) -> Result<String, BinlogError> {
    let part = "column names";
    let name = names.lenenc_bytes(part)?;
    Ok(std::str::from_utf8(name).map_err(|_| BinlogError::Damaged { part })?.to_owned())
}

/// A type of bytes: `None` as the character set means binary.
fn character_type(ty: Wire, charset: Option<Charset>) -> ColumnType {
    match (ty.code, charset) {
        (code::GEOMETRY, _) => ColumnType::Geometry,
        (code::VECTOR, _) => ColumnType::Vector,
        (code::STRING, Some(charset)) => ColumnType::Char { max_bytes: ty.meta16(), charset },
        (code::STRING, None) => ColumnType::Binary { length: ty.meta16() },
        (code::VARCHAR | code::VAR_STRING, Some(charset)) => ColumnType::VarChar { max_bytes: ty.meta16(), charset },
        (code::VARCHAR | code::VAR_STRING, None) => ColumnType::VarBinary { max_bytes: ty.meta16() },
        (code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED, _) => unsupported(ty.code),
        (_, Some(charset)) => ColumnType::Text { length_bytes: ty.first(), charset },
        (_, None) => ColumnType::Blob { length_bytes: ty.first() },
    }
}

fn plain_type(ty: Wire, unsigned: bool) -> ColumnType {
    let int = |width| ColumnType::Int { width, unsigned };
    let [first, second] = ty.meta;
    match ty.code {
        code::TINY => int(IntWidth::W1),
        code::SHORT => int(IntWidth::W2),
        code::INT24 => int(IntWidth::W3),
        code::LONG => int(IntWidth::W4),
        code::LONGLONG => int(IntWidth::W8),
        code::FLOAT => ColumnType::Float,
        code::DOUBLE => ColumnType::Double,
        code::NEWDECIMAL => ColumnType::Decimal { precision: first, scale: second },
        code::YEAR => ColumnType::Year,
        code::DATE | code::NEWDATE => ColumnType::Date,
        code::TIME2 => ColumnType::Time { fsp: first },
        code::DATETIME2 => ColumnType::DateTime { fsp: first },
        code::TIMESTAMP2 => ColumnType::Timestamp { fsp: first },
        // Bits beyond whole bytes, then whole bytes.
        code::BIT => match second.checked_mul(8).and_then(|bits| bits.checked_add(first)) {
            Some(bits @ 1..=64) => ColumnType::Bit { bits },
            _ => ColumnType::Unsupported { code: ty.code, name: format!("BIT with metadata {first}, {second}") },
        },
        code::JSON => ColumnType::Json,
        code::GEOMETRY => ColumnType::Geometry,
        code::VECTOR => ColumnType::Vector,
        other => unsupported(other),
    }
}
