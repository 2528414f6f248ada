//! What a column's definition says beside its type, as far as it decides what becomes of the column's values.

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::tokens::Token;
use crate::model::Attributes;

/// A column's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// What it says beside the type.
    pub attributes: Attributes,
    /// Its text, which may name a place for the column at its end.
    pub text: String,
}

/// The definition behind a column's name, up to the end of the item.
pub(super) fn of(mut cursor: Cursor<'_>) -> Definition {
    let start = cursor.offset();
    let mut attributes = Attributes { digits: digits(cursor), ..Attributes::default() };
    // Keywords are not quoted, and what stands in parentheses or as a text is taken whole.
    while let Some(token) = cursor.peek() {
        if cursor.is_any(&["PARTITION", "REMOVE"]) {
            // The partitioning of the table may follow the last column without a comma.
            break;
        }
        let Token::Word(word) = token else {
            if cursor.take_in_item().is_none() {
                break;
            }
            continue;
        };
        cursor.take();
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        if is("AFTER") || is("COMMENT") || is("REFERENCES") {
            // A name follows, whatever it is.
            cursor.take_in_item();
            continue;
        }
        attributes.auto_increment |= is("AUTO_INCREMENT") || is("SERIAL");
        attributes.zerofill |= is("ZEROFILL");
        attributes.unsigned |= is("UNSIGNED") || is("ZEROFILL") || is("SERIAL");
        if is("AS") {
            attributes.generated = Some(expression(&mut cursor));
        }
    }
    Definition { attributes, text: cursor.text_since(start).to_owned() }
}

/// What stands behind `AS`: an expression in parentheses, or `ROW START` and `ROW END`.
fn expression(cursor: &mut Cursor<'_>) -> String {
    let start = cursor.offset();
    if !cursor.is_symbol(b'(') {
        return cursor.source().to_owned();
    }
    cursor.take_in_item();
    let text = cursor.text_since(start);
    text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim().to_owned()
}

/// `(M, D)` behind the name of a floating-point type.
fn digits(mut cursor: Cursor<'_>) -> Option<(u8, u8)> {
    if !cursor.eat_any(&["FLOAT", "FLOAT4", "FLOAT8", "DOUBLE", "REAL"]) {
        return None;
    }
    cursor.eat("PRECISION");
    let number = |cursor: &mut Cursor<'_>| {
        let number = cursor.source().parse().ok()?;
        cursor.take();
        Some(number)
    };
    if !cursor.eat_symbol(b'(') {
        return None;
    }
    let length = number(&mut cursor)?;
    if !cursor.eat_symbol(b',') {
        // FLOAT(n) is the type of n bits.
        return None;
    }
    Some((length, number(&mut cursor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::SqlMode;

    fn of(sql: &str) -> Definition {
        super::of(Cursor::new(sql, SqlMode::default()))
    }

    #[test]
    fn a_definition_says_what_decides_the_values() {
        let plain = Attributes::default;
        let generated = |text: &str| Attributes { generated: Some(text.to_owned()), ..plain() };
        for (sql, expected) in [
            ("INT NOT NULL DEFAULT 5 COMMENT 'unsigned AS (a)', b INT UNSIGNED", plain()),
            ("INT UNSIGNED", Attributes { unsigned: true, ..plain() }),
            ("int(5) zerofill not null", Attributes { unsigned: true, zerofill: true, ..plain() }),
            ("SERIAL", Attributes { unsigned: true, auto_increment: true, ..plain() }),
            ("BIGINT AUTO_INCREMENT PRIMARY KEY", Attributes { auto_increment: true, ..plain() }),
            ("DOUBLE(10, 1)", Attributes { digits: Some((10, 1)), ..plain() }),
            ("DOUBLE PRECISION (10,1) UNSIGNED", Attributes { digits: Some((10, 1)), unsigned: true, ..plain() }),
            ("FLOAT(20)", plain()),
            ("DECIMAL(10, 1)", plain()),
            ("INT GENERATED ALWAYS AS ((a + 1) * 2) STORED", generated("(a + 1) * 2")),
            ("INT AS (a) VIRTUAL, ADD c INT", generated("a")),
            ("TIMESTAMP(6) GENERATED ALWAYS AS ROW START", generated("ROW")),
            ("VARCHAR(9) CHECK (c AS_IS) DEFAULT (CAST(1 AS CHAR))", plain()),
            ("ENUM('auto_increment', 'zerofill')", plain()),
            ("INT AFTER auto_increment", plain()),
        ] {
            assert_eq!(of(sql).attributes, expected, "{sql}");
        }
    }

    #[test]
    fn the_text_goes_up_to_the_end_of_the_item() {
        assert_eq!(of("INT DEFAULT (1 + 1) , ADD c INT").text, "INT DEFAULT (1 + 1)");
        assert_eq!(of("INT AFTER b").text, "INT AFTER b");
        assert_eq!(of("INT PARTITION BY HASH (a)").text, "INT");
    }
}
