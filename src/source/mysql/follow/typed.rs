//! What statements say of the types that the binlog calls `BINARY`, kept beside a table's schema until the next one.
//!
//! Pure: from the statements, the schema before them, and the way that each column came ([`Lineage`]). What is not certain is
//! [`Known::Nothing`]; the caller then has to find out otherwise.

use serde::{Deserialize, Serialize};

use super::lineage::{Came, Lineage, same};
use crate::error::Failure;
use crate::model::{ColumnType, FilePos, ServerIdentity, SourcePosition, TableSchema};
use crate::source::mysql::ddl::{AlterOp, AlterOps, TypeName};

/// What statements have said of the types of a table's columns since its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
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
pub struct Described {
    /// Whose binlog it was.
    pub server: ServerIdentity,
    /// Number of its last file.
    pub file_number: u64,
    /// The end of that file.
    pub pos: u64,
}

impl Described {
    /// The end of a server's binlog.
    ///
    /// # Errors
    /// Fatal, when the file's name has no number.
    pub fn at(server: &ServerIdentity, end: &FilePos) -> Result<Self, Failure> {
        let file_number = end.file_number().ok_or_else(|| {
            Failure::fatal(format!("cannot order binlog file '{}': its name has no number", end.file))
        })?;
        Ok(Self { server: server.clone(), file_number, pos: end.pos })
    }

    /// Whether the stream of this server has come here at `at`.
    pub fn is_reached(&self, at: &SourcePosition) -> bool {
        let here = FilePos { file: at.file.clone(), pos: at.pos }.file_number();
        at.server == self.server && here.is_some_and(|here| (here, at.pos) >= (self.file_number, self.pos))
    }
}

/// What a statement may do to the type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Nothing.
    Not,
    /// The column goes, or goes on under another name.
    Moved,
    /// It gets a type.
    Retyped,
}

/// What is known of a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
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
    pub fn created(columns: Option<&[(String, TypeName)]>) -> Self {
        Self { columns: columns.unwrap_or_default().to_vec(), all: columns.is_some(), ..Self::default() }
    }

    /// Any statement may have been about the table, and none was read.
    pub fn unseen() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Takes in a statement; `lineage` is that of the columns before it, where the table has a schema.
    ///
    /// A part with `IF [NOT] EXISTS` counts where it is known whether the column was there. Where that is not known it tells nothing of
    /// the type. Without the condition the server has run the part, so that it counts.
    pub fn follow(&mut self, ops: &AlterOps, lineage: Option<&Lineage>) {
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
                AlterOp::ModifyColumn { name, ty, if_exists, .. } if !if_exists || was_there(name) == Some(true) => {
                    self.set(renamed_to(ops, name).unwrap_or(name), *ty);
                }
                AlterOp::ChangeColumn { from, to, ty, if_exists, .. }
                    if !if_exists || was_there(from) == Some(true) =>
                {
                    self.set(to, *ty);
                }
                // It gives no type.
                _ => {}
            }
        }
    }

    fn set(&mut self, name: &str, ty: TypeName) {
        self.columns.retain(|(there, _)| !same(there, name));
        self.columns.push((name.to_owned(), ty));
    }

    /// What is known of the column of this name.
    pub fn known(&self, name: &str, before: Option<&TableSchema>, lineage: &Lineage) -> Known {
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
    pub fn describe_until(&mut self, end: Option<Described>) {
        self.described_until = end;
    }

    /// Where the binlog ended when a type was taken from a description.
    pub fn described_until(&self) -> Option<&Described> {
        self.described_until.as_ref()
    }

    /// Whether a type was taken from the description of another server than this.
    pub fn is_described_by_another(&self, server: &ServerIdentity) -> bool {
        self.described_until.as_ref().is_some_and(|mark| mark.server != *server)
    }

    /// Takes note of the columns that stand in the schema as the binlog calls them.
    pub fn guess(&mut self, columns: Vec<String>) {
        self.guessed = columns;
    }

    /// Whether the column of this name stands in the schema as the binlog calls it.
    pub fn is_guess(&self, name: &str) -> bool {
        self.guessed.iter().any(|there| same(there, name))
    }

    /// Whether any column stands in the schema as the binlog calls it.
    pub fn has_guesses(&self) -> bool {
        !self.guessed.is_empty()
    }

    /// Whether nothing has to be kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left when the table's schema has been found: what was said before it is in it.
    pub(super) fn settled(&self) -> Self {
        Self { described_until: self.described_until.clone(), ..Self::default() }
    }
}

impl Known {
    /// The type, if the binlog calls it `BINARY(length)`.
    pub fn told(self, length: u16) -> Option<ColumnType> {
        let plain = ColumnType::Binary { length };
        match self {
            Self::Is(ty) => (ty.as_told() == plain).then_some(ty),
            Self::SaidOther => Some(plain),
            Self::WasOther | Self::Nothing => None,
        }
    }

    /// Whether a description that has `found` may be one of this state.
    pub fn allows(&self, found: &ColumnType) -> bool {
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

/// Whether the statement drops the column.
pub(super) fn is_dropped(ops: &AlterOps, column: &str) -> bool {
    matches!(ops, AlterOps::Known(ops) if renamed_to(ops, column).is_none())
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
mod tests;
