//! The default of a column that `ALTER TABLE` adds, out of the statement's own text.
//!
//! Promises: what is told as a literal is one, with its whole value. Anything that might depend on a function, a session
//! or a character set, and anything not understood, is [`AddedDefault::Other`]. Types are not looked at, but for the few
//! that change the meaning of the default (`SERIAL`, a `FLOAT` that rounds).

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::tokens::Token;

/// What the definition of an added column says of its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddedDefault {
    /// No `DEFAULT`: `NULL` where the column allows it, else the implicit default of its type.
    Absent,
    /// `DEFAULT NULL`.
    Null,
    /// A constant.
    Literal(Literal),
    /// An expression, a generated column, `AUTO_INCREMENT`, or a constant that this module does not vouch for.
    Other,
}

/// A constant as it was written, without its quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Literal {
    /// `[-]digits[.digits][e[+-]digits]`; `TRUE` and `FALSE` are 1 and 0.
    Number(String),
    /// The value of a string in quotes.
    Text(String),
    /// `x'..'` and `0x..`: the bytes.
    Hex(Vec<u8>),
    /// `b'..'` and `0b..`: the digits 0 and 1.
    Bits(String),
}

/// Words that may stand behind a whole `DEFAULT` clause. Behind anything else the constant might be part of an expression.
const BEHIND: &[&str] = &[
    "AFTER",
    "CHECK",
    "COLLATE",
    "COLUMN_FORMAT",
    "COMMENT",
    "CONSTRAINT",
    "ENGINE_ATTRIBUTE",
    "FIRST",
    "INVISIBLE",
    "KEY",
    "NOT",
    "NULL",
    "ON",
    "PARTITION",
    "PRIMARY",
    "REFERENCES",
    "REMOVE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "STORAGE",
    "UNIQUE",
    "VISIBLE",
    "WITH",
    "WITHOUT",
];

/// Words before which `DEFAULT` is the value of something else.
const BEFORE_OTHER_DEFAULTS: &[&str] = &["CHARSET", "COLLATE", "COLUMN_FORMAT", "SET", "STORAGE"];

/// Types whose digits behind the comma are rounded when the type gives two numbers in parentheses.
const ROUNDING_TYPES: &[&str] = &["DOUBLE", "FLOAT", "FLOAT4", "FLOAT8", "PRECISION", "REAL"];

/// Reads what follows a column's name, up to the end of the item; the caller's place does not move.
pub(super) fn of(mut cursor: Cursor<'_>) -> AddedDefault {
    let mut found = AddedDefault::Absent;
    let mut before: Option<Token<'_>> = None;
    loop {
        // The partitioning of the table may follow the last column without a comma.
        if cursor.is_any(&["PARTITION", "REMOVE"]) {
            return found;
        }
        let after_word = |words: &[&str]| matches!(before, Some(Token::Word(word)) if words.iter().any(|other| word.eq_ignore_ascii_case(other)));
        if cursor.is_any(&["AUTO_INCREMENT", "SERIAL", "AS", "GENERATED"])
            || (cursor.is_symbol(b'(') && after_word(ROUNDING_TYPES))
        {
            return AddedDefault::Other;
        }
        if cursor.is_any(&["AFTER", "COMMENT"]) {
            // A column or a text follows, whatever its name is.
            cursor.take();
            before = cursor.take_in_item();
            continue;
        }
        let an_other_default = after_word(BEFORE_OTHER_DEFAULTS) || before == Some(Token::Symbol(b'='));
        if !an_other_default && cursor.eat("DEFAULT") {
            if found != AddedDefault::Absent {
                return AddedDefault::Other;
            }
            found = clause(&mut cursor).unwrap_or(AddedDefault::Other);
            if found == AddedDefault::Other {
                return found;
            }
            before = None;
            continue;
        }
        before = cursor.take_in_item();
        if before.is_none() {
            return found;
        }
    }
}

/// Behind `DEFAULT`; `None` for whatever is not surely a constant.
fn clause(cursor: &mut Cursor<'_>) -> Option<AddedDefault> {
    let mut open = 0_u32;
    while cursor.eat_symbol(b'(') {
        open = open.saturating_add(1);
    }
    let value = if cursor.eat("NULL") { AddedDefault::Null } else { AddedDefault::Literal(literal(cursor)?) };
    while open > 0 {
        if !cursor.eat_symbol(b')') {
            return None;
        }
        open -= 1;
    }
    let whole = cursor.at_end() || cursor.is_symbol(b',') || cursor.is_symbol(b')') || cursor.is_any(BEHIND);
    whole.then_some(value)
}

fn literal(cursor: &mut Cursor<'_>) -> Option<Literal> {
    if cursor.eat("TRUE") {
        return Some(Literal::Number("1".to_owned()));
    }
    if cursor.eat("FALSE") {
        return Some(Literal::Number("0".to_owned()));
    }
    match cursor.peek()? {
        Token::Text => text(cursor).map(Literal::Text),
        // The first part of a number whose exponent has a sign.
        Token::Word(word) if word.starts_with(|first: char| first.is_ascii_digit()) => number(cursor),
        Token::Word(word) => quoted(cursor, word),
        Token::Number | Token::Symbol(b'+' | b'-' | b'.') => number(cursor),
        Token::Quoted { .. } | Token::Variable | Token::Symbol(_) => None,
    }
}

/// A string, and those that stand behind it: the server joins them.
fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let mut value = String::new();
    while cursor.peek() == Some(Token::Text) {
        value.push_str(&unquote(cursor.source(), cursor.mode().no_backslash_escapes)?);
        cursor.take();
    }
    Some(value)
}

/// `x'..'`, `b'..'`, and strings behind an introducer whose character set has the same ASCII as every other.
fn quoted(cursor: &mut Cursor<'_>, word: &str) -> Option<Literal> {
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    cursor.take();
    if cursor.peek() != Some(Token::Text) {
        return None;
    }
    if is("x") || is("b") {
        let digits = cursor.source().strip_prefix('\'')?.strip_suffix('\'')?;
        cursor.take();
        return if is("x") { hex(digits) } else { bits(digits) };
    }
    if !(is("_utf8mb4") || is("_utf8mb3") || is("_utf8")) {
        return None;
    }
    // Behind an introducer the bytes are not of the client's character set, by which the statement was decoded.
    text(cursor).filter(|text| text.is_ascii()).map(Literal::Text)
}

fn hex(digits: &str) -> Option<Literal> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let nibble = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect::<Option<_>>().map(Literal::Hex)
}

fn bits(digits: &str) -> Option<Literal> {
    digits.bytes().all(|digit| matches!(digit, b'0' | b'1')).then(|| Literal::Bits(digits.to_owned()))
}

/// A number, perhaps with a sign. The tokens do not know exponents with a sign, nor a point in front, so the text is read.
fn number(cursor: &mut Cursor<'_>) -> Option<Literal> {
    let negative = cursor.eat_symbol(b'-');
    let signed = negative || cursor.eat_symbol(b'+');
    let rest = cursor.rest();
    if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0b")) {
        let hexadecimal = rest.starts_with("0x");
        let len = digits.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let digits = digits.get(..len)?;
        if signed || digits.is_empty() || !cursor.take_exactly(len + 2) {
            return None;
        }
        let padded = if digits.len() % 2 == 0 { digits.to_owned() } else { format!("0{digits}") };
        return if hexadecimal { hex(&padded) } else { bits(digits) };
    }
    let len = number_len(rest)?;
    let number = rest.get(..len)?;
    let text = if negative { format!("-{number}") } else { number.to_owned() };
    cursor.take_exactly(len).then_some(Literal::Number(text))
}

/// Length of the number without a sign at the start of the text.
fn number_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if bytes.get(len) == Some(&b'.') {
        fraction = digits(len + 1);
        len += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    Some(len)
}

/// The value of a string with its quotes; `None` when it is not closed.
fn unquote(source: &str, no_backslash_escapes: bool) -> Option<String> {
    let mut rest = source.chars();
    let quote = rest.next()?;
    let mut value = String::with_capacity(source.len());
    loop {
        match rest.next()? {
            '\\' if !no_backslash_escapes => match rest.next()? {
                '0' => value.push('\0'),
                'b' => value.push('\u{8}'),
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                'Z' => value.push('\u{1a}'),
                // Outside patterns these two keep their backslash.
                escaped @ ('%' | '_') => value.extend(['\\', escaped]),
                escaped => value.push(escaped),
            },
            character if character == quote => match rest.next() {
                Some(second) if second == quote => value.push(quote),
                Some(_) => return None,
                None => return Some(value),
            },
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::SqlMode;

    fn read(sql: &str, mode: SqlMode) -> AddedDefault {
        of(Cursor::new(sql, mode))
    }

    fn of_definition(sql: &str) -> AddedDefault {
        read(sql, SqlMode::default())
    }

    fn text(value: &str) -> AddedDefault {
        AddedDefault::Literal(Literal::Text(value.to_owned()))
    }

    fn number(value: &str) -> AddedDefault {
        AddedDefault::Literal(Literal::Number(value.to_owned()))
    }

    fn bytes(value: &[u8]) -> AddedDefault {
        AddedDefault::Literal(Literal::Hex(value.to_vec()))
    }

    fn digits(value: &str) -> AddedDefault {
        AddedDefault::Literal(Literal::Bits(value.to_owned()))
    }

    #[test]
    fn numbers_keep_sign_fraction_and_exponent() {
        for (sql, expected) in [
            ("INT DEFAULT 5", "5"),
            ("INT NOT NULL DEFAULT -5 AFTER b", "-5"),
            ("INT DEFAULT - 5 COMMENT 'x'", "-5"),
            ("INT DEFAULT +7 NOT NULL", "7"),
            ("INT DEFAULT 007", "007"),
            ("DECIMAL(8, 2) DEFAULT 1.50", "1.50"),
            ("DECIMAL(8, 2) DEFAULT .5", ".5"),
            ("DECIMAL(8, 2) DEFAULT 1.", "1."),
            ("DOUBLE DEFAULT 1e-5 FIRST", "1e-5"),
            ("DOUBLE DEFAULT -1.5E+3", "-1.5E+3"),
            ("DOUBLE DEFAULT 2e7", "2e7"),
            ("BIGINT UNSIGNED DEFAULT 18446744073709551615 /* all */", "18446744073709551615"),
            ("BOOL DEFAULT TRUE", "1"),
            ("BOOL DEFAULT (false)", "0"),
            ("INT DEFAULT ((1))", "1"),
            ("INT DEFAULT (-1) CHECK (a > 0)", "-1"),
            ("INT DEFAULT 1 PARTITION BY HASH (a) PARTITIONS 4", "1"),
        ] {
            assert_eq!(of_definition(sql), number(expected), "{sql}");
        }
    }

    #[test]
    fn strings_lose_their_quotes_and_escapes() {
        for (sql, expected) in [
            ("VARCHAR(9) DEFAULT 'a'", "a"),
            ("VARCHAR(9) DEFAULT ''", ""),
            ("VARCHAR(9) DEFAULT 'it''s', b INT DEFAULT 5", "it's"),
            (r#"VARCHAR(9) DEFAULT "a""b'c\"d""#, "a\"b'c\"d"),
            (r"VARCHAR(9) DEFAULT '\0\b\n\r\t\Z\\\'\%\_\x'", "\0\u{8}\n\r\t\u{1a}\\'\\%\\_x"),
            ("VARCHAR(9) DEFAULT 'caf\u{e9}' COLLATE utf8mb4_bin", "caf\u{e9}"),
            ("VARCHAR(9) DEFAULT ('a, b)')", "a, b)"),
            ("VARCHAR(9) DEFAULT 'a' 'b'\n'c'", "abc"),
            ("VARCHAR(9) CHARACTER SET latin1 DEFAULT _utf8mb4'plain'", "plain"),
            ("DATETIME DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP", "2020-01-01 00:00:00"),
        ] {
            assert_eq!(of_definition(sql), text(expected), "{sql}");
        }
        let mode = SqlMode { no_backslash_escapes: true, ..SqlMode::default() };
        assert_eq!(read(r"VARCHAR(9) DEFAULT 'a\n''\'", mode), text(r"a\n'\"));
    }

    #[test]
    fn hex_and_bit_literals_keep_every_byte() {
        for (sql, expected) in [
            ("VARBINARY(8) DEFAULT x'00ff'", bytes(b"\0\xff")),
            ("VARBINARY(8) DEFAULT X'00Ff' NOT NULL", bytes(b"\0\xff")),
            ("VARBINARY(8) DEFAULT x''", bytes(b"")),
            ("VARBINARY(8) DEFAULT 0x00ff", bytes(b"\0\xff")),
            ("VARBINARY(8) DEFAULT 0xabc", bytes(b"\x0a\xbc")),
            ("BIT(8) DEFAULT b'0101'", digits("0101")),
            ("BIT(8) DEFAULT (0b11)", digits("11")),
        ] {
            assert_eq!(of_definition(sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_missing_default_and_the_null_value_are_told_apart() {
        for sql in [
            "INT",
            "INT NOT NULL AFTER `default`",
            "INT AFTER default_",
            "VARCHAR(9) COMMENT 'DEFAULT 5'",
            "INT REFERENCES p (id) ON DELETE SET DEFAULT",
            "INT COLUMN_FORMAT DEFAULT STORAGE DEFAULT",
            "INT CHECK (a > DEFAULT(a))",
            "INT PARTITION BY RANGE (a) (PARTITION p DEFAULT)",
            "ENUM('DEFAULT', 'b')",
            "DOUBLE PRECISION",
            "",
        ] {
            assert_eq!(of_definition(sql), AddedDefault::Absent, "{sql}");
        }
        for sql in ["INT DEFAULT NULL", "INT NULL DEFAULT (null) FIRST", "INT DEFAULT NULL, b INT DEFAULT 3"] {
            assert_eq!(of_definition(sql), AddedDefault::Null, "{sql}");
        }
    }

    #[test]
    fn what_is_not_surely_a_constant_is_not_told_as_one() {
        for sql in [
            "DATETIME DEFAULT CURRENT_TIMESTAMP",
            "DATETIME DEFAULT NOW(3)",
            "CHAR(36) DEFAULT (uuid())",
            "INT DEFAULT (1 + 1)",
            "INT DEFAULT (1",
            "INT DEFAULT 1 + 1",
            "INT DEFAULT --5",
            "INT DEFAULT 5abc",
            "INT DEFAULT 0x",
            "INT DEFAULT 0xg1",
            "INT DEFAULT -0x10",
            "INT DEFAULT 1.2.3",
            "INT DEFAULT 5 DEFAULT 6",
            "INT DEFAULT @a",
            "INT DEFAULT a",
            "INT DEFAULT",
            "VARCHAR(9) DEFAULT N'a'",
            "VARCHAR(9) DEFAULT _latin1'a'",
            "VARCHAR(9) DEFAULT _utf8mb4'caf\u{e9}'",
            "VARCHAR(9) DEFAULT 'open",
            "VARCHAR(9) DEFAULT ('a' || 'b')",
            "VARBINARY(9) DEFAULT x'0'",
            "VARBINARY(9) DEFAULT x'0g'",
            "BIT(9) DEFAULT b'2'",
            "DATE DEFAULT DATE'2020-01-01'",
            "TIMESTAMP DEFAULT {ts '2020-01-01 00:00:00'}",
            "INT AUTO_INCREMENT",
            "INT DEFAULT 5 AUTO_INCREMENT",
            "SERIAL",
            "INT SERIAL DEFAULT VALUE",
            "INT AS (a + 1)",
            "INT GENERATED ALWAYS AS (a + 1) STORED NOT NULL",
            "FLOAT(7, 2) DEFAULT 1.999",
            "DOUBLE PRECISION (7, 2) DEFAULT 1.999",
            "BIGINT DEFAULT NEXT VALUE FOR s",
        ] {
            assert_eq!(of_definition(sql), AddedDefault::Other, "{sql}");
        }
        let mode = SqlMode { ansi_quotes: true, ..SqlMode::default() };
        assert_eq!(read(r#"VARCHAR(9) DEFAULT "a""#, mode), AddedDefault::Other);
    }
}
