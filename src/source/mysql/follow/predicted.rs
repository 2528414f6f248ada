//! What statements make of a table's schema, where their text alone decides all of it.
//!
//! A description of the server holds where the binlog ended then, which may be far from the stream, and shows what later statements
//! have made of the table. So it is not known to hold here, unless it is what the statements up to here come to: then the stream need
//! not come to its place first.
//!
//! What is adopted then is the prediction, and not the description: of what a statement does not say (the collation of a text), the
//! description may show what a later one made of it.

use std::sync::Arc;

use super::known::Followed;
use super::lineage::same;
use super::mapped::Dialect;
use super::typed::Typed;
use crate::model::{Column, ColumnDefault, ColumnType, Key, KeyKind, TableName, TableSchema};
use crate::source::mysql::ddl::{AlterOp, AlterOps, Definition, Place, Stated, StatedTable};
use crate::source::mysql::schema::Flavour;

impl Followed {
    /// Whether it is known what the statements since the last schema come to.
    pub fn is_predicted(&self) -> bool {
        self.predicted.is_some()
    }

    /// The schema that the statements since the last one come to, if that is what a description shows.
    pub fn confirmed(&self, found: &TableSchema) -> Option<TableSchema> {
        let predicted = self.predicted.as_ref()?;
        is_shown(predicted, found).then(|| TableSchema::clone(predicted))
    }

    /// `CREATE TABLE` with this list was read. `definitions`: what it says of its columns, if it made the table.
    pub fn predict_created(
        &mut self,
        name: &TableName,
        stated: Option<&StatedTable>,
        definitions: &[(String, Definition)],
        dialect: Dialect,
    ) {
        self.predicted = stated.and_then(|stated| created(name, stated, definitions, dialect)).map(Arc::new);
    }

    /// What is predicted after another statement. `typed`: what is known of the types when it comes.
    pub(super) fn predicted_after(&self, ops: &AlterOps, typed: &Typed, dialect: Dialect) -> Option<Arc<TableSchema>> {
        let AlterOps::Known(ops) = ops else { return None };
        let is_exact = self.is_as_described() && !self.typed.has_guesses() && typed.described_until().is_none();
        let before = match &self.current {
            Some(current) if is_exact && current.lacks.is_nothing() => &current.schema,
            _ => self.predicted.as_ref()?,
        };
        Draft::of(before, dialect).altered(ops).map(Arc::new)
    }
}

/// Whether a description shows this schema. What is not known of it, it may show.
fn is_shown(predicted: &TableSchema, found: &TableSchema) -> bool {
    predicted.same_image(found)
        && predicted.key == found.key
        && predicted.columns.iter().zip(&found.columns).all(|(ours, found)| {
            (ours.attributes.is_none() || ours.attributes == found.attributes)
                && (ours.collation.is_none() || ours.collation == found.collation)
        })
}

fn created(
    name: &TableName,
    stated: &StatedTable,
    definitions: &[(String, Definition)],
    dialect: Dialect,
) -> Option<TableSchema> {
    // Without a primary key a unique one may identify rows, or one that the server makes.
    if stated.primary.is_empty() || definitions.len() != stated.columns.len() {
        return None;
    }
    let is_key = |column: &str| stated.primary.iter().any(|key| same(key, column));
    let columns = stated
        .columns
        .iter()
        .zip(definitions)
        .map(|((name, stated), (_, definition))| {
            let nullable = if is_key(name) { false } else { is_nullable(stated)? };
            column(name, stated, definition, nullable, dialect)
        })
        .collect::<Option<Vec<Column>>>()?;
    let mut schema = TableSchema { name: name.clone(), columns, key: None };
    let place = |name: &String| u16::try_from(schema.column_index(name)?).ok();
    let key: Vec<u16> = stated.primary.iter().map(place).collect::<Option<_>>()?;
    schema.key = Some(Key { kind: KeyKind::Primary, columns: key });
    Some(schema)
}

/// Whether a column allows `NULL` that is not one of the key.
fn is_nullable(stated: &Stated) -> Option<bool> {
    // A setting decides what a TIMESTAMP allows.
    let by_itself = !matches!(stated.ty, ColumnType::Timestamp { .. });
    stated.nullable.or(by_itself.then_some(true))
}

fn column(name: &str, stated: &Stated, definition: &Definition, nullable: bool, dialect: Dialect) -> Option<Column> {
    if stated.ty == ColumnType::Json && dialect.flavour == Flavour::MariaDb {
        return None;
    }
    Some(Column {
        name: name.to_owned(),
        ty: stated.ty.clone(),
        nullable,
        default: ColumnDefault::Unknown,
        attributes: Some(definition.attributes.clone()),
        collation: None,
    })
}

/// A column of a table that is being altered.
#[derive(Clone)]
struct Slot {
    column: Column,
    /// Its place in the key.
    key: Option<usize>,
    /// An operation of the statement is about it.
    is_met: bool,
}

/// A table that is being altered.
struct Draft<'b> {
    before: &'b TableSchema,
    dialect: Dialect,
    /// The older columns that stay, by their names before; one that gets a place leaves the list.
    slots: Vec<(String, Slot)>,
    /// Columns that get a place, or come behind the others, in the order of the statement.
    moving: Vec<(Slot, Option<Place>)>,
    /// Names that a column loses or gets.
    renamed: Vec<String>,
    /// Columns that were there and get a place.
    moved: Vec<String>,
}

impl<'b> Draft<'b> {
    fn of(before: &'b TableSchema, dialect: Dialect) -> Self {
        let key_place = |place: usize| {
            let columns = &before.key.as_ref()?.columns;
            columns.iter().position(|column| usize::from(*column) == place)
        };
        let slot = |(place, column): (usize, &Column)| {
            (column.name.clone(), Slot { column: column.clone(), key: key_place(place), is_met: false })
        };
        let slots = before.columns.iter().enumerate().map(slot).collect();
        Self { before, dialect, slots, moving: Vec::new(), renamed: Vec::new(), moved: Vec::new() }
    }

    fn altered(mut self, ops: &[AlterOp]) -> Option<TableSchema> {
        for op in ops {
            self.take(op)?;
        }
        let is_computed = |column: &Column| column.attributes.as_ref().is_some_and(|known| known.generated.is_some());
        let Self { before, slots, moving, renamed, moved, .. } = self;
        let mut after: Vec<Slot> = slots.into_iter().map(|(_, slot)| slot).collect();
        for (slot, place) in moving {
            let at = match place {
                None => after.len(),
                Some(Place::First) => 0,
                Some(Place::After(name)) => {
                    // Whether the name, or the place, before or after the statement is meant is not looked into.
                    let is_clear = !renamed.iter().chain(&moved).any(|other| same(other, &name));
                    after.iter().position(|there| is_clear && same(&there.column.name, &name))? + 1
                }
            };
            after.insert(at, slot);
        }
        // The server writes an expression again, with the current names.
        if !renamed.is_empty() && after.iter().any(|slot| is_computed(&slot.column)) {
            return None;
        }
        let key = match &before.key {
            None => None,
            Some(key) => {
                let place = |wanted: usize| u16::try_from(after.iter().position(|slot| slot.key == Some(wanted))?).ok();
                let columns = (0..key.columns.len()).map(place).collect::<Option<_>>()?;
                Some(Key { kind: key.kind, columns })
            }
        };
        let columns = after.into_iter().map(|slot| slot.column).collect();
        Some(TableSchema { name: before.name.clone(), columns, key })
    }

    /// Takes in one operation; `None` where its text does not decide what it makes.
    fn take(&mut self, op: &AlterOp) -> Option<()> {
        match op {
            AlterOp::AddColumn { name, if_not_exists, definition, stated, .. } => {
                self.add(name, *if_not_exists, definition, stated.as_deref()?)
            }
            AlterOp::DropColumn { name } => self.drop_column(name),
            AlterOp::RenameColumn { from, to } => {
                let at = self.meet(from)?;
                let (_, slot) = self.slots.get_mut(at)?;
                slot.column.name.clone_from(to);
                self.renamed.extend([from.clone(), to.clone()]);
                Some(())
            }
            AlterOp::ChangeColumn { from, to, if_exists, definition, stated, .. } => {
                self.define((from, to), *if_exists, definition, stated.as_deref()?)
            }
            AlterOp::ModifyColumn { name, if_exists, definition, stated, .. } => {
                self.define((name, name), *if_exists, definition, stated.as_deref()?)
            }
            // Its new name is given to it by itself.
            AlterOp::RenameTo(_) | AlterOp::Other => Some(()),
            AlterOp::ConvertCharset
            | AlterOp::PrimaryKeyChanged
            | AlterOp::IndexChanged
            | AlterOp::Period
            | AlterOp::SystemVersioningChanged { .. }
            | AlterOp::Engine(_)
            | AlterOp::Sequence(_)
            | AlterOp::Union(_)
            | AlterOp::RowsChangedUnseen { .. } => None,
        }
    }

    /// The place of an older column of which no operation was about.
    fn meet(&mut self, name: &str) -> Option<usize> {
        let at = self.slots.iter().position(|(there, _)| same(there, name))?;
        let (_, slot) = self.slots.get_mut(at).filter(|(_, slot)| !slot.is_met)?;
        slot.is_met = true;
        Some(at)
    }

    fn is_keyed(&self) -> bool {
        self.before.key.as_ref().is_some_and(|key| key.kind == KeyKind::Primary)
    }

    fn add(&mut self, name: &str, if_not_exists: bool, definition: &Definition, stated: &Stated) -> Option<()> {
        if if_not_exists && self.before.column_index(name).is_some() {
            // One that goes in the same statement may count as there or not.
            return self.slots.iter().any(|(there, slot)| same(there, name) && !slot.is_met).then_some(());
        }
        let column = column(name, stated, definition, is_nullable(stated)?, self.dialect)?;
        self.moving.push((Slot { column, key: None, is_met: true }, stated.place.clone()));
        Some(())
    }

    fn drop_column(&mut self, name: &str) -> Option<()> {
        let at = self.meet(name)?;
        let (_, slot) = self.slots.remove(at);
        // A unique key that is left with fewer columns may identify rows where none did before.
        (slot.key.is_none() && self.is_keyed()).then_some(())
    }

    fn define(
        &mut self,
        (from, to): (&str, &str),
        if_exists: bool,
        definition: &Definition,
        stated: &Stated,
    ) -> Option<()> {
        if if_exists && self.before.column_index(from).is_none() {
            return Some(());
        }
        let (at, is_keyed) = (self.meet(from)?, self.is_keyed());
        let (_, slot) = self.slots.get_mut(at)?;
        let nullable = match slot.key {
            // Whether a column of the key is not null by itself depends on what the key is.
            Some(_) => stated.nullable.filter(|nullable| !nullable && is_keyed)?,
            None => is_nullable(stated)?,
        };
        // A unique key may identify rows once none of its columns is null.
        if slot.column.nullable && !nullable && !is_keyed {
            return None;
        }
        slot.column = column(to, stated, definition, nullable, self.dialect)?;
        if from != to {
            self.renamed.extend([from.to_owned(), to.to_owned()]);
        }
        if stated.place.is_some() {
            let (_, slot) = self.slots.remove(at);
            self.moved.push(to.to_owned());
            self.moving.push((slot, stated.place.clone()));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
