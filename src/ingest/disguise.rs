//! Columns that the binlog calls `BINARY` and that are something else: MariaDB's `UUID`, `INET6` and `INET4`.
//!
//! A `TABLE_MAP` does not tell them from a `BINARY` of their length. What they are is known in one of these ways, and where it
//! is not, the stream stops by the column's name:
//! - The table's schema in the log has the column, and no statement since has touched its type.
//! - A statement of the stream gave the column its type: `CREATE TABLE`, `ADD`, `MODIFY`, `CHANGE`. What statements said since
//!   the schema is kept beside it in the log ([`Typed`]), so a restart between them forgets nothing.
//! - Of a table met for the first time, the server's description of now. It is true here if no statement between here and now
//!   changes the column. So the end of the binlog is noted with it, and a statement before that end that touches such a
//!   column stops the stream: the rows since may have been read as another type than they had.

use serde::{Deserialize, Serialize};

use super::lineage::{Came, ColumnSteps, Lineage};
use super::registry::Registry;
use super::session::Session;
use super::writer::LogWriter;
use crate::error::Failure;
use crate::model::{ColumnType, Origin, TableName, TableSchema};
use crate::source::mysql::ddl::{AlterOp, AlterOps, TypeName};
use crate::source::mysql::server::{Flavour, ServerInfo};

/// What statements have said of the types of a table's columns since its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Typed {
    /// By the columns' names of now.
    columns: Vec<(String, TypeName)>,
    /// A statement could not be read, so that of no column it is known.
    lost: bool,
    /// A type was taken from the server's description when the binlog ended here: file number and offset.
    described_until: Option<(u64, u64)>,
}

/// What is known of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// Exactly this one: a `BINARY`, or what is told as one.
    Is(ColumnType),
    /// A statement gave it another type than those that are told as `BINARY`; which one, the binlog tells.
    SaidOther,
    /// The schema has another type than `BINARY`, and no statement has touched it.
    WasOther,
    Nothing,
}

impl Typed {
    /// What `CREATE TABLE` says, where it lists the columns.
    pub(super) fn created(columns: Option<&[(String, TypeName)]>) -> Self {
        Self { columns: columns.unwrap_or_default().to_vec(), ..Self::default() }
    }

    /// Takes in a statement; `was_there` tells whether the table had a column of the name before it.
    fn follow(&mut self, ops: &AlterOps, was_there: impl Fn(&str) -> bool) {
        let AlterOps::Known(ops) = ops else {
            self.lost = true;
            self.columns.clear();
            return;
        };
        // Old names in a statement are those before it, whatever the order of its parts.
        let before = std::mem::take(&mut self.columns);
        self.columns =
            before.into_iter().filter_map(|(name, ty)| renamed_to(ops, &name).map(|to| (to.to_owned(), ty))).collect();
        for op in ops {
            match op {
                AlterOp::AddColumn { name, ty, .. } => {
                    // One that is there was meant with IF NOT EXISTS.
                    let stays = was_there(name) && renamed_to(ops, name) == Some(name.as_str());
                    if !stays {
                        self.set(name, *ty);
                    }
                }
                AlterOp::ModifyColumn { name, ty } => self.set(renamed_to(ops, name).unwrap_or(name), *ty),
                AlterOp::ChangeColumn { to, ty, .. } => self.set(to, *ty),
                AlterOp::DropColumn { .. }
                | AlterOp::RenameColumn { .. }
                | AlterOp::ConvertCharset
                | AlterOp::RenameTo(_)
                | AlterOp::PrimaryKeyChanged
                | AlterOp::IndexChanged
                | AlterOp::SystemVersioningChanged
                | AlterOp::RowsChangedUnseen { .. }
                | AlterOp::Other => {}
            }
        }
    }

    fn set(&mut self, name: &str, ty: TypeName) {
        self.columns.retain(|(there, _)| !same(there, name));
        self.columns.push((name.to_owned(), ty));
    }

    /// What is known of the column of this name.
    fn known(&self, name: &str, before: Option<&TableSchema>, lineage: &Lineage) -> Known {
        if self.lost {
            return Known::Nothing;
        }
        if let Some((_, ty)) = self.columns.iter().find(|(there, _)| same(there, name)) {
            return match ty {
                TypeName::Uuid => Known::Is(ColumnType::Uuid),
                TypeName::Inet6 => Known::Is(ColumnType::Inet6),
                TypeName::Inet4 => Known::Is(ColumnType::Inet4),
                TypeName::Other => Known::SaidOther,
            };
        }
        let Some(Came::From(old)) = lineage.came(name) else { return Known::Nothing };
        match before.and_then(|before| before.columns.get(before.column_index(old)?)) {
            Some(old) if matches!(old.ty.as_told(), ColumnType::Binary { .. }) => Known::Is(old.ty.clone()),
            Some(_) => Known::WasOther,
            None => Known::Nothing,
        }
    }

    /// Whether nothing has to be kept.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left when the table's schema has been found: what was said before it is in it.
    pub(super) fn settled(&self) -> Self {
        Self { described_until: self.described_until, ..Self::default() }
    }
}

/// The name of a column after a statement; `None`: it is dropped.
fn renamed_to<'n>(ops: &'n [AlterOp], name: &'n str) -> Option<&'n str> {
    let mut now = Some(name);
    for op in ops {
        match op {
            AlterOp::DropColumn { name: dropped } if same(dropped, name) => now = None,
            AlterOp::RenameColumn { from, to } | AlterOp::ChangeColumn { from, to, .. } if same(from, name) => {
                now = Some(to);
            }
            _ => {}
        }
    }
    now
}

/// Column names compare without case.
fn same(a: &str, b: &str) -> bool {
    a.chars().flat_map(char::to_lowercase).eq(b.chars().flat_map(char::to_lowercase))
}

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

impl Known {
    /// The type, if the binlog calls it `BINARY(length)`.
    fn told(self, length: u16) -> Option<ColumnType> {
        let plain = ColumnType::Binary { length };
        match self {
            Self::Is(ty) => (ty.as_told() == plain).then_some(ty),
            Self::SaidOther => Some(plain),
            Self::WasOther | Self::Nothing => None,
        }
    }

    /// Whether a description that has `found` may be one of this state.
    fn allows(&self, found: &ColumnType) -> bool {
        match self {
            Self::Is(ty) => ty == found,
            Self::SaidOther | Self::WasOther => found.told_as_binary().is_none(),
            Self::Nothing => true,
        }
    }
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

    /// Takes note of what a statement says of the types of a table's columns. Comes before its steps are noted.
    fn follow_types(&mut self, table: &TableName, ops: &AlterOps, writer: &mut LogWriter) -> Result<(), Failure> {
        let entry = self.entry(table);
        let before = entry.current.as_ref().map(|current| current.schema.as_ref());
        let names = before.into_iter().flat_map(|schema| &schema.columns).map(|column| column.name.as_str());
        let lineage = Lineage::follow(names, &entry.steps);
        let mut typed = entry.typed.clone();
        let told = typed.columns.clone();
        typed.follow(ops, |name| lineage.came(name).is_some() || told.iter().any(|(there, _)| same(there, name)));
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
        typed.described_until = Some((number, end.pos));
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
        let Some(until) = self.ctx.registry.typed(table).described_until else { return Ok(()) };
        if (origin.file_number, origin.pos) > until {
            let typed = Typed { described_until: None, ..self.ctx.registry.typed(table).clone() };
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

/// Whether the statement may change the type of the column.
fn touches(ops: &AlterOps, column: &str) -> bool {
    let AlterOps::Known(ops) = ops else { return true };
    ops.iter().any(|op| match op {
        AlterOp::DropColumn { name } | AlterOp::ModifyColumn { name, .. } => same(name, column),
        AlterOp::ChangeColumn { from, .. } | AlterOp::RenameColumn { from, .. } => same(from, column),
        AlterOp::AddColumn { .. }
        | AlterOp::ConvertCharset
        | AlterOp::RenameTo(_)
        | AlterOp::PrimaryKeyChanged
        | AlterOp::IndexChanged
        | AlterOp::SystemVersioningChanged
        | AlterOp::RowsChangedUnseen { .. }
        | AlterOp::Other => false,
    })
}

fn cannot_be_known(table: &TableName, column: &str, why: &str) -> Failure {
    Failure::fatal(format!(
        "whether column \"{column}\" of table \"{table}\" is a BINARY, a UUID, an INET6 or an INET4 here cannot be known from the \
         binlog, {why}"
    ))
    .hint("leave the table out by source.exclude, or begin with a new log (startup_mode: initial)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnDefault};
    use crate::source::mysql::ddl::{self, SqlMode, Statement};

    fn alter(sql: &str) -> AlterOps {
        match ddl::parse(&format!("ALTER TABLE t {sql}"), "d", SqlMode::default()) {
            Statement::AlterTable { ops, .. } => ops,
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// `u` is a UUID, `b` a BINARY(16), `v` something else. What each of `asked` is after the statements, if called BINARY(16).
    fn after(statements: &[&str], asked: &[&str]) -> Vec<Option<ColumnType>> {
        let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true, default: ColumnDefault::Unknown };
        let columns = vec![
            column("u", ColumnType::Uuid),
            column("b", ColumnType::Binary { length: 16 }),
            column("v", ColumnType::Double),
        ];
        let before = TableSchema { name: TableName::new("d", "t"), columns, key: None };
        let (mut typed, mut steps) = (Typed::default(), Vec::new());
        let follow =
            |steps: &[ColumnSteps]| Lineage::follow(before.columns.iter().map(|column| column.name.as_str()), steps);
        for sql in statements {
            let ops = alter(sql);
            let lineage = follow(&steps);
            typed.follow(&ops, |name| lineage.came(name).is_some());
            if let AlterOps::Known(ops) = &ops {
                steps.push(ColumnSteps::of(ops));
            }
        }
        let lineage = follow(&steps);
        asked.iter().map(|name| typed.known(name, Some(&before), &lineage).told(16)).collect()
    }

    const BINARY: Option<ColumnType> = Some(ColumnType::Binary { length: 16 });
    const UUID: Option<ColumnType> = Some(ColumnType::Uuid);
    const INET6: Option<ColumnType> = Some(ColumnType::Inet6);

    #[test]
    fn a_type_is_what_the_last_statement_about_it_said() {
        for (statements, u, b) in [
            (&[][..], UUID, BINARY),
            (&["ADD x INT, ADD KEY (u)"], UUID, BINARY),
            (&["MODIFY u BINARY(16), MODIFY B UUID"], BINARY, UUID),
            (&["MODIFY u VARCHAR(36)", "MODIFY u INET6"], INET6, BINARY),
            (&["RENAME COLUMN u TO b, RENAME COLUMN b TO u"], BINARY, UUID),
            (&["CHANGE u b BINARY(16), CHANGE b u INET6"], INET6, BINARY),
            (&["DROP u, ADD u INET6"], INET6, BINARY),
            (&["DROP u", "ADD u BINARY(16)"], BINARY, BINARY),
            (&["ADD COLUMN IF NOT EXISTS u BINARY(16)", "ADD COLUMN IF NOT EXISTS b UUID"], UUID, BINARY),
            (&["RENAME COLUMN u TO x, ADD u BINARY(16)"], BINARY, BINARY),
            (&["MODIFY u BINARY(16)", "RENAME COLUMN u TO x", "RENAME COLUMN x TO u"], BINARY, BINARY),
            // Something that the binlog would call otherwise.
            (&["MODIFY u INET4"], None, BINARY),
            (&["what is this"], None, None),
        ] {
            assert_eq!(after(statements, &["u", "b"]), [u, b], "{statements:?}");
        }
    }

    #[test]
    fn a_column_of_which_nothing_was_said_is_not_known() {
        assert_eq!(after(&[], &["x", "v"]), [None, None]);
        assert_eq!(after(&["DROP u"], &["u"]), [None]);
        let typed = Typed::created(Some(&[("id".to_owned(), TypeName::Other), ("u".to_owned(), TypeName::Uuid)]));
        let nothing = Lineage::follow([], []);
        assert_eq!(typed.known("U", None, &nothing).told(16), UUID);
        assert_eq!(typed.known("id", None, &nothing).told(16), BINARY);
        assert_eq!(Typed::created(None).known("u", None, &nothing), Known::Nothing);
    }

    #[test]
    fn a_description_of_a_later_state_is_not_allowed() {
        let text = ColumnType::Text { length_bytes: 2, charset: crate::model::Charset::new("utf8mb4") };
        let plain = ColumnType::Binary { length: 16 };
        assert!(Known::Is(ColumnType::Uuid).allows(&ColumnType::Uuid) && Known::Is(plain.clone()).allows(&plain));
        for (known, found) in [
            (Known::Is(ColumnType::Uuid), &plain),
            (Known::Is(ColumnType::Uuid), &text),
            (Known::Is(plain.clone()), &ColumnType::Uuid),
            (Known::Is(plain.clone()), &text),
            (Known::SaidOther, &ColumnType::Inet6),
            (Known::WasOther, &ColumnType::Uuid),
        ] {
            assert!(!known.allows(found), "{known:?} {found:?}");
        }
        assert!(Known::SaidOther.allows(&text) && Known::WasOther.allows(&plain));
    }

    #[test]
    fn a_statement_touches_the_columns_that_it_names() {
        for (sql, touched) in [
            ("MODIFY U UUID", true),
            ("DROP u", true),
            ("CHANGE u x UUID", true),
            ("MODIFY b UUID, ADD u2 UUID AFTER u", false),
            ("what is this", true),
        ] {
            assert_eq!(touches(&alter(sql), "u"), touched, "{sql}");
        }
    }
}
