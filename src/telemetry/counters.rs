//! Counters that have a label: changes of definitions by kind, errors by class.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::frame::TableChange;
use crate::error::ErrorClass;

/// A change of a table's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaChange {
    /// The table is new to the log.
    Create,
    /// Its columns or its key changed.
    Alter,
    /// It has another name.
    Rename,
    /// It is gone.
    Drop,
    /// Its rows are gone.
    Truncate,
}

impl SchemaChange {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Create, Self::Alter, Self::Rename, Self::Drop, Self::Truncate];

    /// The word used in metrics and docs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Alter => "alter",
            Self::Rename => "rename",
            Self::Drop => "drop",
            Self::Truncate => "truncate",
        }
    }

    /// What a frame says of the source's definition; `None` of a mark that replicator itself makes.
    pub fn of(change: &TableChange) -> Option<Self> {
        match change {
            TableChange::Schema { from: None, .. } => Some(Self::Create),
            // The same schema once more announces a table without rows.
            TableChange::Schema { from: Some(from), to, .. } => (from != to).then_some(Self::Alter),
            TableChange::Truncate { .. } => Some(Self::Truncate),
            TableChange::Drop { .. } => Some(Self::Drop),
            TableChange::Rename { .. } => Some(Self::Rename),
            TableChange::ReplaceBegin { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => None,
        }
    }
}

/// Changes of definitions since the start.
#[derive(Debug, Default)]
pub struct SchemaChanges([AtomicU64; SchemaChange::ALL.len()]);

impl SchemaChanges {
    /// Counts one.
    pub fn count(&self, change: SchemaChange) {
        for (kind, counter) in SchemaChange::ALL.iter().zip(&self.0) {
            if *kind == change {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (SchemaChange, u64)> {
        SchemaChange::ALL.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

/// The classes of errors, in the order in which they are shown.
const CLASSES: [ErrorClass; 3] = [ErrorClass::Retry, ErrorClass::Row, ErrorClass::Fatal];

/// The word for a class, used in metrics and docs.
pub(super) fn class_word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Retry => "retry",
        ErrorClass::Row => "row",
        ErrorClass::Fatal => "fatal",
    }
}

/// Errors since the start, by class.
#[derive(Debug, Default)]
pub struct Errors([AtomicU64; CLASSES.len()]);

impl Errors {
    /// Counts one.
    pub fn count(&self, class: ErrorClass) {
        for (kind, counter) in CLASSES.iter().zip(&self.0) {
            if *kind == class {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How many of each class.
    pub fn counts(&self) -> Vec<(ErrorClass, u64)> {
        CLASSES.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed))).collect()
    }

    /// How many in all.
    pub fn all(&self) -> u64 {
        self.0.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SchemaId, TableName};

    #[test]
    fn what_the_source_changed_counts_and_what_replicator_marks_does_not() {
        let table = TableName::new("shop", "users");
        let schema = |from| TableChange::Schema {
            table: table.clone(),
            from,
            to: SchemaId(2),
            renamed: Vec::new(),
            lost: false,
        };
        let cases = [
            (schema(None), Some(SchemaChange::Create)),
            (schema(Some(SchemaId(1))), Some(SchemaChange::Alter)),
            (schema(Some(SchemaId(2))), None),
            (TableChange::Truncate { table: table.clone() }, Some(SchemaChange::Truncate)),
            (TableChange::Drop { table: table.clone() }, Some(SchemaChange::Drop)),
            (
                TableChange::Rename { from: table.clone(), to: table.clone(), schema: SchemaId(2) },
                Some(SchemaChange::Rename),
            ),
            (TableChange::ReplaceEnd { table: table.clone() }, None),
            (TableChange::Gap { table, reason: "why".into() }, None),
        ];
        let changes = SchemaChanges::default();
        for (change, expected) in cases {
            assert_eq!(SchemaChange::of(&change), expected, "{change:?}");
            if let Some(kind) = expected {
                changes.count(kind);
            }
        }
        assert!(changes.counts().all(|(_, count)| count == 1));
    }
}
