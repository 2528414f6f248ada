//! The shape of a target table: which columns it has, under which names and of which types, and what its key is. Every sink lays its tables
//! out here; what is the target's own is its [`Dialect`].
//!
//! A layout follows from the source's schema, the table's options and the target's name alone, so that a restart can compute the layout of a
//! table it finds. What cannot be laid out is refused by name here, before anything is created: it is about that table alone.

use std::fmt::Debug;

use wal::Lsn;

use super::columns::{Kept, NameRule, check_names, kept, key_of, marks};
use crate::config::{Deletion, Keyless, Mode, SinkPlan, TableOptions};
use crate::error::Failure;
use crate::model::{Column, TableName, TableSchema};

/// Names of tables that begin so are the sink's own, at every target.
pub(super) const RESERVED: &str = "_replicator_";

/// Where a column stands, as far as its type depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a mirror's key.
    Key,
    /// Anywhere else in a mirror.
    Plain,
    /// One side of a changelog's column, which the other side's rows leave empty.
    HistorySide,
}

/// What is a target's own in the shape of its tables.
pub(super) trait Dialect: Send + Sync {
    /// The type of a column at the target.
    type Type: TargetType;

    /// When the target takes two names of columns for one.
    const COLUMNS: NameRule;
    /// When it takes two names of tables for one.
    const TABLES: NameRule;
    /// Whether the columns of a key can get another name in place.
    const RENAMES_KEYS: bool;
    /// Whether the rows of a mirror without a key can be told apart, by all their values.
    const MIRRORS_KEYLESS: bool;

    /// The type of a column; refused where the target has none.
    fn type_of(&self, table: &TableName, column: &Column, place: Place) -> Result<Self::Type, Failure>;

    /// Whether a table of this name cannot be made at the target, besides those of [`RESERVED`].
    fn is_reserved(&self, target: &str) -> bool;

    /// What the target alone refuses of a layout: names that are its own, too many columns, no key.
    fn check(&self, table: &TableName, layout: &Layout<Self::Type>) -> Result<(), Failure>;

    /// Names of the columns that a table of this layout has, those of the sink's own included.
    fn column_names(&self, layout: &Layout<Self::Type>) -> Vec<String>;

    /// What becomes of a column's type when its definition changes. `from` and `to` are the columns at the source and the types at the
    /// target.
    fn retype(&self, mode: Mode, from: (&Column, &Self::Type), to: (&Column, &Self::Type)) -> Retype;
}

/// What the configuration says of a table, at a target whose types are `D`. A table without a key may be kept as a history where it cannot be
/// mirrored.
pub(super) fn options_for<D: Dialect>(plan: &SinkPlan, name: &TableName, schema: Option<&TableSchema>) -> TableOptions {
    let mut options = plan.options_for(name);
    if !D::MIRRORS_KEYLESS && options.keyless == Keyless::History && schema.is_some_and(|schema| schema.key.is_none()) {
        options.mode = Mode::History;
    }
    options
}

/// A column's type as it is written down.
pub(super) trait TargetType: Clone + Debug + PartialEq + Eq + Send + Sync {
    /// For the registry, and for messages.
    fn text(&self) -> String;

    /// From the registry.
    fn parse(text: &str) -> Option<Self>;
}

/// What a target has to do about a column whose definition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retype {
    /// Nothing: type and values are what they were.
    Nothing,
    /// Another type that holds every value as it is.
    InPlace,
    /// The values have to be written in another form.
    Rewrite,
}

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout<T> {
    /// Its name.
    pub(super) target: String,
    /// State or changelog.
    pub(super) mode: Mode,
    /// The column that marks softly deleted rows.
    pub(super) soft: Option<String>,
    /// The columns that are kept, in the source's order.
    pub(super) columns: Vec<TargetColumn<T>>,
    /// Places of the key's columns in `columns`, in key order; empty for a changelog, and for rows that are told apart by all their values.
    pub(super) key: Vec<usize>,
}

/// A column of a target table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetColumn<T> {
    /// Its place in the source's schema.
    pub(super) source: usize,
    /// Its name in the target; in a changelog, behind `before_` and `after_`.
    pub(super) name: String,
    /// Its type there.
    pub(super) ty: T,
}

impl<T: TargetType> Layout<T> {
    /// Lays out `schema`.
    ///
    /// # Errors
    /// About this table alone.
    pub(super) fn new<D: Dialect<Type = T>>(
        dialect: &D,
        schema: &TableSchema,
        options: &TableOptions,
        target: String,
    ) -> Result<Self, Failure> {
        let table = &schema.name;
        if target.is_empty() || target.starts_with(RESERVED) || target.contains('\0') || dialect.is_reserved(&target) {
            return Err(Failure::row(format!(
                "{table} would be written to a table named \"{target}\", which is reserved"
            ))
            .hint("set another `table_name` for the sink, for example \"copy_{table}\""));
        }
        let kept = kept(schema, options);
        let mirror = options.mode == Mode::Mirror;
        let soft = (mirror && options.deletion == Deletion::Soft).then(|| options.soft_delete_column.clone());
        check_names(table, kept.iter().map(|column| column.name.as_str()), soft.as_deref(), D::COLUMNS)?;
        let sources: Vec<usize> = kept.iter().map(|column| column.source).collect();
        let key = if mirror { key_of(schema, &sources)? } else { Vec::new() };
        let mut columns = Vec::with_capacity(kept.len());
        for (at, Kept { source, column, name }) in kept.into_iter().enumerate() {
            let place = match (mirror, key.contains(&at)) {
                (false, _) => Place::HistorySide,
                (true, true) => Place::Key,
                (true, false) => Place::Plain,
            };
            columns.push(TargetColumn { source, name, ty: dialect.type_of(table, column, place)? });
        }
        let layout = Self { target, mode: options.mode, soft, columns, key };
        dialect.check(table, &layout)?;
        Ok(layout)
    }
}

impl<T> Layout<T> {
    /// The key's columns in key order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &TargetColumn<T>> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    /// Marks the source's columns that are kept.
    pub(super) fn wanted(&self, source_columns: usize) -> Vec<bool> {
        marks(self.columns.iter().map(|column| column.source), source_columns)
    }

    /// Marks the source's columns that make the key.
    pub(super) fn wanted_key(&self, source_columns: usize) -> Vec<bool> {
        marks(self.key_columns().map(|column| column.source), source_columns)
    }

    /// Whether the table holds what no read of the source brings again: every change of a changelog, the rows that were softly deleted.
    pub(super) fn is_kept(&self) -> bool {
        self.mode == Mode::History || self.soft.is_some()
    }
}

/// A changelog's column for the value before the change.
pub(super) fn before(column: &str) -> String {
    format!("before_{column}")
}

/// A changelog's column for the value after the change.
pub(super) fn after(column: &str) -> String {
    format!("after_{column}")
}

/// The columns that one column of the source has: itself, or its two sides.
pub(super) fn sides(mode: Mode) -> &'static [fn(&str) -> String] {
    match mode {
        Mode::Mirror => &[str::to_owned],
        Mode::History => &[before, after],
    }
}

/// The name of a copy that is built beside the one that has this name. Neither a source's table nor anybody else's may have it.
pub(super) fn beside(target: &str) -> String {
    format!("{RESERVED}new_{target}")
}

/// The name under which the values of a column are kept that another one follows from the change at `lsn` on; also the name under which a
/// copy is kept in whose place another one is.
pub(super) fn until(name: &str, lsn: Lsn) -> String {
    format!("{name}_until_{lsn}")
}
