//! Columns that the binlog calls `BINARY` and that are something else: MariaDB's `UUID`, `INET6` and `INET4`.
//!
//! A `TABLE_MAP` does not tell them from a `BINARY` of their length. What they are is known in one of these ways:
//! - The table's schema in the log has the column, and no statement since has touched its type.
//! - A statement of the stream gave the column its type: `CREATE TABLE`, `ADD`, `MODIFY`, `CHANGE`. What statements said since
//!   the schema is kept beside it in the log ([`super::typed`]), so a restart between them forgets nothing.
//! - Otherwise it is the server's description of now. It is true here if no statement between here and now changes the column,
//!   so the end of the binlog is noted with it. A statement before that end that touches a column that was read as one of these
//!   types stops the stream: the rows since may have been read as another type than they had.
//! - A column that the server does not show any more is carried as the `BINARY` that the binlog calls it, with a warning. No byte is
//!   lost, and no row is wrong. That it is a guess is noted: the next statement about the table asks the server again.
//!
//! Where a column that was carried as a `BINARY` without certainty gets a type, the table is read again: what the server made of the
//! older values is not told by their bytes.

use std::sync::Arc;

use tracing::warn;

use super::lineage::{Came, ColumnSteps, Lineage};
use super::registry::Registry;
use super::session::Session;
use super::typed::{Described, Known, Touched, Typed, touched};
use super::writer::LogWriter;
use crate::error::Failure;
use crate::model::{ColumnType, Origin, SourcePosition, TableName, TableSchema};
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

/// The length of the `BINARY` that the binlog calls a column of this type, if the column may be something else.
fn doubtful_length(server: &ServerInfo, ty: &ColumnType) -> Option<u16> {
    match ty.as_told() {
        ColumnType::Binary { length } if may_be_disguised(server, length) => Some(length),
        _ => None,
    }
}

fn is_doubtful(server: &ServerInfo, ty: &ColumnType) -> bool {
    doubtful_length(server, ty).is_some()
}

/// Places of the columns of `schema` that the binlog calls `BINARY` and that may be something else, with their lengths.
fn doubtful(server: &ServerInfo, schema: &TableSchema) -> Vec<(usize, u16)> {
    let columns = schema.columns.iter().enumerate();
    columns.filter_map(|(place, column)| Some((place, doubtful_length(server, &column.ty)?))).collect()
}

/// What is known of the types of a table's columns.
struct Types<'a> {
    typed: Option<&'a Typed>,
    before: Option<&'a Arc<TableSchema>>,
    lineage: Lineage,
}

impl Types<'_> {
    fn known(&self, column: &str) -> Known {
        match self.typed {
            Some(typed) if !self.lineage.doubtful() => {
                typed.known(column, self.before.map(AsRef::as_ref), &self.lineage)
            }
            _ => Known::Nothing,
        }
    }
}

/// How a description of a table by the server fits what is known of its types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is of another state.
    Contradicts,
    /// It has a type that is known from nowhere else.
    Tells,
    /// It has nothing new.
    Agrees,
}

impl Registry {
    /// What the schema, the statements since, and `steps`, which are still to be noted, say of the columns' types.
    fn types(&self, table: &TableName, steps: Option<&ColumnSteps>) -> Types<'_> {
        let entry = self.get(table);
        let before = entry.and_then(|entry| entry.current.as_ref()).map(|current| &current.schema);
        let names = before.into_iter().flat_map(|schema| &schema.columns).map(|column| column.name.as_str());
        let noted = entry.into_iter().flat_map(|entry| &entry.steps);
        let lineage = Lineage::follow(names, noted.chain(steps));
        Types { typed: entry.map(|entry| &entry.typed), before, lineage }
    }

    /// The columns of a table with their types, as a statement would list them; `None` where one of them is not known.
    pub(super) fn columns_of(&self, table: &TableName) -> Option<Vec<(String, TypeName)>> {
        let types = self.types(table, None);
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

    /// Takes note of what a statement says of the types of a table's columns. Comes before its steps are noted.
    fn follow_types(&mut self, table: &TableName, ops: &AlterOps, writer: &mut LogWriter) -> Result<(), Failure> {
        let types = self.types(table, None);
        let mut typed = types.typed.cloned().unwrap_or_default();
        typed.follow(ops, types.before.map(|_| &types.lineage));
        self.set_typed(table, typed, writer)
    }

    /// Marks of descriptions hold for the server that they were taken of. `at` is where its stream was left; what it has not come to
    /// there is described until `end` of the server that is read now.
    fn renew_marks(&mut self, at: &SourcePosition, end: &Described, writer: &mut LogWriter) -> Result<(), Failure> {
        let old = |typed: &Typed| typed.described_until().filter(|mark| mark.server != end.server).cloned();
        let marked: Vec<_> = self
            .iter()
            .filter_map(|table| Some((table.name.clone(), table.typed.clone(), old(&table.typed)?)))
            .collect();
        for (table, mut typed, mark) in marked {
            typed.describe_until((!mark.is_reached(at)).then(|| end.clone()));
            self.set_typed(&table, typed, writer)?;
        }
        Ok(())
    }
}

impl Session<'_> {
    /// `seen`, the schema of a `TABLE_MAP`, with the types that it calls `BINARY`, and the columns of which they are not known.
    pub(super) fn undisguised(&self, seen: &TableSchema) -> (TableSchema, Vec<usize>) {
        let (mut schema, mut unknown) = (seen.clone(), Vec::new());
        let doubtful = doubtful(&self.server, seen);
        if doubtful.is_empty() {
            return (schema, unknown);
        }
        let types = self.ctx.registry.types(&seen.name, None);
        for (place, length) in doubtful {
            let Some(column) = schema.columns.get_mut(place) else { continue };
            match types.known(&column.name).told(length) {
                Some(ty) => column.ty = ty,
                None => unknown.push(place),
            }
        }
        (schema, unknown)
    }

    /// How `found`, a description of the table by the server, fits the types that the statements have said up to here, of which
    /// the last one's `steps` are not noted yet.
    pub(super) fn fit(&self, found: &TableSchema, steps: &ColumnSteps) -> Fit {
        if self.server.flavour != Flavour::MariaDb {
            return Fit::Agrees;
        }
        let types = self.ctx.registry.types(&found.name, Some(steps));
        let mut fit = Fit::Agrees;
        for column in &found.columns {
            let known = types.known(&column.name);
            if !known.allows(&column.ty) {
                return Fit::Contradicts;
            }
            if known == Known::Nothing && is_doubtful(&self.server, &column.ty) {
                fit = Fit::Tells;
            }
        }
        fit
    }

    /// Takes note of the types that `CREATE TABLE` lists.
    pub(super) fn create_types(
        &mut self,
        table: &TableName,
        columns: Option<&[(String, TypeName)]>,
    ) -> Result<(), Failure> {
        let is_told = self.server.flavour != Flavour::MariaDb;
        let typed = if is_told { Typed::default() } else { Typed::created(columns) };
        self.ctx.registry.set_typed(table, typed, &mut self.ctx.writer)
    }

    /// Takes note that types of the table's schema are those of the server's description of now.
    pub(super) async fn described_now(&mut self, table: &TableName) -> Result<(), Failure> {
        let Some(current) = self.ctx.registry.current(table) else { return Ok(()) };
        if doubtful(&self.server, &current.schema).is_empty() {
            return Ok(());
        }
        let end = self.described_here().await?;
        let mut typed = self.ctx.registry.typed(table).clone();
        typed.describe_until(Some(end));
        self.ctx.registry.set_typed(table, typed, &mut self.ctx.writer)
    }

    /// The mark of a description of now.
    async fn described_here(&mut self) -> Result<Described, Failure> {
        let end = self.binlog_end().await?;
        let file_number = end.file_number().ok_or_else(|| {
            Failure::fatal(format!("cannot order binlog file '{}': its name has no number", end.file))
        })?;
        Ok(Described { server: self.server.identity.clone(), file_number, pos: end.pos })
    }

    /// Takes note that the stream goes on from `at`, perhaps on another server.
    pub(super) async fn goes_on(&mut self, at: &SourcePosition) -> Result<(), Failure> {
        let of_another =
            |typed: &Typed| typed.described_until().is_some_and(|mark| mark.server != self.server.identity);
        if !self.ctx.registry.iter().any(|table| of_another(&table.typed)) {
            return Ok(());
        }
        let end = self.described_here().await?;
        self.ctx.registry.renew_marks(at, &end, &mut self.ctx.writer)
    }

    /// Takes note that columns of the table stand in its schema as the binlog calls them, because nobody tells what they are.
    pub(super) fn guessed(&mut self, table: &TableName, guessed: Vec<String>) -> Result<(), Failure> {
        let mut typed = self.ctx.registry.typed(table).clone();
        typed.guess(guessed);
        self.ctx.registry.set_typed(table, typed, &mut self.ctx.writer)
    }

    /// Follows the types through `ALTER TABLE`.
    ///
    /// # Errors
    /// Fatal, by name: the type of a column that the statement touches was taken from a description of after it.
    pub(super) fn alter_types(&mut self, table: &TableName, ops: &AlterOps, origin: &Origin) -> Result<(), Failure> {
        if self.server.flavour != Flavour::MariaDb {
            return Ok(());
        }
        self.check_description(table, origin, |column| touched(ops, column))?;
        self.ctx.registry.follow_types(table, ops, &mut self.ctx.writer)
    }

    /// Lets no statement pass that shows that rows may have been read as a type that was taken from the description of another state.
    /// `touched`: what the statement may have done to the type of the column of this name.
    ///
    /// # Errors
    /// Fatal, by name.
    pub(super) fn check_description(
        &mut self,
        table: &TableName,
        origin: &Origin,
        touched: impl Fn(&str) -> Touched,
    ) -> Result<(), Failure> {
        let mut typed = self.ctx.registry.typed(table).clone();
        let is_behind = typed
            .described_until()
            .is_some_and(|mark| (mark.file_number, mark.pos) < (origin.binlog().file_number, origin.binlog().pos));
        if is_behind {
            typed.describe_until(None);
            self.ctx.registry.set_typed(table, typed.clone(), &mut self.ctx.writer)?;
        }
        let types = self.ctx.registry.types(table, None);
        let (mut is_described, mut is_retyped) = (None, false);
        for name in types.lineage.names() {
            let Some(Came::From(old)) = types.lineage.came(&name) else { continue };
            let column = types.before.and_then(|before| before.columns.get(before.column_index(old)?));
            let Some(column) = column.filter(|column| is_doubtful(&self.server, &column.ty)) else { continue };
            let touched = touched(&name);
            let is_plain = column.ty.told_as_binary().is_none();
            if !is_plain && typed.described_until().is_some() && touched != Touched::Not {
                is_described = Some(name);
            } else if is_plain && (typed.described_until().is_some() || typed.is_guess(&name)) {
                is_retyped |= touched == Touched::Retyped;
            }
        }
        if let Some(column) = is_described {
            return Err(cannot_be_known(table, &column));
        }
        if is_retyped {
            self.reread(table, true, "the type of a column before a statement changed it is not known");
        }
        Ok(())
    }
}

/// Gives the columns at `unknown` the types that the server describes. Gives the names of those that it does not show, which stay as
/// the binlog calls them.
pub(super) fn take_described(
    schema: &mut TableSchema,
    unknown: &[usize],
    described: Option<&TableSchema>,
) -> Vec<String> {
    let mut guessed = Vec::new();
    for place in unknown {
        let Some(column) = schema.columns.get_mut(*place) else { continue };
        let found = described.and_then(|found| found.columns.get(found.column_index(&column.name)?));
        match found.filter(|found| found.ty.as_told() == column.ty) {
            Some(found) => column.ty = found.ty.clone(),
            None => guessed.push(column.name.clone()),
        }
    }
    guessed
}

/// Says which columns are carried as the binlog calls them.
pub(super) fn warn_of_guesses(table: &TableName, columns: &[&String]) {
    for column in columns {
        warn!(
            %table,
            %column,
            "whether this column is a BINARY, a UUID, an INET6 or an INET4 here cannot be known from the binlog, and the server does \
             not show it any more; it is carried as a BINARY, with the bytes that the binlog holds"
        );
    }
}

fn cannot_be_known(table: &TableName, column: &str) -> Failure {
    Failure::fatal(format!(
        "whether column \"{column}\" of table \"{table}\" was a UUID, an INET6, an INET4 or a BINARY cannot be known from the binlog, \
         because a statement changes it that was run before the server was asked for it"
    ))
    .hint("leave the table out by source.exclude, or begin with a new log (startup_mode: initial)")
}
