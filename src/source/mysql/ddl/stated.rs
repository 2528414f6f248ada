//! What a definition alone makes of a column, or of a whole table.
//!
//! Promises: what is stated is what every server makes of it. Wherever a default of the server, of the database or of the table, a
//! setting, or a word that is not known here may decide, nothing is stated.

use super::columns::Element;
use super::cursor::Cursor;
use super::tokens::Token;
use crate::model::{Charset, ColumnType, IntWidth};

/// What a definition makes of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// Its type. MariaDB's `JSON`, which is another one there, is called like MySQL's.
    pub ty: ColumnType,
    /// `NULL`, `NOT NULL`, or what implies that; `None`: it says neither.
    pub nullable: Option<bool>,
    /// Where it stands; `None`: where it is, or behind the others if it is added.
    pub place: Option<Place>,
    /// `PRIMARY KEY`.
    is_primary: bool,
}

/// The place that a statement gives to a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `FIRST`.
    First,
    /// `AFTER` the column of this name.
    After(String),
}

/// What a list of definitions makes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedTable {
    /// Its columns, in order.
    pub columns: Vec<(String, Stated)>,
    /// The columns of its primary key, in order; none: it has no primary key.
    pub primary: Vec<String>,
}

impl StatedTable {
    /// The table with another element of its list.
    pub(super) fn with(mut self, element: &Element) -> Option<Self> {
        match element {
            Element::Column { name, stated, .. } => {
                let stated = Stated::clone(stated.as_ref()?);
                if stated.is_primary {
                    self.primary.push(name.clone());
                }
                self.columns.push((name.clone(), stated));
            }
            Element::PrimaryKey(columns) => self.primary.extend(columns.clone()?),
            Element::Index { .. } | Element::Constraint => {}
            Element::Period => return None,
        }
        Some(self)
    }
}

/// The columns of a key, by their names, at the words before its parenthesis.
pub(super) fn key_columns(mut cursor: Cursor<'_>) -> Option<Vec<String>> {
    while !cursor.is_symbol(b'(') {
        cursor.take_in_item()?;
    }
    cursor.eat_symbol(b'(');
    let mut names = Vec::new();
    loop {
        names.push(cursor.identifier()?);
        // The length of a prefix, and the direction.
        if cursor.is_symbol(b'(') {
            cursor.take_in_item();
        }
        cursor.eat_any(&["ASC", "DESC"]);
        if cursor.eat_symbol(b')') {
            return Some(names);
        }
        if !cursor.eat_symbol(b',') {
            return None;
        }
    }
}

/// Reads what follows a column's name, up to the end of the item; the caller's place does not move.
pub(super) fn of(mut cursor: Cursor<'_>) -> Option<Box<Stated>> {
    if cursor.mode().other_types {
        return None;
    }
    let name = Name::take(&mut cursor)?;
    let mut said = Said::default();
    while !(cursor.at_end() || cursor.is_symbol(b',') || cursor.is_symbol(b')')) {
        said.attribute(&mut cursor)?;
    }
    let nullable = match (said.null, said.not_null || said.is_primary || said.counts) {
        (true, true) => return None,
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let Said { is_primary, place, .. } = said;
    let ty = name.with(said.is_unsigned, said.charset.as_deref())?;
    Some(Box::new(Stated { ty, nullable, place, is_primary }))
}

/// What stands behind the type.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute, and any of them may stand together")]
struct Said {
    null: bool,
    not_null: bool,
    is_unsigned: bool,
    is_primary: bool,
    counts: bool,
    charset: Option<String>,
    place: Option<Place>,
}

impl Said {
    /// Takes one attribute; `None` for one that is not known.
    fn attribute(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let Some(Token::Word(word)) = cursor.take() else { return None };
        let (word, rest) = (word.to_ascii_uppercase(), cursor);
        match word.as_str() {
            "SIGNED" | "VISIBLE" | "INVISIBLE" | "ENFORCED" => {}
            "UNSIGNED" | "ZEROFILL" => self.is_unsigned = true,
            "NOT" if rest.eat("NULL") => self.not_null = true,
            "NOT" => return rest.is("ENFORCED").then_some(()),
            "NULL" => self.null = true,
            "AUTO_INCREMENT" => self.counts = true,
            "PRIMARY" => {
                self.is_primary = true;
                return rest.eat("KEY").then_some(());
            }
            "KEY" => self.is_primary = true,
            "UNIQUE" => drop(rest.eat("KEY")),
            "COMMENT" => return (rest.take()? == Token::Text).then_some(()),
            "DEFAULT" => return default(rest),
            "ON" => return (rest.eat("UPDATE") && function(rest)).then_some(()),
            "CHARACTER" | "CHARSET" => {
                if word == "CHARACTER" && !rest.eat("SET") {
                    return None;
                }
                self.charset = Some(rest.identifier()?);
            }
            "COLLATE" => drop(rest.identifier()?),
            "CHECK" => return (rest.take_in_item()? == Token::Symbol(b'(')).then_some(()),
            "FIRST" => self.place = Some(Place::First),
            "AFTER" => self.place = Some(Place::After(rest.identifier()?)),
            _ => return None,
        }
        Some(())
    }
}

/// What stands behind `DEFAULT`, as long as it is one value. Of more of an expression the next word is no attribute.
fn default(cursor: &mut Cursor<'_>) -> Option<()> {
    if cursor.eat_symbol(b'-') || cursor.eat_symbol(b'+') {
        return (cursor.take()? == Token::Number).then_some(());
    }
    match cursor.peek()? {
        Token::Word(word) if !word.eq_ignore_ascii_case("NOT") => {
            if !function(cursor) {
                return None;
            }
            if cursor.peek() == Some(Token::Text) {
                cursor.take();
            }
            Some(())
        }
        Token::Number | Token::Text => cursor.take().map(drop),
        Token::Symbol(b'(') => cursor.take_in_item().map(drop),
        _ => None,
    }
}

/// Takes a word, and what stands in parentheses behind it.
fn function(cursor: &mut Cursor<'_>) -> bool {
    let is_word = matches!(cursor.take(), Some(Token::Word(_)));
    if cursor.is_symbol(b'(') {
        cursor.take_in_item();
    }
    is_word
}

/// A type's name, with what stands in parentheses behind it.
struct Name {
    word: String,
    numbers: Vec<u16>,
    labels: Vec<String>,
}

impl Name {
    fn take(cursor: &mut Cursor<'_>) -> Option<Self> {
        let Some(Token::Word(word)) = cursor.take() else { return None };
        let word = word.to_ascii_uppercase();
        if word == "DOUBLE" {
            cursor.eat("PRECISION");
        }
        let mut name = Self { word, numbers: Vec::new(), labels: Vec::new() };
        if cursor.eat_symbol(b'(') {
            loop {
                let text = cursor.source();
                match cursor.take()? {
                    Token::Number => name.numbers.push(text.parse().ok()?),
                    Token::Text => name.labels.push(label(text)?),
                    _ => return None,
                }
                if cursor.eat_symbol(b')') {
                    break;
                }
                if !cursor.eat_symbol(b',') {
                    return None;
                }
            }
        }
        Some(name)
    }

    /// The type; `None` where something else decides it, too.
    fn with(self, unsigned: bool, charset: Option<&str>) -> Option<ColumnType> {
        use ColumnType as T;
        let Self { word, numbers, labels } = self;
        let charset = charset.and_then(charset_of);
        let int = |width| (numbers.len() <= 1).then_some(T::Int { width, unsigned });
        let plain = |ty: T| numbers.is_empty().then_some(ty);
        let text = |length_bytes| {
            let (charset, _) = charset.clone()?;
            plain(T::Text { length_bytes, charset })
        };
        let small = |number: u16| u8::try_from(number).ok();
        let fsp = || match numbers.as_slice() {
            [] => Some(0),
            [fsp @ 0..=6] => small(*fsp),
            _ => None,
        };
        if !labels.is_empty() {
            return match word.as_str() {
                "ENUM" if numbers.is_empty() => Some(T::Enum { members: labels }),
                "SET" if numbers.is_empty() => Some(T::Set { members: labels }),
                _ => None,
            };
        }
        match (word.as_str(), numbers.as_slice()) {
            ("TINYINT" | "INT1", _) | ("BOOL" | "BOOLEAN", []) => int(IntWidth::W1),
            ("SMALLINT" | "INT2", _) => int(IntWidth::W2),
            ("MEDIUMINT" | "INT3" | "MIDDLEINT", _) => int(IntWidth::W3),
            ("INT" | "INTEGER" | "INT4", _) => int(IntWidth::W4),
            ("BIGINT" | "INT8", _) => int(IntWidth::W8),
            // One number is that of bits. What REAL is, is a setting.
            ("FLOAT", [] | [1..=24] | [_, _]) | ("FLOAT4", [] | [_, _]) => Some(T::Float),
            ("FLOAT", [25..=53]) | ("DOUBLE" | "FLOAT8", [] | [_, _]) => Some(T::Double),
            ("DECIMAL" | "NUMERIC" | "DEC" | "FIXED", []) => Some(T::Decimal { precision: 10, scale: 0 }),
            ("DECIMAL" | "NUMERIC" | "DEC" | "FIXED", [precision @ 1..=65]) => {
                Some(T::Decimal { precision: small(*precision)?, scale: 0 })
            }
            ("DECIMAL" | "NUMERIC" | "DEC" | "FIXED", [precision @ 1..=65, scale]) if scale <= precision => {
                Some(T::Decimal { precision: small(*precision)?, scale: small(*scale)? })
            }
            ("YEAR", [] | [4]) => Some(T::Year),
            ("DATE", []) => Some(T::Date),
            ("TIME", _) => Some(T::Time { fsp: fsp()? }),
            ("DATETIME", _) => Some(T::DateTime { fsp: fsp()? }),
            ("TIMESTAMP", _) => Some(T::Timestamp { fsp: fsp()? }),
            ("BIT", []) => Some(T::Bit { bits: 1 }),
            ("BIT", [bits @ 1..=64]) => Some(T::Bit { bits: small(*bits)? }),
            ("CHAR", [] | [_]) => {
                let (charset, longest) = charset?;
                let length = numbers.first().copied().unwrap_or(1);
                Some(T::Char { max_bytes: length.checked_mul(longest)?, charset })
            }
            ("VARCHAR", [length]) => {
                let (charset, longest) = charset?;
                // A longer one becomes a text.
                Some(T::VarChar { max_bytes: length.checked_mul(longest)?, charset })
            }
            ("TINYTEXT", _) => text(1),
            ("TEXT", _) => text(2),
            ("MEDIUMTEXT", _) => text(3),
            ("LONGTEXT", _) => text(4),
            ("BINARY", []) => Some(T::Binary { length: 1 }),
            ("BINARY", [length]) => Some(T::Binary { length: *length }),
            ("VARBINARY", [max_bytes]) => Some(T::VarBinary { max_bytes: *max_bytes }),
            // With a number it is the smallest one that is large enough.
            ("TINYBLOB", _) => plain(T::Blob { length_bytes: 1 }),
            ("BLOB", _) => plain(T::Blob { length_bytes: 2 }),
            ("MEDIUMBLOB", _) => plain(T::Blob { length_bytes: 3 }),
            ("LONGBLOB", _) => plain(T::Blob { length_bytes: 4 }),
            ("JSON", []) => Some(T::Json),
            ("UUID", []) => Some(T::Uuid),
            ("INET6", []) => Some(T::Inet6),
            ("INET4", []) => Some(T::Inet4),
            _ => None,
        }
    }
}

/// A label that is the same in every character set: of ASCII, without escapes, and without spaces at its end, which the server cuts off.
fn label(source: &str) -> Option<String> {
    let quote = source.chars().next()?;
    let text = source.strip_prefix(quote)?.strip_suffix(quote)?;
    let is_plain = text.is_ascii() && !text.contains([quote, '\\', ',']) && !text.ends_with(' ');
    is_plain.then(|| text.to_owned())
}

/// A character set, and the bytes of its longest character. What `utf8` is, is a setting of MariaDB.
fn charset_of(name: &str) -> Option<(Charset, u16)> {
    let charset = Charset::new(name);
    let longest = match name.to_ascii_lowercase().as_str() {
        "latin1" | "ascii" | "latin2" | "latin5" | "latin7" | "cp1250" | "cp1251" | "cp1256" | "cp1257" | "cp850"
        | "cp852" | "cp866" | "greek" | "hebrew" | "koi8r" | "koi8u" | "macroman" | "tis620" => 1,
        "ucs2" | "big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis" => 2,
        "utf8mb3" | "ujis" | "eucjpms" => 3,
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        _ => return None,
    };
    Some((charset, longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::SqlMode;

    fn of(sql: &str) -> Option<Stated> {
        super::of(Cursor::new(sql, SqlMode::default())).map(|stated| *stated)
    }

    fn ty(sql: &str) -> Option<ColumnType> {
        of(sql).map(|stated| stated.ty)
    }

    fn int(width: IntWidth, unsigned: bool) -> ColumnType {
        ColumnType::Int { width, unsigned }
    }

    #[test]
    fn a_type_is_stated_that_the_text_alone_decides() {
        use ColumnType as T;
        let utf8 = || Charset::new("utf8mb4");
        for (sql, expected) in [
            ("INT", int(IntWidth::W4, false)),
            ("integer(11) unsigned", int(IntWidth::W4, true)),
            ("TINYINT(1) ZEROFILL", int(IntWidth::W1, true)),
            ("BOOLEAN", int(IntWidth::W1, false)),
            ("BIGINT SIGNED", int(IntWidth::W8, false)),
            ("FLOAT(24)", T::Float),
            ("FLOAT(25)", T::Double),
            ("FLOAT(30, 2)", T::Float),
            ("DOUBLE PRECISION(10,2)", T::Double),
            ("DECIMAL", T::Decimal { precision: 10, scale: 0 }),
            ("numeric(5)", T::Decimal { precision: 5, scale: 0 }),
            ("DEC(65,30)", T::Decimal { precision: 65, scale: 30 }),
            ("YEAR(4)", T::Year),
            ("DATETIME(3)", T::DateTime { fsp: 3 }),
            ("TIMESTAMP NULL", T::Timestamp { fsp: 0 }),
            ("BIT", T::Bit { bits: 1 }),
            ("BINARY", T::Binary { length: 1 }),
            ("VARBINARY(300)", T::VarBinary { max_bytes: 300 }),
            ("MEDIUMBLOB", T::Blob { length_bytes: 3 }),
            ("CHAR CHARACTER SET latin1", T::Char { max_bytes: 1, charset: Charset::new("latin1") }),
            ("VARCHAR(10) CHARSET utf8mb4 COLLATE utf8mb4_bin", T::VarChar { max_bytes: 40, charset: utf8() }),
            ("LONGTEXT CHARACTER SET utf8mb4", T::Text { length_bytes: 4, charset: utf8() }),
            ("ENUM('a', 'b c', '')", T::Enum { members: vec!["a".into(), "b c".into(), String::new()] }),
            ("SET('x')", T::Set { members: vec!["x".into()] }),
            ("JSON", T::Json),
            ("UUID", T::Uuid),
        ] {
            assert_eq!(ty(sql), Some(expected), "{sql}");
        }
    }

    #[test]
    fn nothing_is_stated_where_something_else_decides() {
        for sql in [
            "VARCHAR(10)",
            "VARCHAR(10) COLLATE utf8mb4_bin",
            "VARCHAR(10) CHARACTER SET utf8",
            "VARCHAR(10) CHARACTER SET binary",
            "VARCHAR(20000) CHARACTER SET utf8mb4",
            "TEXT",
            "TEXT(100) CHARACTER SET latin1",
            "BLOB(100)",
            "CHAR(5) BINARY CHARACTER SET latin1",
            "NATIONAL CHAR(5)",
            "REAL",
            "SERIAL",
            "DECIMAL(0)",
            "YEAR(2)",
            "INT GENERATED ALWAYS AS (a) STORED",
            "INT AS (a)",
            "INT FROBNICATE",
            "INT NULL NOT NULL",
            "INT DEFAULT NOT NULL",
            "INT DEFAULT 1 + 1",
            "INT REFERENCES u (a)",
            "INT WITHOUT SYSTEM VERSIONING",
            "INT PARTITION BY HASH (a)",
            "BLOB COMPRESSED",
            "ENUM('a ')",
            "ENUM('it''s')",
            "ENUM('\u{e9}')",
            "ENUM('a\\n')",
            "mariadb_schema.date",
            "`INT`",
            "",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
        let mode = SqlMode { other_types: true, ..SqlMode::default() };
        assert_eq!(super::of(Cursor::new("DATE", mode)), None);
    }

    #[test]
    fn attributes_are_passed_over_that_do_not_matter() {
        let plain = Stated { ty: int(IntWidth::W4, false), nullable: None, place: None, is_primary: false };
        let not_null = || Stated { nullable: Some(false), ..plain.clone() };
        for (sql, expected) in [
            ("INT", plain.clone()),
            ("INT NOT NULL DEFAULT -5 COMMENT 'NULL', ADD b TEXT", not_null()),
            ("INT DEFAULT (1 + 1) NOT NULL", not_null()),
            ("INT NOT NULL DEFAULT x'41' CHECK (a IS NULL) INVISIBLE", not_null()),
            ("INT DEFAULT NULL", plain.clone()),
            ("INT DEFAULT NULL NULL", Stated { nullable: Some(true), ..plain.clone() }),
            ("INT AUTO_INCREMENT", not_null()),
            ("INT KEY", Stated { is_primary: true, ..not_null() }),
            ("INT UNIQUE KEY NOT NULL", not_null()),
            ("INT NOT NULL FIRST", Stated { place: Some(Place::First), ..not_null() }),
            ("INT AFTER `b`", Stated { place: Some(Place::After("b".into())), ..plain.clone() }),
        ] {
            assert_eq!(of(sql), Some(expected), "{sql}");
        }
        let stamp = of("TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)");
        assert_eq!(stamp.unwrap().ty, ColumnType::Timestamp { fsp: 6 });
    }
}
