//! What the source says of a table where it has rows of it, which may be less than the table's schema.
//!
//! A `TABLE_MAP` has what `binlog_row_metadata` makes it have. FULL: everything that reading an image takes. MINIMAL: the types, with
//! signedness and character sets, but no names, no labels and no key. `NO_LOG` of MariaDB, and every older server: the types' codes and
//! lengths alone. What it lacks stands in [`Told::schema`] in one fixed way ([`Told::of`]), so that what it has can be compared with a
//! schema that is known ([`Told::fits`]), and its images can be walked.

use serde::{Deserialize, Serialize};

use super::{Column, ColumnDefault, ColumnType, IntWidth, TableSchema};

/// What is not said of a table's columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of its own in the event, and any of them may be missing"
)]
pub struct Lacks {
    /// Names of the columns, and which of them are the key.
    pub names: bool,
    /// Which numbers are unsigned.
    pub signs: bool,
    /// Character sets. Texts cannot be told from bytes.
    pub charsets: bool,
    /// The labels of `ENUM` and `SET`, of which only the bytes are said that a value takes.
    pub labels: bool,
}

impl Lacks {
    /// Nothing: `binlog_row_metadata=FULL`.
    pub const NOTHING: Self = Self { names: false, signs: false, charsets: false, labels: false };
    /// `binlog_row_metadata=MINIMAL`.
    pub const MINIMAL: Self = Self { names: true, signs: false, charsets: false, labels: true };
    /// `binlog_row_metadata=NO_LOG`.
    pub const NO_LOG: Self = Self { names: true, signs: true, charsets: true, labels: true };

    /// Whether everything is said.
    pub fn is_nothing(self) -> bool {
        self == Self::NOTHING
    }
}

/// What is said of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The schema, as far as it is said: what is not said stands in it as [`Told::of`] puts it.
    pub schema: TableSchema,
    /// What is not said.
    pub lacks: Lacks,
}

impl Told {
    /// Everything.
    pub fn whole(schema: TableSchema) -> Self {
        Self { schema, lacks: Lacks::NOTHING }
    }

    /// A schema without what is not said: columns are called by their places (`@1`), there is no key, numbers are signed, texts are bytes,
    /// labels are empty and as many as their values have room for.
    pub fn of(schema: &TableSchema, lacks: Lacks) -> Self {
        if lacks.is_nothing() {
            return Self::whole(schema.clone());
        }
        let columns = schema.columns.iter().enumerate().map(|(place, column)| Column {
            name: if lacks.names { placed(place) } else { column.name.clone() },
            ty: lacks.without(column.ty.as_told()),
            nullable: column.nullable,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        });
        let columns = columns.collect();
        let key = if lacks.names { None } else { schema.key.clone() };
        Self { schema: TableSchema { name: schema.name.clone(), columns, key }, lacks }
    }

    /// Whether everything is said.
    pub fn is_whole(&self) -> bool {
        self.lacks.is_nothing()
    }

    /// Whether what is said is true of a schema: then it has the images. The number of columns after those of the schema, which the source
    /// keeps for itself: `hides`, if it does such a thing.
    pub fn fits(&self, schema: &TableSchema, hides: bool) -> Option<usize> {
        let own = schema.columns.len();
        let hidden = self.schema.columns.len().checked_sub(own)?;
        let is_hidden =
            |column: &Column| hides && self.lacks.names && column.nullable && column.ty == self.lacks.without(HIDDEN);
        let known = Self::of(schema, self.lacks).schema;
        let is_same = |(ours, known): (&Column, &Column)| {
            ours.name == known.name && ours.ty == known.ty && ours.nullable == known.nullable
        };
        let (ours, rest) = self.schema.columns.split_at_checked(own)?;
        let fits = self.schema.name == schema.name
            && ours.iter().zip(&known.columns).all(is_same)
            && rest.iter().all(is_hidden)
            && (self.lacks.names || super::table::primary(&self.schema) == super::table::primary(&known));
        fits.then_some(hidden)
    }
}

/// The type of columns that a server keeps for itself.
const HIDDEN: ColumnType = ColumnType::Int { width: IntWidth::W8, unsigned: true };

/// What a column is called whose name is not said.
pub fn placed(place: usize) -> String {
    format!("@{}", place + 1)
}

impl Lacks {
    /// A type as an event has it that does not say these things.
    pub fn without(self, ty: ColumnType) -> ColumnType {
        match ty {
            ColumnType::Int { width, .. } if self.signs => ColumnType::Int { width, unsigned: false },
            ColumnType::Char { max_bytes, .. } if self.charsets => ColumnType::Binary { length: max_bytes },
            ColumnType::VarChar { max_bytes, .. } if self.charsets => ColumnType::VarBinary { max_bytes },
            ColumnType::Text { length_bytes, .. } if self.charsets => ColumnType::Blob { length_bytes },
            ColumnType::Enum { members } if self.labels => {
                ColumnType::Enum { members: unlabelled(if members.len() > 255 { 256 } else { 1 }) }
            }
            ColumnType::Set { members } if self.labels => {
                let bytes = members.len().div_ceil(8);
                ColumnType::Set { members: unlabelled(8 * if bytes > 4 { 8 } else { bytes }) }
            }
            other => other,
        }
    }
}

/// Labels that are not said.
pub fn unlabelled(count: usize) -> Vec<String> {
    vec![String::new(); count]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Charset, Key, KeyKind, TableName};

    fn schema(columns: &[(&str, ColumnType, bool)]) -> TableSchema {
        let column = |(name, ty, nullable): &(&str, ColumnType, bool)| Column {
            name: (*name).to_owned(),
            ty: ty.clone(),
            nullable: *nullable,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        };
        let key = Some(Key { kind: KeyKind::Primary, columns: vec![0] });
        TableSchema { name: TableName::new("d", "t"), columns: columns.iter().map(column).collect(), key }
    }

    fn int(unsigned: bool) -> ColumnType {
        ColumnType::Int { width: IntWidth::W4, unsigned }
    }

    fn text(charset: &str) -> ColumnType {
        ColumnType::VarChar { max_bytes: 80, charset: Charset::new(charset) }
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|label| label.to_string()).collect()
    }

    /// Whether an event of the one table may be one of the other.
    fn fit(of: &[(&str, ColumnType, bool)], other: &[(&str, ColumnType, bool)], lacks: Lacks) -> bool {
        Told::of(&schema(of), lacks).fits(&schema(other), false).is_some()
    }

    #[test]
    fn what_is_said_has_to_be_true_and_what_is_not_said_may_be_anything() {
        let base = [("a", int(false), false), ("b", text("latin1"), true)];
        let (unsigned, renamed) =
            ([("a", int(true), false), base[1].clone()], [("x", int(false), false), base[1].clone()]);
        let charset = [base[0].clone(), ("b", text("utf8mb4"), true)];
        let bytes = [base[0].clone(), ("b", ColumnType::VarBinary { max_bytes: 80 }, true)];
        let wider = [base[0].clone(), ("b", ColumnType::VarBinary { max_bytes: 81 }, true)];
        let required = [base[0].clone(), ("b", text("latin1"), false)];
        for (other, full, minimal, no_log) in [
            (&base[..], true, true, true),
            (&unsigned, false, false, true),
            (&renamed, false, true, true),
            (&charset, false, false, true),
            (&bytes, false, false, true),
            (&wider, false, false, false),
            (&required, false, false, false),
            (&base[..1], false, false, false),
        ] {
            let fits = [Lacks::NOTHING, Lacks::MINIMAL, Lacks::NO_LOG].map(|lacks| fit(other, &base, lacks));
            assert_eq!(fits, [full, minimal, no_log], "{other:?}");
        }
    }

    #[test]
    fn labels_that_are_not_said_still_have_a_size() {
        let of = |ty: ColumnType| [("a", ty, true)];
        let enumerated = |count| of(ColumnType::Enum { members: members(count) });
        let set = |count| of(ColumnType::Set { members: members(count) });
        for (one, other, fits) in [
            (enumerated(2), enumerated(255), true),
            (enumerated(255), enumerated(256), false),
            (set(1), set(8), true),
            (set(8), set(9), false),
            (set(33), set(64), true),
            (set(1), enumerated(1), false),
            (of(ColumnType::Uuid), of(ColumnType::Binary { length: 16 }), true),
        ] {
            assert_eq!(fit(&one, &other, Lacks::NO_LOG), fits, "{one:?} {other:?}");
        }
    }

    #[test]
    fn columns_that_the_server_keeps_for_itself_come_after_the_others() {
        let own = schema(&[("a", int(false), false)]);
        let hash = ("h", HIDDEN, true);
        let with = |rest: &[(&str, ColumnType, bool)]| {
            let mut columns = vec![("a", int(false), false)];
            columns.extend_from_slice(rest);
            Told::of(&schema(&columns), Lacks::NO_LOG)
        };
        assert_eq!(with(&[hash.clone(), hash.clone()]).fits(&own, true), Some(2));
        assert_eq!(with(std::slice::from_ref(&hash)).fits(&own, false), None);
        assert_eq!(with(&[("h", HIDDEN, false)]).fits(&own, true), None);
        assert_eq!(with(&[("h", int(true), true)]).fits(&own, true), None);
    }
}
