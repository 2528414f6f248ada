//! What is known of a table's definition at a place of the stream: a value.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lineage::{ColumnSteps, Lineage};
use super::mapped::Dialect;
use super::typed::{Described, Typed};
use crate::codec::row_image::Plan;
use crate::error::Failure;
use crate::model::{KeyKind, Lacks, SchemaId, TableSchema, Told};

/// A schema with what reading its images needs.
#[derive(Clone, Debug)]
pub struct Current {
    /// Its id in the log.
    pub id: SchemaId,
    /// The schema.
    pub schema: Arc<TableSchema>,
    /// How its images are read.
    pub plan: Arc<Plan>,
    /// What is not known of it, while it is asked for: then it is a schema as the binlog tells it ([`Told`]).
    pub lacks: Lacks,
}

impl Current {
    /// A schema under its id.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn new(id: SchemaId, schema: TableSchema) -> Result<Self, Failure> {
        Self::told(id, Told::whole(schema))
    }

    /// What the binlog tells of a schema, under the id that it has once it is known.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn told(id: SchemaId, Told { schema, lacks }: Told) -> Result<Self, Failure> {
        let plan = Arc::new(compile(&schema)?);
        Ok(Self { id, schema: Arc::new(schema), plan, lacks })
    }

    /// Whether images under it are those of `schema`.
    pub fn has_images_of(&self, schema: &TableSchema) -> bool {
        if self.lacks.is_nothing() {
            return self.schema.same_image(schema);
        }
        let told = Told { schema: TableSchema::clone(&self.schema), lacks: self.lacks };
        told.fits(schema, false) == Some(0)
    }

    /// Its schema with what `found`, which has the same image, says beside it.
    pub(super) fn learn(&self, found: &TableSchema) -> Self {
        let mut schema = TableSchema::clone(&self.schema);
        for (column, found) in schema.columns.iter_mut().zip(&found.columns) {
            if found.attributes.is_some() {
                column.attributes.clone_from(&found.attributes);
            }
            column.collation = found.collation.or(column.collation);
        }
        let schema = if schema == *self.schema { Arc::clone(&self.schema) } else { Arc::new(schema) };
        Self { schema, plan: Arc::clone(&self.plan), ..*self }
    }

    /// Whether `found`, which has the same image, says nothing that is not known.
    pub fn knows(&self, found: &TableSchema) -> bool {
        Arc::ptr_eq(&self.learn(found).schema, &self.schema)
    }

    /// Whether rows of which the binlog tells this are decoded as what they are, and how many of their columns, the last ones, the server
    /// keeps for itself.
    pub fn is_told_as(&self, told: &Told, dialect: Dialect) -> Option<usize> {
        if !told.is_whole() {
            return told.fits(&self.schema, dialect.hides_columns());
        }
        let (ours, theirs) = (&self.schema.columns, &told.schema.columns);
        let is_same =
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, seen)| ours.ty.as_told() == seen.ty);
        is_same.then_some(0)
    }

    /// Whether its key is one that a `TABLE_MAP` names.
    fn has_primary_key(&self) -> bool {
        self.schema.key.as_ref().is_some_and(|key| key.kind == KeyKind::Primary)
    }
}

/// Compiles the plan of a schema.
///
/// # Errors
/// Fatal, by table and column, for a column that cannot be read.
pub fn compile(schema: &TableSchema) -> Result<Plan, Failure> {
    Plan::all(schema).map_err(|error| {
        Failure::fatal(format!("table '{}' cannot be captured", schema.name)).caused_by(error).hint(format!(
            "leave the table out with source.exclude: [\"{}\"], or change the column's type",
            schema.name
        ))
    })
}

/// How a table's schema is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provenance {
    /// A `TABLE_MAP` has it.
    #[default]
    TableMap,
    /// The server described it, at a place that the stream has come to.
    Description,
    /// A statement made it of a schema that was known.
    Statement,
}

/// What statements since a table's schema have done to it, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may hold with any other")]
pub struct Since {
    /// How the schema before them is known.
    pub provenance: Provenance,
    /// What they have done to its columns, in order.
    pub steps: Vec<ColumnSteps>,
    /// A statement could not be read: existing rows are read again once the schema is known.
    pub unreadable: bool,
    /// Rows under a later schema were left out, and the schema with them.
    pub left_out: bool,
    /// A statement may have changed a unique key that the binlog does not name: it has to be asked for.
    pub key_unknown: bool,
    /// A statement about the table was read, and what it made of the table is not known.
    pub unsettled: bool,
}

/// What is known of a table's definition.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    /// The schema of its last rows, or of its last description; `None`: there is none yet.
    pub(super) current: Option<Current>,
    pub(super) since: Since,
    /// What statements since have said of types that the binlog does not name.
    pub(super) typed: Typed,
    /// What the statements since have made of the schema, where their text alone decides all of it. Not stored: after a start a
    /// description waits until the stream has come to its place.
    pub(super) predicted: Option<Arc<TableSchema>>,
}

impl Followed {
    /// As it is stored.
    pub fn stored(current: Option<Current>, since: Since) -> Self {
        Self { current, since, ..Self::default() }
    }

    /// The schema of its last rows, or of its last description.
    pub fn current(&self) -> Option<&Current> {
        self.current.as_ref()
    }

    /// Its schema is this one, with everything that statements have done since.
    pub fn is_now(&mut self, current: Option<Current>) {
        self.predicted = self.predicted.take().zip(current.as_ref()).map(|(predicted, current)| {
            Arc::new(TableSchema { name: current.schema.name.clone(), ..TableSchema::clone(&predicted) })
        });
        self.current = current;
    }

    /// What statements have done to the schema since.
    pub fn since(&self) -> &Since {
        &self.since
    }

    /// What statements have said of types since.
    pub fn typed(&self) -> &Typed {
        &self.typed
    }

    /// The types are known like this.
    pub fn set_typed(&mut self, typed: Typed) {
        self.typed = typed;
    }

    /// Whether a table that is `found` at a place to which the stream has come is another one than is known, without a statement that has
    /// changed it.
    pub fn differs_unexplained(&self, found: &TableSchema) -> bool {
        let found = self.with_guesses(found);
        let is_other = |current: &Current| !current.schema.same_image(&found) || current.schema.key != found.key;
        self.is_as_described() && self.has_names() && self.current.as_ref().is_some_and(is_other)
    }

    /// Whether images of `found` are others than those that are known, without a statement that has changed the table.
    pub fn has_other_images(&self, found: &TableSchema) -> bool {
        let found = self.with_guesses(found);
        let is_other = |current: &Current| !current.schema.same_image(&found);
        self.is_as_described() && self.has_names() && self.current.as_ref().is_some_and(is_other)
    }

    /// The schema with the columns of which nobody could tell the type as they are known: such a type is not compared.
    fn with_guesses<'f>(&self, found: &'f TableSchema) -> Cow<'f, TableSchema> {
        let Some(current) = self.current.as_ref().filter(|_| self.typed.has_guesses()) else {
            return Cow::Borrowed(found);
        };
        let mut found = found.clone();
        for column in found.columns.iter_mut().filter(|column| self.typed.is_guess(&column.name)) {
            let known = current.schema.column_index(&column.name).and_then(|place| current.schema.columns.get(place));
            if let Some(known) = known.filter(|known| known.ty.as_told() == column.ty.as_told()) {
                column.ty = known.ty.clone();
            }
        }
        Cow::Owned(found)
    }

    /// Whether its schema, or a statement about it, is known.
    pub fn is_met(&self) -> bool {
        let Since { steps, unreadable, left_out, unsettled, .. } = &self.since;
        self.current.is_some() || !steps.is_empty() || *unreadable || *left_out || *unsettled || !self.typed.is_empty()
    }

    /// Whether a statement about the table was read whose result is not known, or a type of it is not.
    pub fn is_unsettled(&self) -> bool {
        let Since { unreadable, left_out, unsettled, .. } = self.since;
        unsettled || unreadable || left_out || self.typed.has_guesses()
    }

    /// Whether no statement about the table was read since its schema.
    pub fn is_as_described(&self) -> bool {
        self.is_untouched() && !self.since.key_unknown
    }

    /// Whether no statement about the table was read since its schema, of which the key may still be asked for.
    pub(super) fn is_untouched(&self) -> bool {
        let Since { steps, unreadable, left_out, unsettled, .. } = &self.since;
        steps.is_empty() && !unreadable && !left_out && !unsettled
    }

    /// Whether sinks may have something of the table: its schema, or a statement about it.
    pub fn may_be_copied(&self) -> bool {
        let Since { unreadable, left_out, unsettled, .. } = self.since;
        self.current.is_some() || unreadable || left_out || unsettled
    }

    /// Whether its schema was left out or could not be read, so that what the sinks have of it is of no use to a read.
    pub fn is_lost(&self) -> bool {
        self.since.left_out || self.since.unreadable
    }

    /// Whether a statement about the table could not be read, and no later word has said what it made of the table.
    pub fn is_unread(&self) -> bool {
        self.since.unreadable
    }

    /// A statement about the table was read, and what it made of the table is not known.
    pub fn unsettle(&mut self) {
        self.predicted = None;
        self.since.unsettled = true;
    }

    /// The server has said that it is no table that can be copied.
    pub fn is_no_matter(&mut self) {
        self.since.unsettled = false;
    }

    /// The server has said which key there is.
    pub fn know_key(&mut self) {
        self.since.key_unknown = false;
    }

    /// Rows under its schema are left out. `before`: the last schema that is not.
    pub fn leave_out(&mut self, before: Option<Current>) {
        self.current = before;
        self.predicted = None;
        self.since.steps.clear();
        self.since.left_out = true;
    }

    /// Whether a statement may have changed a key that the binlog does not name.
    pub fn is_key_unknown(&self) -> bool {
        self.since.key_unknown
    }

    /// Where the columns come from that the table has now.
    pub(super) fn lineage(&self) -> Lineage {
        let before = self.current.iter().flat_map(|current| &current.schema.columns);
        Lineage::follow(before.map(|column| column.name.as_str()), &self.since.steps)
    }

    /// Whether the columns of its schema have their names.
    pub(super) fn has_names(&self) -> bool {
        self.current.as_ref().is_none_or(|current| !current.lacks.names)
    }

    /// Its schema, if a `TABLE_MAP` names its key.
    pub(super) fn has_primary_key(&self) -> bool {
        self.current.as_ref().is_some_and(Current::has_primary_key)
    }

    /// The pending schema that is current is known. `described`: where the binlog ended when the server said its types, if it did.
    pub fn complete(&mut self, current: Current, described: Option<Described>, guessed: Vec<String>) {
        if !self.current.as_ref().is_none_or(|current| current.lacks.is_nothing()) {
            self.since.provenance = Provenance::Description;
        }
        self.current = Some(current);
        self.predicted = None;
        self.since.key_unknown = false;
        if described.is_some() {
            self.typed.describe_until(described);
        }
        self.typed.guess(guessed);
    }
}
