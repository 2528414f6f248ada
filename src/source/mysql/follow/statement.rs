//! What a statement makes of a table's definition.
//!
//! Its text says which columns came, went or changed their names, and which types it gives. What the table is after it comes with its next
//! `TABLE_MAP`, or with a description whose place the stream has come to, whichever is first.
//!
//! A type that came from a description of the server holds at the place of the description. Where a statement before that place touches
//! the column, the rows since may have been read as another type than they had, and the table is read again. Where a column that was carried
//! as a `BINARY` without certainty gets a type, it is read again too: its bytes do not say what the server made of the older values.

use super::known::{Followed, Since};
use super::lineage::{Came, ColumnSteps};
use super::mapped::Dialect;
use super::typed::{Touched, Typed, touched};
use crate::model::BinlogPlace;
use crate::source::mysql::ddl::{AlterOp, AlterOps, Definition, TypeName};

/// What an `ALTER TABLE` comes to.
#[derive(Debug)]
pub struct Altered {
    /// What is known of the table after it.
    pub followed: Followed,
    /// Why rows that are in the log may be wrong: the table is read again, in place of what the sinks have.
    pub doubt: Option<&'static str>,
}

/// Why a table is read again of which a described type may not have held.
const TYPE_BEFORE: &str = "the type of a column before a statement changed it is not known";

impl Followed {
    /// What `CREATE TABLE` makes. `columns`: those that it lists, with their types; `definitions`: what it says of them.
    pub fn created(
        &mut self,
        columns: Option<&[(String, TypeName)]>,
        definitions: &[(String, Definition)],
        dialect: Dialect,
    ) {
        self.typed = if dialect.hides_any() { Typed::created(columns) } else { Typed::default() };
        self.since.unsettled = true;
        if !definitions.is_empty() {
            self.since.steps.push(ColumnSteps::created(definitions));
        }
    }

    /// What `ALTER TABLE` makes of it, at this place of the stream.
    pub fn altered(&self, ops: &AlterOps, at: &BinlogPlace, dialect: Dialect) -> Altered {
        let mut followed = self.clone();
        let mut doubt = None;
        if dialect.hides_any() {
            let (typed, is_doubtful) = self.checked(at, dialect, |column| touched(ops, column));
            doubt = is_doubtful.then_some(TYPE_BEFORE);
            followed.typed = typed;
            let lineage = self.current.as_ref().map(|_| self.lineage());
            followed.typed.follow(ops, lineage.as_ref());
        }
        let list: &[AlterOp] = match ops {
            AlterOps::Known(list) => list,
            AlterOps::Unreadable => &[],
        };
        let is_unreadable = *ops == AlterOps::Unreadable;
        let changes_keys = |op: &AlterOp| matches!(op, AlterOp::IndexChanged | AlterOp::PrimaryKeyChanged);
        let steps = ColumnSteps::of(list);
        let Since { steps: since, unreadable, key_unknown, unsettled, .. } = &mut followed.since;
        if !steps.is_empty() {
            since.push(steps);
        }
        *unreadable |= is_unreadable;
        *unsettled = true;
        followed.predicted = self.predicted_after(ops, &followed.typed, dialect);
        *key_unknown |= (is_unreadable || list.iter().any(changes_keys)) && !self.has_primary_key();
        Altered { followed, doubt }
    }

    /// The table goes, or goes on under another name, at this place of the stream: why it is read again, if it is.
    pub fn moved(&mut self, at: &BinlogPlace, dialect: Dialect) -> Option<&'static str> {
        let (typed, is_doubtful) = self.checked(at, dialect, |_| Touched::Moved);
        self.typed = typed;
        is_doubtful.then_some(TYPE_BEFORE)
    }

    /// What is known of the types when a statement comes, and whether it shows that rows may have been read as a type that came from the
    /// description of another definition. `touched`: what the statement may have done to the type of the column of this name.
    fn checked(&self, at: &BinlogPlace, dialect: Dialect, touched: impl Fn(&str) -> Touched) -> (Typed, bool) {
        let mut typed = self.typed.clone();
        let passed =
            typed.described_until().is_some_and(|mark| (mark.file_number, mark.pos) < (at.file_number, at.pos));
        if passed {
            typed.describe_until(None);
        }
        let types = self.types();
        let mut is_doubtful = false;
        for name in types.lineage.names() {
            let Some(Came::From(old)) = types.lineage.came(&name) else { continue };
            let column = types.before.and_then(|before| before.columns.get(before.column_index(old)?));
            let Some(column) = column.filter(|column| dialect.hidden_length(&column.ty).is_some()) else { continue };
            let touched = touched(&name);
            let is_plain = column.ty.told_as_binary().is_none();
            if !is_plain && typed.described_until().is_some() {
                is_doubtful |= touched != Touched::Not;
            } else if is_plain && (typed.described_until().is_some() || typed.is_guess(&name)) {
                is_doubtful |= touched == Touched::Retyped;
            }
        }
        (typed, is_doubtful)
    }
}
