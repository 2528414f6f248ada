//! What statements say of the types that the binlog calls `BINARY`, kept beside a table's schema until the next one.
//!
//! Pure: from the statements, the schema before them, and the way that each column came ([`Lineage`]). What is not certain is
//! [`Known::Nothing`]; the caller then has to find out otherwise.

use serde::{Deserialize, Serialize};

use super::lineage::{Came, Lineage, same};
use crate::model::{ColumnType, FilePos, ServerIdentity, SourcePosition, TableSchema};
use crate::source::mysql::ddl::{AlterOp, AlterOps, TypeName};

/// What statements have said of the types of a table's columns since its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Typed {
    /// By the columns' names of now.
    columns: Vec<(String, TypeName)>,
    /// `CREATE TABLE` was read, so that `columns` are all that there are.
    all: bool,
    /// A statement could not be read, so that of no column it is known.
    lost: bool,
    /// Columns of the schema that stand in it as the binlog calls them, because nobody could tell what they are.
    guessed: Vec<String>,
    /// A type was taken from the server's description when the binlog ended here.
    described_until: Option<Described>,
}

/// Where the binlog ended when a server described a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    /// Whose binlog it was.
    pub(super) server: ServerIdentity,
    /// Number of its last file.
    pub(super) file_number: u64,
    /// The end of that file.
    pub(super) pos: u64,
}

impl Described {
    /// Whether the stream of this server has come here at `at`.
    pub(super) fn is_reached(&self, at: &SourcePosition) -> bool {
        let here = FilePos { file: at.file.clone(), pos: at.pos }.file_number();
        at.server == self.server && here.is_some_and(|here| (here, at.pos) >= (self.file_number, self.pos))
    }
}

/// What a statement may do to the type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing.
    Not,
    /// The column goes, or goes on under another name.
    Moved,
    /// It gets a type.
    Retyped,
}

/// What is known of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Exactly this one: a `BINARY`, or what is told as one.
    Is(ColumnType),
    /// A statement gave it another type than those that are told as `BINARY`; which one, the binlog tells.
    SaidOther,
    /// The schema has another type than `BINARY`, and no statement has touched it.
    WasOther,
    /// Nothing.
    Nothing,
}

impl Typed {
    /// What `CREATE TABLE` says, where it lists the columns.
    pub(super) fn created(columns: Option<&[(String, TypeName)]>) -> Self {
        Self { columns: columns.unwrap_or_default().to_vec(), all: columns.is_some(), ..Self::default() }
    }

    /// Takes in a statement; `lineage` is that of the columns before it, where the table has a schema.
    ///
    /// A part with `IF [NOT] EXISTS` counts where it is known whether the column was there. Where that is not known it tells nothing of
    /// the type. Without the condition the server has run the part, so that it counts.
    pub(super) fn follow(&mut self, ops: &AlterOps, lineage: Option<&Lineage>) {
        let AlterOps::Known(ops) = ops else {
            *self = Self { lost: true, described_until: self.described_until.take(), ..Self::default() };
            return;
        };
        let told: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let all_are_told = self.all;
        let was_there = |name: &str| match lineage {
            Some(lineage) => Some(lineage.came(name).is_some()),
            None if told.iter().any(|there| same(there, name)) => Some(true),
            None => all_are_told.then_some(false),
        };
        // Old names in a statement are those before it, whatever the order of its parts.
        let before = std::mem::take(&mut self.columns);
        self.columns =
            before.into_iter().filter_map(|(name, ty)| renamed_to(ops, &name).map(|to| (to.to_owned(), ty))).collect();
        let guessed = std::mem::take(&mut self.guessed);
        self.guessed = guessed.iter().filter_map(|name| renamed_to(ops, name)).map(str::to_owned).collect();
        for op in ops {
            match op {
                AlterOp::AddColumn { name, ty, if_not_exists, .. } => {
                    let goes = renamed_to(ops, name).is_none_or(|to| !same(to, name));
                    if !if_not_exists || goes || was_there(name) == Some(false) {
                        self.set(name, *ty);
                    }
                }
                AlterOp::ModifyColumn { name, ty, if_exists } if !if_exists || was_there(name) == Some(true) => {
                    self.set(renamed_to(ops, name).unwrap_or(name), *ty);
                }
                AlterOp::ChangeColumn { from, to, ty, if_exists } if !if_exists || was_there(from) == Some(true) => {
                    self.set(to, *ty);
                }
                AlterOp::ModifyColumn { .. }
                | AlterOp::ChangeColumn { .. }
                | AlterOp::DropColumn { .. }
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
    pub(super) fn known(&self, name: &str, before: Option<&TableSchema>, lineage: &Lineage) -> Known {
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
        if self.is_guess(name) {
            return Known::Nothing;
        }
        let Some(Came::From(old)) = lineage.came(name) else { return Known::Nothing };
        match before.and_then(|before| before.columns.get(before.column_index(old)?)) {
            Some(old) if matches!(old.ty.as_told(), ColumnType::Binary { .. }) => Known::Is(old.ty.clone()),
            Some(_) => Known::WasOther,
            None => Known::Nothing,
        }
    }

    /// Takes note that a type was taken from a description when the binlog ended at `end`.
    pub(super) fn describe_until(&mut self, end: Option<Described>) {
        self.described_until = end;
    }

    /// Where the binlog ended when a type was taken from a description.
    pub(super) fn described_until(&self) -> Option<&Described> {
        self.described_until.as_ref()
    }

    /// Takes note of the columns that stand in the schema as the binlog calls them.
    pub(super) fn guess(&mut self, columns: Vec<String>) {
        self.guessed = columns;
    }

    /// Whether the column of this name stands in the schema as the binlog calls it.
    pub(super) fn is_guess(&self, name: &str) -> bool {
        self.guessed.iter().any(|there| same(there, name))
    }

    /// Whether any column stands in the schema as the binlog calls it.
    pub(super) fn has_guesses(&self) -> bool {
        !self.guessed.is_empty()
    }

    /// Whether nothing has to be kept.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left when the table's schema has been found: what was said before it is in it.
    pub(super) fn settled(&self) -> Self {
        Self { described_until: self.described_until.clone(), ..Self::default() }
    }
}

impl Known {
    /// The type, if the binlog calls it `BINARY(length)`.
    pub(super) fn told(self, length: u16) -> Option<ColumnType> {
        let plain = ColumnType::Binary { length };
        match self {
            Self::Is(ty) => (ty.as_told() == plain).then_some(ty),
            Self::SaidOther => Some(plain),
            Self::WasOther | Self::Nothing => None,
        }
    }

    /// Whether a description that has `found` may be one of this state.
    pub(super) fn allows(&self, found: &ColumnType) -> bool {
        match self {
            Self::Is(ty) => ty == found,
            Self::SaidOther | Self::WasOther => found.told_as_binary().is_none(),
            Self::Nothing => true,
        }
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

/// What the statement may do to the type of the column.
pub(super) fn touched(ops: &AlterOps, column: &str) -> Touched {
    let AlterOps::Known(ops) = ops else { return Touched::Retyped };
    let mut touched = Touched::Not;
    for op in ops {
        match op {
            AlterOp::ModifyColumn { name, .. } | AlterOp::ChangeColumn { from: name, .. } if same(name, column) => {
                return Touched::Retyped;
            }
            AlterOp::DropColumn { name } | AlterOp::RenameColumn { from: name, .. } if same(name, column) => {
                touched = Touched::Moved;
            }
            _ => {}
        }
    }
    touched
}

#[cfg(test)]
mod tests {
    use super::super::lineage::ColumnSteps;
    use super::*;
    use crate::model::{Column, ColumnDefault, TableName};
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
            typed.follow(&ops, Some(&lineage));
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

    /// What is told of `u` and `b`, of a table without a schema.
    fn told_without_schema(mut typed: Typed, statements: &[&str]) -> [Option<ColumnType>; 2] {
        for sql in statements {
            typed.follow(&alter(sql), None);
        }
        let nothing = Lineage::follow([], []);
        ["u", "b"].map(|name| typed.known(name, None, &nothing).told(16))
    }

    #[test]
    fn a_condition_counts_where_it_is_known_whether_the_column_was_there() {
        for (statements, u, b) in [
            (&["MODIFY COLUMN IF EXISTS u INET6, CHANGE COLUMN IF EXISTS b b UUID"][..], INET6, UUID),
            (&["MODIFY COLUMN IF EXISTS gone UUID", "ADD gone BINARY(16)", "RENAME COLUMN gone TO x"], UUID, BINARY),
            (&["CHANGE COLUMN IF EXISTS gone u BINARY(16)", "CHANGE IF EXISTS gone b UUID"], UUID, BINARY),
            (&["DROP u, ADD COLUMN IF NOT EXISTS u INET6"], INET6, BINARY),
            (&["DROP u", "ADD COLUMN IF NOT EXISTS u INET6", "ADD COLUMN IF NOT EXISTS u UUID"], INET6, BINARY),
        ] {
            assert_eq!(after(statements, &["u", "b"]), [u.clone(), b.clone()], "{statements:?}");
            let list = [("u".to_owned(), TypeName::Uuid), ("b".to_owned(), TypeName::Other)];
            assert_eq!(told_without_schema(Typed::created(Some(&list)), statements), [u, b], "created, {statements:?}");
        }
        let gone = ["MODIFY COLUMN IF EXISTS gone UUID", "ADD gone BINARY(16)"];
        assert_eq!(after(&gone, &["gone"]), [BINARY]);
    }

    #[test]
    fn a_condition_tells_nothing_of_a_column_that_may_or_may_not_have_been_there() {
        for (statements, u, b) in [
            (&["ADD COLUMN IF NOT EXISTS u UUID, MODIFY COLUMN IF EXISTS b UUID"][..], None, None),
            (&["CHANGE COLUMN IF EXISTS x u UUID, ADD COLUMN IF NOT EXISTS (b INET6)"], None, None),
            (&["ADD u UUID, MODIFY b INET6", "ADD IF NOT EXISTS u INET6", "MODIFY IF EXISTS b UUID"], UUID, UUID),
            (&["DROP COLUMN IF EXISTS u, ADD COLUMN IF NOT EXISTS u UUID"], UUID, None),
            (&["MODIFY IF EXISTS u UUID", "ADD u BINARY(16)"], BINARY, None),
            (&["CHANGE x u UUID", "what is this", "ADD IF NOT EXISTS u INET6"], None, None),
        ] {
            assert_eq!(told_without_schema(Typed::default(), statements), [u, b], "{statements:?}");
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
        for (sql, expected) in [
            ("MODIFY U UUID", Touched::Retyped),
            ("DROP u", Touched::Moved),
            ("RENAME COLUMN u TO x", Touched::Moved),
            ("CHANGE u x UUID", Touched::Retyped),
            ("MODIFY b UUID, ADD u2 UUID AFTER u", Touched::Not),
            ("what is this", Touched::Retyped),
        ] {
            assert_eq!(touched(&alter(sql), "u"), expected, "{sql}");
        }
    }

    #[test]
    fn a_guess_is_not_known_under_any_name_until_a_statement_gives_it_a_type() {
        let mut typed = Typed::default();
        typed.guess(vec!["u".to_owned()]);
        let mut told = |sql: &str, asked: &str| {
            let lineage = Lineage::follow(["u", "x", "b"], []);
            typed.follow(&alter(sql), Some(&lineage));
            typed.known(asked, None, &lineage)
        };
        assert_eq!(told("ADD v INT", "u"), Known::Nothing);
        assert_eq!(told("RENAME COLUMN u TO x", "x"), Known::Nothing);
        assert_eq!(told("MODIFY x UUID", "x"), Known::Is(ColumnType::Uuid));
    }

    #[test]
    fn a_mark_is_reached_on_the_server_that_it_was_taken_of() {
        let server = |server_id| ServerIdentity::MariaDb { server_id, domain_id: 0 };
        let at = |server_id, file: &str, pos| SourcePosition {
            server: server(server_id),
            file: file.to_owned(),
            pos,
            file_created: 0,
            gtid: String::new(),
        };
        let mark = Described { server: server(1), file_number: 7, pos: 500 };
        assert!(mark.is_reached(&at(1, "log.000007", 500)) && mark.is_reached(&at(1, "log.000010", 4)));
        assert!(!mark.is_reached(&at(1, "log.000007", 499)) && !mark.is_reached(&at(1, "log.000006", 900)));
        assert!(!mark.is_reached(&at(2, "log.000010", 4)) && !mark.is_reached(&at(1, "", 900)));
    }
}
