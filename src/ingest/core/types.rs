//! Columns that the binlog calls `BINARY` and that are something else: MariaDB's `UUID`, `INET6` and `INET4`.
//!
//! A `TABLE_MAP` does not tell them from a `BINARY` of their length. What they are is known in one of these ways:
//! - The table's schema in the log has the column, and no statement since has touched its type.
//! - A statement of the stream gave the column its type: `CREATE TABLE`, `ADD`, `MODIFY`, `CHANGE`. What statements said since
//!   the schema is kept beside it in the log ([`crate::ingest::typed`]), so that a restart between them forgets nothing.
//! - Otherwise the server is asked. Its answer is true here if no statement between here and the answer changes the column, so the
//!   end of the binlog is noted with it. After a statement before that end that touches a column that was read as one of these types
//!   the table is read again: the rows since may have been read as another type than they had.
//! - A column that the server does not show any more is carried as the `BINARY` that the binlog calls it, with a warning. No byte is
//!   lost, and no row is wrong. That it is a guess is noted: the next statement about the table asks the server again.
//!
//! Where a column that was carried as a `BINARY` without certainty gets a type, the table is read again: its bytes do not say what the
//! server made of the older values.

use std::sync::Arc;

use tracing::warn;

use super::schema::lineage_of;
use super::{Core, Facts};
use crate::error::Failure;
use crate::ingest::ledger::Log;
use crate::ingest::lineage::{Came, Lineage};
use crate::ingest::tables::Definition;
use crate::ingest::typed::{Described, Known, Touched, Typed, touched};
use crate::model::{ColumnType, Origin, SourcePosition, TableName, TableSchema};
use crate::source::mysql::ddl::{AlterOps, TypeName};
use crate::source::mysql::schema::Flavour;

impl Facts {
    /// Whether a column that the binlog calls `BINARY(length)` may be something else on this server.
    fn may_hide(&self, length: u16) -> bool {
        self.flavour == Flavour::MariaDb
            && match length {
                // INET6 came with 10.5, UUID with 10.7, INET4 with 10.10.
                16 => self.version >= (10, 5, 0),
                4 => self.version >= (10, 10, 0),
                _ => false,
            }
    }

    /// The length of the `BINARY` that the binlog calls a column of this type, if the column may be something else.
    fn hidden_length(&self, ty: &ColumnType) -> Option<u16> {
        match ty.as_told() {
            ColumnType::Binary { length } if self.may_hide(length) => Some(length),
            _ => None,
        }
    }

    /// Whether any column of a schema may be something else than the binlog calls it.
    pub(super) fn hides_types(&self, schema: &TableSchema) -> bool {
        schema.columns.iter().any(|column| self.hidden_length(&column.ty).is_some())
    }
}

/// What is known of the types of a table's columns.
struct Types<'a> {
    typed: &'a Typed,
    before: Option<&'a Arc<TableSchema>>,
    lineage: Lineage,
}

impl Types<'_> {
    fn of(definition: &Definition) -> Types<'_> {
        let before = definition.current.as_ref().map(|current| &current.schema);
        let lineage = match before {
            Some(before) => lineage_of(definition, before),
            None => Lineage::follow([], &definition.steps),
        };
        Types { typed: &definition.typed, before, lineage }
    }

    fn known(&self, column: &str) -> Known {
        if self.lineage.doubtful() {
            return Known::Nothing;
        }
        self.typed.known(column, self.before.map(AsRef::as_ref), &self.lineage)
    }
}

impl<L: Log> Core<L> {
    /// `seen`, the schema of a `TABLE_MAP`, with the types that it calls `BINARY`, and the places of the columns whose type is not
    /// known.
    pub(super) fn resolve_types(&self, table: usize, seen: &TableSchema) -> (TableSchema, Vec<u16>) {
        let (mut schema, mut unknown) = (seen.clone(), Vec::new());
        if !self.facts.hides_types(seen) {
            return (schema, unknown);
        }
        let types = Types::of(self.definition(table));
        for (place, column) in schema.columns.iter_mut().enumerate() {
            let Some(length) = self.facts.hidden_length(&column.ty) else { continue };
            match types.known(&column.name).told(length) {
                Some(ty) => column.ty = ty,
                None => unknown.extend(u16::try_from(place)),
            }
        }
        (schema, unknown)
    }

    /// The columns of a table with their types, as a statement would list them; `None` where one of them is not known.
    pub(super) fn columns_of(&self, table: &TableName) -> Option<Vec<(String, TypeName)>> {
        let (_, definition) = self.find(table)?;
        let types = Types::of(definition);
        types.before?;
        let named = |name: String| {
            let ty = match types.known(&name) {
                Known::Is(ColumnType::Uuid) => TypeName::Uuid,
                Known::Is(ColumnType::Inet6) => TypeName::Inet6,
                Known::Is(ColumnType::Inet4) => TypeName::Inet4,
                Known::Is(_) | Known::SaidOther | Known::WasOther => TypeName::Other,
                Known::Nothing => return None,
            };
            Some((name, ty))
        };
        types.lineage.names().into_iter().map(named).collect()
    }

    /// Whether a description of the table agrees with what statements have said of its types.
    pub(super) fn allows(&self, table: usize, found: &TableSchema) -> bool {
        if self.facts.flavour != Flavour::MariaDb {
            return true;
        }
        let types = Types::of(self.definition(table));
        found.columns.iter().all(|column| types.known(&column.name).allows(&column.ty))
    }

    /// Records the types that `CREATE TABLE` lists.
    pub(super) fn create_types(&mut self, table: usize, columns: Option<&[(String, TypeName)]>) {
        let is_told = self.facts.flavour != Flavour::MariaDb;
        let typed = if is_told { Typed::default() } else { Typed::created(columns) };
        self.set_typed(table, typed);
    }

    pub(super) fn set_typed(&mut self, table: usize, typed: Typed) {
        if self.definition(table).typed != typed {
            self.redefine(table).typed = typed;
        }
    }

    /// Marks of descriptions hold for the server that gave them. `at` is where its stream was left; what it has not come to there is
    /// described until `end` of the server that is read now.
    pub(super) fn renew_marks(&mut self, at: &SourcePosition, end: &Described) {
        let marked: Vec<usize> = self
            .tables
            .iter()
            .filter(|(_, table)| table.definition.typed.is_described_by_another(&end.server))
            .map(|(index, _)| index)
            .collect();
        for table in marked {
            let mut typed = self.definition(table).typed.clone();
            let passed = typed.described_until().is_some_and(|mark| mark.is_reached(at));
            typed.describe_until((!passed).then(|| end.clone()));
            self.set_typed(table, typed);
        }
    }

    /// Follows the types through `ALTER TABLE`. Comes before its steps are recorded.
    pub(super) fn alter_types(&mut self, table: usize, ops: &AlterOps, origin: &Origin) -> Result<(), Failure> {
        if self.facts.flavour != Flavour::MariaDb {
            return Ok(());
        }
        self.check_description(table, origin, |column| touched(ops, column))?;
        let definition = self.definition(table);
        let types = Types::of(definition);
        let mut typed = definition.typed.clone();
        typed.follow(ops, types.before.map(|_| &types.lineage));
        self.set_typed(table, typed);
        Ok(())
    }

    /// After a statement that shows that rows may have been read as a type that came from the description of another definition, the
    /// table is read again. `touched`: what the statement may have done to the type of the column of this name.
    pub(super) fn check_description(
        &mut self,
        table: usize,
        origin: &Origin,
        touched: impl Fn(&str) -> Touched,
    ) -> Result<(), Failure> {
        let mut typed = self.definition(table).typed.clone();
        let at = origin.binlog();
        let passed =
            typed.described_until().is_some_and(|mark| (mark.file_number, mark.pos) < (at.file_number, at.pos));
        if passed {
            typed.describe_until(None);
            self.set_typed(table, typed.clone());
        }
        let types = Types::of(self.definition(table));
        let (mut is_described, mut is_retyped) = (false, false);
        for name in types.lineage.names() {
            let Some(Came::From(old)) = types.lineage.came(&name) else { continue };
            let column = types.before.and_then(|before| before.columns.get(before.column_index(old)?));
            let hidden = |column: &&crate::model::Column| self.facts.hidden_length(&column.ty).is_some();
            let Some(column) = column.filter(hidden) else { continue };
            let touched = touched(&name);
            let is_plain = column.ty.told_as_binary().is_none();
            if !is_plain && typed.described_until().is_some() && touched != Touched::Not {
                is_described = true;
            } else if is_plain && (typed.described_until().is_some() || typed.is_guess(&name)) {
                is_retyped |= touched == Touched::Retyped;
            }
        }
        let name = self.tables.at(table).name.clone();
        if is_described || is_retyped {
            self.reread(&name, true, "the type of a column before a statement changed it is not known", origin)?;
        }
        Ok(())
    }
}

/// Gives the columns at `unknown` the types that the server describes. Returns the names of those that it does not show, which stay as
/// the binlog calls them.
pub(super) fn take_described(
    schema: &mut TableSchema,
    unknown: &[u16],
    described: Option<&TableSchema>,
) -> Vec<String> {
    let mut guessed = Vec::new();
    for place in unknown {
        let Some(column) = schema.columns.get_mut(usize::from(*place)) else { continue };
        let found = described.and_then(|found| found.columns.get(found.column_index(&column.name)?));
        match found.filter(|found| found.ty.as_told() == column.ty) {
            Some(found) => column.ty = found.ty.clone(),
            None => guessed.push(column.name.clone()),
        }
    }
    guessed
}

/// Says which columns are carried as the binlog calls them.
pub(super) fn warn_of_guesses(table: &TableName, columns: &[String]) {
    for column in columns {
        warn!(
            %table,
            %column,
            "whether this column is a BINARY, a UUID, an INET6 or an INET4 here cannot be known from the binlog, and the server does \
             not show it any more; it is carried as a BINARY, with the bytes that the binlog holds"
        );
    }
}
