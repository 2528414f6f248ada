//! One element of a table's definition, as it stands in `CREATE TABLE` and behind `ADD`: a column, or a key, or a constraint.

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;
use super::default::{self, AddedDefault};
use super::definition::{self, Definition};
use super::stated::{self, Stated};
use super::tokens::Token;

/// What a column's definition says beside its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// `PRIMARY KEY`, or `KEY` alone, which means the same.
    pub(super) primary: bool,
    /// `UNIQUE`, or `SERIAL`, which implies it.
    pub(super) unique: bool,
    /// `FIRST` or `AFTER`.
    pub(super) position: bool,
}

/// The type of a column as its definition says it, as far as it is one that the binlog does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TypeName {
    /// MariaDB's `UUID`.
    Uuid,
    /// MariaDB's `INET6`.
    Inet6,
    /// MariaDB's `INET4`.
    Inet4,
    /// Any other.
    Other,
}

/// An element of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Column {
        name: String,
        ty: TypeName,
        attributes: Attributes,
        default: AddedDefault,
        definition: Box<Definition>,
        stated: Option<Box<Stated>>,
    },
    /// The names of its columns, where they are all that it lists.
    PrimaryKey(Option<Vec<String>>),
    Index {
        /// It cannot identify rows.
        is_plain: bool,
    },
    /// A period: its columns are not null.
    Period,
    /// A check, a foreign key: no column, no key.
    Constraint,
}

/// Takes an element up to the comma or parenthesis behind it; `None` when it is not one.
///
/// The words that make an element something else than a column are reserved on both servers, so a column of such a
/// name is quoted. The exceptions, `PERIOD` and `VECTOR`, are told apart by the word behind them, which is no type.
pub(super) fn element(cursor: &mut Cursor<'_>) -> Option<Element> {
    let element = if cursor.is("PRIMARY") {
        Element::PrimaryKey(stated::key_columns(*cursor))
    } else if cursor.is_any(&["INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL"]) || is_vector_index(*cursor) {
        Element::Index { is_plain: !cursor.is("UNIQUE") }
    } else if is_period(*cursor) {
        Element::Period
    } else if cursor.is_any(&["FOREIGN", "CHECK"]) {
        Element::Constraint
    } else if cursor.eat("CONSTRAINT") {
        return named_constraint(cursor);
    } else {
        return column(cursor);
    };
    cursor.skip_item();
    Some(element)
}

/// Takes `name type attributes`.
pub(super) fn column(cursor: &mut Cursor<'_>) -> Option<Element> {
    let name = name(cursor)?;
    let (ty, default) = (type_name(*cursor), default::of(*cursor));
    let (definition, stated) = (Box::new(definition::of(*cursor)), stated::of(*cursor));
    Some(Element::Column { name, ty, attributes: attributes(cursor), default, definition, stated })
}

/// Schemas of MariaDB that may stand before the name of a type.
const TYPE_SCHEMAS: &[&str] = &["MARIADB_SCHEMA", "MAXDB_SCHEMA", "ORACLE_SCHEMA"];

/// The type behind a column's name.
///
/// These types are no keywords for MariaDB but identifiers, so that they and their schemas may stand in quotes.
pub(super) fn type_name(mut cursor: Cursor<'_>) -> TypeName {
    let is_one_of = |name: &str, names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut behind_schema = cursor;
    if behind_schema.identifier().is_some_and(|name| is_one_of(&name, TYPE_SCHEMAS)) && behind_schema.eat_symbol(b'.') {
        cursor = behind_schema;
    }
    match cursor.identifier() {
        Some(name) if is_one_of(&name, &["UUID"]) => TypeName::Uuid,
        Some(name) if is_one_of(&name, &["INET6"]) => TypeName::Inet6,
        Some(name) if is_one_of(&name, &["INET4"]) => TypeName::Inet4,
        _ => TypeName::Other,
    }
}

/// Takes a column's name; MySQL lets its table and database stand before it.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor.eat_symbol(b'.');
    let mut name = cursor.identifier()?;
    while cursor.eat_symbol(b'.') {
        name = cursor.identifier()?;
    }
    Some(name)
}

/// Takes what follows a column's name, up to the end of the item.
pub(super) fn attributes(cursor: &mut Cursor<'_>) -> Attributes {
    let mut attributes = Attributes::default();
    let mut behind_key_kind = false;
    loop {
        // The partitioning of the table may follow the last column without a comma, and has a `KEY` of its own.
        if cursor.is_any(&["PARTITION", "REMOVE"]) {
            cursor.skip_item();
            return attributes;
        }
        let Some(token) = cursor.take_in_item() else { return attributes };
        let Token::Word(word) = token else {
            behind_key_kind = false;
            continue;
        };
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        attributes.primary |= is("PRIMARY") || (is("KEY") && !behind_key_kind);
        attributes.unique |= is("UNIQUE") || is("SERIAL");
        behind_key_kind = is("PRIMARY") || is("UNIQUE");
        if is("FIRST") {
            attributes.position = true;
        } else if is("AFTER") {
            attributes.position = true;
            cursor.take_in_item();
        }
    }
}

/// `PERIOD [IF [NOT] EXISTS] FOR ...`.
pub(super) fn is_period(mut cursor: Cursor<'_>) -> bool {
    cursor.eat("PERIOD") && cursor.is_any(&["FOR", "IF"])
}

fn is_vector_index(mut cursor: Cursor<'_>) -> bool {
    cursor.eat("VECTOR") && (cursor.is_any(&["INDEX", "KEY"]) || cursor.is_symbol(b'('))
}

fn named_constraint(cursor: &mut Cursor<'_>) -> Option<Element> {
    while let Some(token) = cursor.take_in_item() {
        let Token::Word(word) = token else { continue };
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        let element = if is("PRIMARY") {
            Element::PrimaryKey(stated::key_columns(*cursor))
        } else if is("UNIQUE") {
            Element::Index { is_plain: false }
        } else if is("FOREIGN") || is("CHECK") {
            Element::Constraint
        } else {
            continue;
        };
        cursor.skip_item();
        return Some(element);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::SqlMode;

    fn read(sql: &str) -> Option<Element> {
        let mut cursor = Cursor::new(sql, SqlMode::default());
        let element = element(&mut cursor);
        assert!(element.is_none() || cursor.peek().is_none_or(|token| token == Token::Symbol(b',')), "{sql}");
        element
    }

    fn column_of(sql: &str) -> (String, Attributes) {
        match read(sql) {
            Some(Element::Column { name, attributes, .. }) => (name, attributes),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn an_element_is_told_by_its_first_words() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (sql, expected) in [
            ("PRIMARY KEY (a, b)", Element::PrimaryKey(names(&["a", "b"]))),
            ("CONSTRAINT PRIMARY KEY (a)", Element::PrimaryKey(names(&["a"]))),
            ("CONSTRAINT `pk` PRIMARY KEY USING BTREE (a(3) DESC)", Element::PrimaryKey(names(&["a"]))),
            ("UNIQUE KEY u (a) COMMENT 'x, y'", Element::Index { is_plain: false }),
            ("CONSTRAINT u UNIQUE (a)", Element::Index { is_plain: false }),
            ("KEY u (a)", Element::Index { is_plain: true }),
            ("VECTOR INDEX (v)", Element::Index { is_plain: true }),
            ("VECTOR (v)", Element::Index { is_plain: true }),
            ("FULLTEXT (a)", Element::Index { is_plain: true }),
            ("CHECK (a > 0, b)", Element::Constraint),
            ("CONSTRAINT `unique` CHECK (a in (1, 2))", Element::Constraint),
            ("CONSTRAINT f FOREIGN KEY (a) REFERENCES t (b) ON DELETE SET NULL", Element::Constraint),
            ("PERIOD FOR SYSTEM_TIME (s, e)", Element::Period),
        ] {
            assert_eq!(read(sql), Some(expected), "{sql}");
        }
    }

    #[test]
    fn a_column_may_have_the_name_of_a_keyword() {
        for (sql, expected) in [
            ("period INT", "period"),
            ("vector VECTOR(3)", "vector"),
            ("`primary` INT", "primary"),
            ("`check` INT, b INT", "check"),
            ("after INT", "after"),
            ("first INT", "first"),
            ("t.c INT", "c"),
            ("d.t.c INT", "c"),
        ] {
            assert_eq!(column_of(sql), (expected.to_owned(), Attributes::default()), "{sql}");
        }
    }

    #[test]
    fn keys_and_places_of_a_column_are_seen() {
        let none = Attributes::default();
        for (sql, expected) in [
            ("a INT PRIMARY KEY", Attributes { primary: true, ..none }),
            ("a INT KEY", Attributes { primary: true, ..none }),
            ("a INT UNIQUE KEY", Attributes { unique: true, ..none }),
            ("a INT UNIQUE PRIMARY KEY", Attributes { unique: true, primary: true, ..none }),
            ("a SERIAL", Attributes { unique: true, ..none }),
            ("a INT AFTER b", Attributes { position: true, ..none }),
            ("a INT AFTER `key`", Attributes { position: true, ..none }),
            ("a INT AFTER primary_, b INT KEY", Attributes { position: true, ..none }),
            ("first INT FIRST", Attributes { position: true, ..none }),
            ("a INT COMMENT 'primary key, first'", none),
            ("a INT CHECK (a > 0 AND first)", none),
            ("a INT PARTITION BY KEY (a)", none),
            ("a INT DEFAULT (concat('a', ',', 'b'))", none),
        ] {
            assert_eq!(column_of(sql).1, expected, "{sql}");
        }
    }

    #[test]
    fn what_is_no_element_is_refused() {
        for sql in ["", "'a' INT", "CONSTRAINT x", ", a INT", "5 INT"] {
            assert_eq!(read(sql), None, "{sql}");
        }
    }
}
