//! `TABLE_MAP` with full metadata (WL#4618), read into the [`TableSchema`] of the rows behind it.
//!
//! The schema is exact by construction: the server writes this event from the table definition under which it wrote the
//! rows. Only what the event tells goes in: the key is the primary key or none, defaults are unknown.
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

use super::cursor::Cursor;
use super::error::BinlogError;
use super::labels::{BINARY, Collations, to_utf8};
use crate::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, TableName, TableSchema};

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
    /// MariaDB: `TEXT` and `BLOB` with the `COMPRESSED` attribute.
    pub(super) const BLOB_COMPRESSED: u8 = 140;
    /// MariaDB: `VARCHAR` and `VARBINARY` with the `COMPRESSED` attribute.
    pub(super) const VARCHAR_COMPRESSED: u8 = 141;
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

    /// Counted by `DEFAULT_CHARSET` and `COLUMN_CHARSET`. MariaDB counts spatial types, too.
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

fn wire_types(table: &TableName, codes: &[u8], metadata: &[u8]) -> Result<Vec<Wire>, BinlogError> {
    let mut metadata = Cursor::new(metadata);
    let mut types = Vec::with_capacity(codes.len());
    for (i, code) in codes.iter().enumerate() {
        let len = metadata_len(*code).ok_or_else(|| BinlogError::UnsupportedColumn {
            table: table.clone(),
            column: format!("number {}", i + 1),
            ty: format!("code {code}"),
        })?;
        let meta = match *metadata.take(len, "type metadata")? {
            [] => [0, 0],
            [a] => [a, 0],
            [a, b, ..] => [a, b],
        };
        types.push(if *code == code::STRING { string_type(meta) } else { Wire { code: *code, meta } });
    }
    Ok(types)
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

/// The optional metadata, still as bytes.
#[derive(Debug, Default)]
struct Optional<'a> {
    signedness: Option<&'a [u8]>,
    default_charset: Option<&'a [u8]>,
    column_charset: Option<&'a [u8]>,
    column_names: Option<&'a [u8]>,
    set_labels: Option<&'a [u8]>,
    enum_labels: Option<&'a [u8]>,
    primary_key: Option<&'a [u8]>,
    primary_key_with_prefix: Option<&'a [u8]>,
    label_default_charset: Option<&'a [u8]>,
    label_column_charset: Option<&'a [u8]>,
}

impl<'a> Optional<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, BinlogError> {
        let mut all = Self::default();
        let mut cursor = Cursor::new(bytes);
        let part = "optional metadata";
        while !cursor.is_empty() {
            let kind = cursor.u8(part)?;
            let value = Some(cursor.lenenc_bytes(part)?);
            match kind {
                1 => all.signedness = value,
                2 => all.default_charset = value,
                3 => all.column_charset = value,
                4 => all.column_names = value,
                5 => all.set_labels = value,
                6 => all.enum_labels = value,
                8 => all.primary_key = value,
                9 => all.primary_key_with_prefix = value,
                10 => all.label_default_charset = value,
                11 => all.label_column_charset = value,
                // The subtypes of geometry columns (7), visibility (12) and the dimensions of vectors (13) do not change how an
                // image is read. Later kinds neither: the format lets readers that do not know them step over.
                _ => {}
            }
        }
        Ok(all)
    }
}

/// Collation ids of the columns that `counted` is true for, in order.
fn collation_ids(default: Option<&[u8]>, each: Option<&[u8]>, counted: usize) -> Result<Option<Vec<u64>>, BinlogError> {
    let part = "character set metadata";
    if let Some(bytes) = each {
        let mut cursor = Cursor::new(bytes);
        let mut ids = Vec::with_capacity(counted);
        while !cursor.is_empty() {
            ids.push(cursor.lenenc(part)?);
        }
        return if ids.len() == counted { Ok(Some(ids)) } else { Err(BinlogError::Damaged { part }) };
    }
    let Some(bytes) = default else { return Ok(None) };
    let mut cursor = Cursor::new(bytes);
    let mut ids = vec![cursor.lenenc(part)?; counted];
    while !cursor.is_empty() {
        let at = cursor.len(part)?;
        *ids.get_mut(at).ok_or(BinlogError::Damaged { part })? = cursor.lenenc(part)?;
    }
    Ok(Some(ids))
}

/// The labels of the ENUM columns, or of the SET columns, one list for each.
fn label_lists(bytes: &[u8]) -> Result<Vec<Vec<&[u8]>>, BinlogError> {
    let part = "labels";
    let mut cursor = Cursor::new(bytes);
    let mut lists = Vec::new();
    while !cursor.is_empty() {
        let count = cursor.len(part)?;
        // A label takes a byte at least, so the count cannot exceed what is left.
        let mut labels = Vec::with_capacity(count.min(cursor.rest().len()));
        for _ in 0..count {
            labels.push(cursor.lenenc_bytes(part)?);
        }
        lists.push(labels);
    }
    Ok(lists)
}

fn primary_key(optional: &Optional<'_>, columns: usize) -> Result<Option<Key>, BinlogError> {
    let part = "primary key metadata";
    let (bytes, with_prefix) = match (optional.primary_key, optional.primary_key_with_prefix) {
        (Some(bytes), _) => (bytes, false),
        (None, Some(bytes)) => (bytes, true),
        (None, None) => return Ok(None),
    };
    let mut cursor = Cursor::new(bytes);
    let mut key = Vec::new();
    while !cursor.is_empty() {
        let column = cursor.len(part)?;
        if with_prefix {
            cursor.lenenc(part)?;
        }
        if column >= columns {
            return Err(BinlogError::Damaged { part });
        }
        key.push(u16::try_from(column).map_err(|_| BinlogError::Damaged { part })?);
    }
    Ok(Some(Key { kind: KeyKind::Primary, columns: key }))
}

/// Reads the whole event.
pub(super) fn schema(named: Named<'_>, mariadb: bool, collations: &Collations) -> Result<TableSchema, BinlogError> {
    let name = TableName::new(named.database, named.table);
    let mut cursor = Cursor::new(named.rest);
    let count = cursor.len("number of columns")?;
    let codes = cursor.take(count, "column types")?;
    let metadata = cursor.lenenc_bytes("type metadata")?;
    let nullable = cursor.take(count.div_ceil(8), "nullability bitmap")?;
    let types = wire_types(&name, codes, metadata)?;
    let optional = Optional::parse(cursor.rest())?;

    let missing = |part| BinlogError::NoMetadata { table: name.clone(), part };
    let mut names = Cursor::new(optional.column_names.ok_or_else(|| missing("column names"))?);

    let numeric = types.iter().filter(|ty| ty.is_numeric()).count();
    let signedness = optional.signedness.unwrap_or_default();
    if numeric > 0 && signedness.len() < numeric.div_ceil(8) {
        return Err(missing("signedness"));
    }
    let character = types.iter().filter(|ty| ty.is_character(mariadb)).count();
    let charsets = collation_ids(optional.default_charset, optional.column_charset, character)?;
    if character > 0 && charsets.is_none() {
        return Err(missing("character sets"));
    }
    let labelled = types.iter().filter(|ty| ty.is_label()).count();
    let label_charsets = collation_ids(optional.label_default_charset, optional.label_column_charset, labelled)?;
    if labelled > 0 && label_charsets.is_none() {
        return Err(missing("character sets of its ENUM and SET columns"));
    }

    let mut unsigned = unsigned_flags(signedness);
    let mut charsets = charsets.unwrap_or_default().into_iter();
    let mut label_charsets = label_charsets.unwrap_or_default().into_iter();
    let mut enums = label_lists(optional.enum_labels.unwrap_or_default())?.into_iter();
    let mut sets = label_lists(optional.set_labels.unwrap_or_default())?.into_iter();

    let mut columns = Vec::with_capacity(types.len());
    for (i, ty) in types.iter().enumerate() {
        let column = names.lenenc_bytes("column names")?;
        let column = std::str::from_utf8(column).map_err(|_| BinlogError::Damaged { part: "column names" })?.to_owned();
        let charset_of = |id: u64| {
            collations.charset(id).cloned().ok_or_else(|| BinlogError::UnknownCollation {
                table: name.clone(),
                column: column.clone(),
                collation: id,
            })
        };
        let mut collation = None;
        let ty = if ty.is_label() {
            let lists = if ty.code == code::ENUM { &mut enums } else { &mut sets };
            let labels = lists.next().ok_or_else(|| missing("labels of its ENUM and SET columns"))?;
            let charset = charset_of(label_charsets.next().unwrap_or(BINARY))?;
            let members = labels.into_iter().map(|label| to_utf8(label, charset.as_str())).collect::<Option<Vec<_>>>();
            let members = members.ok_or_else(|| BinlogError::Label {
                table: name.clone(),
                column: column.clone(),
                charset: charset.as_str().to_owned(),
            })?;
            if ty.code == code::ENUM { ColumnType::Enum { members } } else { ColumnType::Set { members } }
        } else if ty.is_character(mariadb) {
            let id = charsets.next().unwrap_or(BINARY);
            collation = u16::try_from(id).ok().filter(|_| id != BINARY);
            character_type(*ty, if id == BINARY { None } else { Some(charset_of(id)?) })
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
            collation: collation.filter(|_| has_charset),
        });
    }
    Ok(TableSchema { name: name.clone(), key: primary_key(&optional, columns.len())?, columns })
}

/// One flag for each numeric column, from the highest bit of each byte down.
fn unsigned_flags(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

/// A type of bytes: `None` as the character set means binary.
fn character_type(ty: Wire, charset: Option<Charset>) -> ColumnType {
    match (ty.code, charset) {
        (code::GEOMETRY, _) => ColumnType::Geometry,
        (code::STRING, Some(charset)) => ColumnType::Char { max_bytes: ty.meta16(), charset },
        (code::STRING, None) => ColumnType::Binary { length: ty.meta16() },
        (code::VARCHAR | code::VAR_STRING, Some(charset)) => ColumnType::VarChar { max_bytes: ty.meta16(), charset },
        (code::VARCHAR | code::VAR_STRING, None) => ColumnType::VarBinary { max_bytes: ty.meta16() },
        (code::BLOB_COMPRESSED | code::VARCHAR_COMPRESSED, _) => {
            ColumnType::Unsupported { code: ty.code, name: "COMPRESSED column".to_owned() }
        }
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
        other => ColumnType::Unsupported { code: other, name: old_type_name(other) },
    }
}

fn old_type_name(code: u8) -> String {
    match code {
        0 => "DECIMAL in the format of MySQL 4".to_owned(),
        6 => "NULL".to_owned(),
        7 => "TIMESTAMP in the format of before MySQL 5.6".to_owned(),
        11 => "TIME in the format of before MySQL 5.6".to_owned(),
        12 => "DATETIME in the format of before MySQL 5.6".to_owned(),
        other => format!("code {other}"),
    }
}
