//! How the source spells and compares names.
//!
//! MySQL and MariaDB have a setting for names of databases and tables, `lower_case_table_names`:
//!
//! - **0**: as written. `T` and `t` are two tables.
//! - **1**: stored and compared in lower case. A `TABLE_MAP`, the catalogue and the file system have lower case; the text of a statement has
//!   what its author wrote.
//! - **2**: compared in lower case, shown as written when the table was made (macOS). A `TABLE_MAP` has lower case here too; the catalogue
//!   has the first spelling, and MariaDB's statements have their default database as the session spelled it.
//!
//! With 1 and 2, the name that everything goes by, up to the sinks, is the lower-case one: it is what rows come with. So there are two
//! rules, and a server has one of them for life (MySQL) or until it is started with another (MariaDB).
//!
//! Whatever names a table from outside (a statement, a `TABLE_MAP`, the catalogue, the configuration, an operator) is given to
//! [`Names::table`] or [`Names::fold`] before it is compared or kept.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::TableName;

/// The rule for names of databases and tables at a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// As written (`lower_case_table_names=0`).
    #[default]
    Exact,
    /// In lower case (1 and 2).
    Folded,
}

impl Names {
    /// The rule of a value of `@@lower_case_table_names`; `None` for one that is not known.
    pub fn of_setting(value: &str) -> Option<Self> {
        match value {
            "0" => Some(Self::Exact),
            "1" | "2" => Some(Self::Folded),
            _ => None,
        }
    }

    /// The name of a database or of a table by which it is known.
    pub fn fold(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Exact => Cow::Borrowed(name),
            Self::Folded => lower_case(name),
        }
    }

    /// The name by which a table is known.
    #[must_use]
    pub fn table(self, name: TableName) -> TableName {
        match (self.fold(&name.database), self.fold(&name.table)) {
            (Cow::Borrowed(_), Cow::Borrowed(_)) => name,
            (database, table) => TableName::new(database, table),
        }
    }

    /// Whether two names mean one database, or one table of a database.
    pub fn same(self, a: &str, b: &str) -> bool {
        a == b || self.fold(a) == self.fold(b)
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "as written",
            Self::Folded => "in lower case",
        })
    }
}

/// Whether two names mean one column: columns compare in lower case under every rule.
pub fn same_column(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || lower_case(a) == lower_case(b)
}

/// A name in the servers' lower case.
fn lower_case(name: &str) -> Cow<'_, str> {
    if name.chars().all(|c| lower(c) == c) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().map(lower).collect())
}

/// A character in lower case, as `utf8mb3_general_ci` has it, which both servers lower names with in every version: one character for one,
/// of Unicode as it was in 1999. What has lower case since then stays as it is.
fn lower(c: char) -> char {
    match c {
        _ if c.is_ascii() => c.to_ascii_lowercase(),
        // The one character for which it differs from Unicode's own simple lower case.
        '\u{130}' => 'i',
        _ if LOWERED.iter().any(|range| range.contains(&c)) => {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
        _ => c,
    }
}

/// Where the servers' lower case is Unicode's: in these ranges every character that has a lower case today had it then.
const LOWERED: [RangeInclusive<char>; 20] = [
    '\u{c0}'..='\u{21f}',
    '\u{222}'..='\u{239}',
    '\u{386}'..='\u{3ce}',
    '\u{3da}'..='\u{3ef}',
    '\u{400}'..='\u{489}',
    '\u{48c}'..='\u{4bf}',
    '\u{4c1}'..='\u{4c4}',
    '\u{4c7}'..='\u{4c8}',
    '\u{4cb}'..='\u{4cc}',
    '\u{4d0}'..='\u{4f5}',
    '\u{4f8}'..='\u{4f9}',
    '\u{531}'..='\u{556}',
    '\u{1e00}'..='\u{1e95}',
    '\u{1ea0}'..='\u{1ef9}',
    '\u{1f00}'..='\u{1fff}',
    '\u{2126}'..='\u{2126}',
    '\u{212a}'..='\u{212b}',
    '\u{2160}'..='\u{216f}',
    '\u{24b6}'..='\u{24cf}',
    '\u{ff21}'..='\u{ff3a}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_where_the_server_folds_them() {
        for (value, rule) in [("0", Some(Names::Exact)), ("1", Some(Names::Folded)), ("2", Some(Names::Folded))] {
            assert_eq!(Names::of_setting(value), rule, "{value}");
        }
        assert_eq!(Names::of_setting("ON"), None);
        let name = || TableName::new("Shop", "ORDERS");
        assert_eq!(Names::Exact.table(name()), name());
        assert_eq!(Names::Folded.table(name()), TableName::new("shop", "orders"));
        assert!(Names::Folded.same("Shop", "sHOP") && !Names::Exact.same("Shop", "sHOP"));
        assert!(matches!(Names::Folded.fold("orders_2"), Cow::Borrowed("orders_2")));
    }

    #[test]
    fn lower_case_is_the_servers_and_not_unicodes() {
        for (name, lower) in [
            ("\u{c4}\u{d6}\u{df}", "\u{e4}\u{f6}\u{df}"),
            ("\u{130}stanbul", "istanbul"),
            ("\u{1e9e}x", "\u{1e9e}x"),
            ("\u{3a3}\u{3c2}", "\u{3c3}\u{3c2}"),
            ("\u{1c5}", "\u{1c6}"),
            ("\u{23a}\u{23e}", "\u{23a}\u{23e}"),
            (
                "\u{531}\u{a640}\u{2c00}\u{a78d}\u{524}\u{10a0}\u{13a0}",
                "\u{561}\u{a640}\u{2c00}\u{a78d}\u{524}\u{10a0}\u{13a0}",
            ),
            ("\u{2167}\u{24b6}\u{ff21}\u{212a}", "\u{2177}\u{24d0}\u{ff41}k"),
        ] {
            assert_eq!(Names::Folded.fold(name), lower, "{name}");
        }
        assert!(same_column("\u{c9}", "\u{e9}") && same_column("Id", "iD") && !same_column("\u{1e9e}", "\u{df}"));
    }

    #[test]
    fn as_many_characters_are_lowered_as_the_servers_lower() {
        // A table of the whole plane stands in the tests against real servers: this one notices a new Unicode of the standard library.
        let lowered = ('\u{80}'..='\u{ffff}').filter(|c| lower(*c) != *c).count();
        assert_eq!(lowered, 670);
    }
}
