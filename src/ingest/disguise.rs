//! Columns that the binlog calls `BINARY` and that are something else: MariaDB's `UUID`, `INET6` and `INET4`.
//!
//! A `TABLE_MAP` does not tell them from a `BINARY` of their length. What they are is known in one of these ways, and where it
//! is not, the stream stops by the column's name:
//! - The table's schema in the log has the column, and no statement since has touched its type.
//! - A statement of the stream gave the column its type: `CREATE TABLE`, `ADD`, `MODIFY`, `CHANGE`. What statements said since
//!   the schema is kept beside it in the log ([`super::typed`]), so a restart between them forgets nothing.
//! - Of a table met for the first time, the server's description of now. It is true here if no statement between here and now
//!   changes the column. So the end of the binlog is noted with it, and a statement before that end that touches such a
//!   column stops the stream: the rows since may have been read as another type than they had.

use std::sync::Arc;

use super::lineage::{ColumnSteps, Lineage};
use super::registry::Registry;
use super::session::Session;
use super::typed::{Known, touches};
use super::writer::LogWriter;
use crate::error::Failure;
use crate::model::{ColumnType, Origin, TableName, TableSchema};
use crate::source::mysql::ddl::{AlterOps, TypeName};
use crate::source::mysql::server::{Flavour, ServerInfo};

/// Whether a column that the binlog calls `BINARY(length)` may be something else on this server.
fn may_be_disguised(server: &ServerInfo, length: u16) -> bool {
    server.flavour == Flavour::MariaDb
        && match length {
            // INET6 came with 10.5, UUID with 10.7, INET4 with 10.10.
            16 => server.version >= (10, 5, 0),
            4 => server.version >= (10, 10, 0),
            _ => false,
        }
}

/// Places of the columns of `schema` that the binlog calls `BINARY` and that may be something else, with their lengths.
fn doubtful(server: &ServerInfo, schema: &TableSchema) -> Vec<(usize, u16)> {
    let length = |ty: &ColumnType| match ty.as_told() {
        ColumnType::Binary { length } if may_be_disguised(server, length) => Some(length),
        _ => None,
    };
    let columns = schema.columns.iter().enumerate();
    columns.filter_map(|(place, column)| Some((place, length(&column.ty)?))).collect()
}

impl Registry {
    /// What the schema, the statements since, and `steps`, which are still to be noted, say of a column's type.
    fn known_type(&mut self, table: &TableName, column: &str, steps: Option<&ColumnSteps>) -> Known {
        let entry = self.entry(table);
        let before = entry.current.as_ref().map(|current| current.schema.as_ref());
        let names = before.into_iter().flat_map(|schema| &schema.columns).map(|column| column.name.as_str());
        let lineage = Lineage::follow(names, entry.steps.iter().chain(steps));
        if lineage.doubtful() {
            return Known::Nothing;
        }
        entry.typed.known(column, before, &lineage)
    }

    /// The columns of a table with their types, as a statement would list them; `None` where one of them is not known.
    pub(super) fn columns_of(&mut self, table: &TableName) -> Option<Vec<(String, TypeName)>> {
        let entry = self.entry(table);
        let before = Arc::clone(&entry.current.as_ref()?.schema);
        let names = before.columns.iter().map(|column| column.name.as_str());
        let lineage = Lineage::follow(names, &entry.steps);
        if lineage.doubtful() {
            return None;
        }
        let typed = entry.typed.clone();
        let named = |name: String| {
            let ty = match typed.known(&name, Some(&before), &lineage) {
                Known::Is(ColumnType::Uuid) => TypeName::Uuid,
                Known::Is(ColumnType::Inet6) => TypeName::Inet6,
                Known::Is(ColumnType::Inet4) => TypeName::Inet4,
                Known::Is(_) | Known::SaidOther | Known::WasOther => TypeName::Other,
                Known::Nothing => return None,
            };
            Some((name, ty))
        };
        lineage.names().into_iter().map(named).collect()
    }

    /// Takes note of what a statement says of the types of a table's columns. Comes before its steps are noted.
    fn follow_types(&mut self, table: &TableName, ops: &AlterOps, writer: &mut LogWriter) -> Result<(), Failure> {
        let entry = self.entry(table);
        let mut typed = entry.typed.clone();
        let lineage = entry.current.as_ref().map(|current| {
            let names = current.schema.columns.iter().map(|column| column.name.as_str());
            Lineage::follow(names, &entry.steps)
        });
        typed.follow(ops, lineage.as_ref());
        self.set_typed(table, typed, writer)
    }
}

impl Session<'_> {
    /// `seen`, the schema of a `TABLE_MAP`, with the types that it calls `BINARY`, and the columns of which they are not known.
    pub(super) fn undisguised(&mut self, seen: &TableSchema) -> (TableSchema, Vec<usize>) {
        let (mut schema, mut unknown) = (seen.clone(), Vec::new());
        for (place, length) in doubtful(&self.server, seen) {
            let Some(column) = schema.columns.get_mut(place) else { continue };
            match self.ctx.registry.known_type(&seen.name, &column.name, None).told(length) {
                Some(ty) => column.ty = ty,
                None => unknown.push(place),
            }
        }
        (schema, unknown)
    }

    /// Whether `found`, a description of the table by the server, has the types that the statements have said up to here, of which
    /// the last one's `steps` are not noted yet.
    pub(super) fn agrees_on_types(&mut self, found: &TableSchema, steps: &ColumnSteps) -> bool {
        let registry = &mut self.ctx.registry;
        self.server.flavour != Flavour::MariaDb
            || found
                .columns
                .iter()
                .all(|column| registry.known_type(&found.name, &column.name, Some(steps)).allows(&column.ty))
    }

    /// Takes note that types of the table's schema are those of the server's description of now.
    pub(super) async fn described_now(&mut self, table: &TableName) -> Result<(), Failure> {
        let Some(current) = self.ctx.registry.current(table) else { return Ok(()) };
        if doubtful(&self.server, &current.schema).is_empty() {
            return Ok(());
        }
        let end = self.binlog_end().await?;
        let number = end.file_number().ok_or_else(|| {
            Failure::fatal(format!("cannot order binlog file '{}': its name has no number", end.file))
        })?;
        let mut typed = self.ctx.registry.typed(table).clone();
        typed.describe_until(Some((number, end.pos)));
        self.ctx.registry.set_typed(table, typed, &mut self.ctx.writer)
    }

    /// Follows the types through `ALTER TABLE`.
    ///
    /// # Errors
    /// Fatal, by name: the type of a column that the statement touches was taken from a description of after it.
    pub(super) fn alter_types(&mut self, table: &TableName, ops: &AlterOps, origin: &Origin) -> Result<(), Failure> {
        self.ctx.registry.follow_types(table, ops, &mut self.ctx.writer)?;
        self.check_description(table, origin, |column| touches(ops, column))
    }

    /// Lets no statement pass that shows that a type was taken from the description of another state. `touches`: whether the
    /// statement may have changed the type of the column of this name.
    ///
    /// # Errors
    /// Fatal, by name.
    pub(super) fn check_description(
        &mut self,
        table: &TableName,
        origin: &Origin,
        touches: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let Some(until) = self.ctx.registry.typed(table).described_until() else { return Ok(()) };
        if (origin.file_number, origin.pos) > until {
            let mut typed = self.ctx.registry.typed(table).clone();
            typed.describe_until(None);
            return self.ctx.registry.set_typed(table, typed, &mut self.ctx.writer);
        }
        let Some(current) = self.ctx.registry.current(table).map(|current| current.schema.clone()) else {
            return Ok(());
        };
        for (place, length) in doubtful(&self.server, &current) {
            let Some(column) = current.columns.get(place).filter(|column| touches(&column.name)) else { continue };
            // A BINARY that stays one has the same bytes whatever it was before.
            let plain = ColumnType::Binary { length };
            let becomes = self.ctx.registry.known_type(table, &column.name, None).told(length);
            if column.ty != plain || becomes.is_some_and(|ty| ty != plain) {
                let why = "because a statement changes it that was run before the server was asked for it";
                return Err(cannot_be_known(table, &column.name, why));
            }
        }
        Ok(())
    }
}

/// Gives the columns at `unknown` the types that the server describes.
///
/// # Errors
/// Fatal, by name: the server does not describe such a column any more.
pub(super) fn take_described(
    schema: &mut TableSchema,
    unknown: &[usize],
    described: Option<&TableSchema>,
) -> Result<(), Failure> {
    let table = schema.name.clone();
    for column in unknown.iter().filter_map(|place| schema.columns.get(*place).cloned()).collect::<Vec<_>>() {
        let found = described.and_then(|found| found.columns.get(found.column_index(&column.name)?));
        let Some(found) = found.filter(|found| found.ty.as_told() == column.ty) else {
            return Err(cannot_be_known(&table, &column.name, "and the server does not show such a column any more"));
        };
        let place = schema.column_index(&column.name);
        if let Some(column) = place.and_then(|place| schema.columns.get_mut(place)) {
            column.ty = found.ty.clone();
        }
    }
    Ok(())
}

fn cannot_be_known(table: &TableName, column: &str, why: &str) -> Failure {
    Failure::fatal(format!(
        "whether column \"{column}\" of table \"{table}\" is a BINARY, a UUID, an INET6 or an INET4 here cannot be known from the \
         binlog, {why}"
    ))
    .hint("leave the table out by source.exclude, or begin with a new log (startup_mode: initial)")
}
