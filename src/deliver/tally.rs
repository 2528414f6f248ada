//! What a round holds of each table, as the headers of its frames say.
//!
//! Rows are counted by schema, one look-up for a section; names are looked up once a round.

use std::collections::HashMap;

use wal::Lsn;

use crate::codec::catalog::Catalog;
use crate::codec::frame::{Frame, Mark, TableChange};
use crate::codec::state::State;
use crate::error::Failure;
use crate::model::{ColumnDefault, SchemaId, TableName, TableSchema, keeps_values};

/// What a round holds of each table.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of frames that are for this sink.
    pub(super) ours: HashMap<SchemaId, Ours>,
    /// Rows in frames that are for other sinks.
    pub(super) not_theirs: HashMap<SchemaId, u64>,
    /// What happened to tables as a whole, in the order of the log.
    pub(super) events: Vec<TableEvent>,
}

/// Rows of one schema that are for this sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ours {
    /// Rows.
    pub(super) rows: u64,
    /// The schema could not be known: they are left out.
    pub(super) left_out: bool,
}

/// What happened to a table as a whole, as far as it says whether the sink has every row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEvent {
    /// A read of it begins, of all its rows or of a part.
    ReadBegun {
        /// The table.
        table: TableName,
        /// Whether every row is read.
        whole: bool,
    },
    /// Every row of that read is in the log before `lsn`.
    ReadFinished {
        /// The table.
        table: TableName,
        /// Where the read ended.
        lsn: Lsn,
    },
    /// It was created at `lsn`, without a row.
    Created {
        /// The table.
        table: TableName,
        /// Where it was created.
        lsn: Lsn,
    },
    /// A read takes the place of everything that the sink has of it.
    Replaced {
        /// The table.
        table: TableName,
    },
    /// Rows of it are not in the log, or not in a form that the sink can take.
    Lost {
        /// The table.
        table: TableName,
    },
    /// It is gone.
    Gone {
        /// The table.
        table: TableName,
    },
    /// It has another name.
    Renamed {
        /// Its old name.
        from: TableName,
        /// Its new name.
        to: TableName,
    },
}

impl TableEvent {
    /// What a mark says.
    pub fn of_mark(mark: &Mark, lsn: Lsn) -> Self {
        match mark.clone() {
            Mark::SnapshotBegun { table, whole } => Self::ReadBegun { table, whole },
            Mark::SnapshotFinished { table, .. } => Self::ReadFinished { table, lsn },
            Mark::Created { table } => Self::Created { table, lsn },
        }
    }

    /// What a change says as it reaches the sink: `None` for it if it leads to a schema that is left out. No event
    /// where the sink has every row after it if it had every row before.
    ///
    /// # Errors
    /// When the log does not hold the schemas of the change.
    pub fn of_change<S: State>(
        original: &TableChange,
        followed: Option<&TableChange>,
        catalog: &mut Catalog<S>,
    ) -> Result<Option<Self>, Failure> {
        let Some(change) = followed else { return Ok(Some(Self::Lost { table: original.table().clone() })) };
        Ok(match change.clone() {
            TableChange::ReplaceBegin { table, .. } => Some(Self::Replaced { table }),
            TableChange::Gap { table, .. } | TableChange::LeftOut { table, .. } => Some(Self::Lost { table }),
            TableChange::Drop { table } => Some(Self::Gone { table }),
            TableChange::Rename { from, to, .. } => Some(Self::Renamed { from, to }),
            TableChange::Schema { table, from: Some(from), to, renamed } => {
                let (from, to) = (catalog.get(from)?, catalog.get(to)?);
                (!keys_follow(&from, &to, &renamed)).then_some(Self::Lost { table })
            }
            TableChange::Schema { from: None, .. } | TableChange::Truncate { .. } | TableChange::ReplaceEnd { .. } => {
                None
            }
        })
    }

    /// The table it is about; for a rename, the old name.
    pub fn table(&self) -> &TableName {
        match self {
            Self::ReadBegun { table, .. }
            | Self::ReadFinished { table, .. }
            | Self::Created { table, .. }
            | Self::Replaced { table }
            | Self::Lost { table }
            | Self::Gone { table } => table,
            Self::Renamed { from, .. } => from,
        }
    }
}

/// Whether the keys of rows under `to` are known from rows under `from`. Where they are not, a sink cannot keep its
/// rows: it empties the table until the source has read it again, or holds rows that no later change finds.
///
/// This is asked for every kind of sink. So it is narrower than what one of them can convert: a column of the key has
/// the values that it had, by the same judgement as the source's of whether the table is read again, or came with a value
/// that the statement gave.
fn keys_follow(from: &TableSchema, to: &TableSchema, renamed: &[(String, String)]) -> bool {
    let follows = |place: usize, may_be_null: bool| {
        let Some(column) = to.columns.get(place) else { return false };
        let before = match renamed.iter().find(|(_, now)| now.eq_ignore_ascii_case(&column.name)) {
            Some((before, _)) => Some(before),
            // A name that another column gave up is a new column under that name.
            None if renamed.iter().any(|(gone, _)| gone.eq_ignore_ascii_case(&column.name)) => None,
            None => Some(&column.name),
        };
        match before.and_then(|name| from.columns.get(from.column_index(name)?)) {
            Some(before) => keeps_values(&before.ty, &column.ty),
            None => match column.default {
                ColumnDefault::Value(_) => true,
                ColumnDefault::Null => may_be_null,
                ColumnDefault::Unknown => false,
            },
        }
    };
    match &to.key {
        Some(key) => key.columns.iter().all(|place| follows(usize::from(*place), false)),
        // A row without a key is found by all its values, and one of them may be NULL.
        None => (0..to.columns.len()).all(|place| follows(place, true)),
    }
}

impl Tally {
    /// Rows of a table are left out, at this place of the log: a read that ends later in the round brings them.
    pub(super) fn lose(&mut self, table: &TableName) {
        let is_known = |event: &TableEvent| matches!(event, TableEvent::Lost { table: lost } if lost == table);
        if !self.events.last().is_some_and(is_known) {
            self.events.push(TableEvent::Lost { table: table.clone() });
        }
    }

    /// Counts rows of a frame that is for other sinks.
    pub(super) fn pass_over(&mut self, frame: &Frame<'_>) {
        for section in frame.described() {
            *self.not_theirs.entry(section.schema).or_default() += u64::from(section.rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, IntWidth, Key, KeyKind};

    fn int(width: IntWidth, unsigned: bool) -> ColumnType {
        ColumnType::Int { width, unsigned }
    }

    fn column(name: &str, ty: ColumnType, default: ColumnDefault) -> Column {
        Column { name: name.into(), ty, nullable: false, default }
    }

    /// `id INT, code INT, note DATE` with this key.
    fn schema(key: Option<&[u16]>) -> TableSchema {
        let w4 = || int(IntWidth::W4, false);
        let columns = vec![
            column("id", w4(), ColumnDefault::Unknown),
            column("code", w4(), ColumnDefault::Unknown),
            column("note", ColumnType::Date, ColumnDefault::Unknown),
        ];
        let key = key.map(|columns| Key { kind: KeyKind::Primary, columns: columns.into() });
        TableSchema { name: TableName::new("d", "t"), columns, key }
    }

    fn with(mut schema: TableSchema, place: usize, column: Column) -> TableSchema {
        schema.columns.insert(place, column);
        schema
    }

    fn typed(mut schema: TableSchema, place: usize, ty: ColumnType) -> TableSchema {
        schema.columns[place].ty = ty;
        schema
    }

    fn named(mut schema: TableSchema, place: usize, name: &str) -> TableSchema {
        schema.columns[place].name = name.into();
        schema
    }

    #[test]
    fn keys_follow_where_each_of_their_columns_has_the_values_it_had_or_one_that_is_known() {
        use ColumnDefault::{Null, Unknown, Value};
        let (by_id, keyless) = (|| schema(Some(&[0])), || schema(None));
        let new = |default| column("new", ColumnType::Date, default);
        let renamed =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
        for (name, from, to, pairs, follow) in [
            ("the same", by_id(), by_id(), &[][..], true),
            ("another column of the key's type", by_id(), typed(by_id(), 2, ColumnType::Year), &[], true),
            ("another key", by_id(), schema(Some(&[1])), &[], true),
            ("a wider key", by_id(), typed(by_id(), 0, int(IntWidth::W8, false)), &[], true),
            ("a narrower key", by_id(), typed(by_id(), 0, int(IntWidth::W2, false)), &[], false),
            ("a key that lost its sign", by_id(), typed(by_id(), 0, int(IntWidth::W8, true)), &[], false),
            ("a key of another type", by_id(), typed(by_id(), 0, ColumnType::Date), &[], false),
            ("a renamed key", by_id(), named(by_id(), 0, "no"), &[("id", "no")], true),
            ("a key under a name that was given up", by_id(), named(by_id(), 1, "no"), &[("id", "no")], false),
            ("a key that nothing is known of", by_id(), with(by_id(), 0, new(Unknown)), &[], false),
            ("a key of a constant", by_id(), with(by_id(), 0, new(Value(vec![1]))), &[], true),
            ("a key of NULL", by_id(), with(by_id(), 0, new(Null)), &[], false),
            ("no key, before and after", keyless(), keyless(), &[], true),
            ("no key and another type", keyless(), typed(keyless(), 2, ColumnType::Year), &[], false),
            ("no key and a column of NULL", keyless(), with(keyless(), 3, new(Null)), &[], true),
            ("no key and a column that nothing is known of", keyless(), with(keyless(), 3, new(Unknown)), &[], false),
            ("no key any more", by_id(), keyless(), &[], true),
        ] {
            assert_eq!(keys_follow(&from, &to, &renamed(pairs)), follow, "{name}");
        }
    }
}
