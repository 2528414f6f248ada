//! A schema id that rows use before the schema is known, and what decides it.
//!
//! The binlog names columns and primary keys, but not a unique key over prefixes, and not MariaDB's `UUID`, `INET6` and
//! `INET4`. The server is asked for these; meanwhile the rows go to the log under a *pending* id, and delivery waits at them,
//! not the stream. An id is decided once: it is known, or it is left out because no answer came in time.
//!
//! A key of a description counts where the stream has come to the description's place and has met no statement about the table: the image
//! of a row does not show a key, so a later definition may look the same. A type that is asked for counts at once; what may come to light
//! of it later is followed by its mark ([`super::Typed`]).
//!
//! A `TABLE_MAP` without names says of a schema that is not known otherwise only what it has to look like: all of it is asked for
//! ([`Unnamed`]). It is known where the stream has come to the description's place without a statement about the table, and what the
//! table map says is true of what the description shows.

use std::sync::Arc;

use super::known::{Current, Followed};
use super::typed::{Touched, is_dropped, touched};
use crate::model::{FilePos, KeyKind, Lacks, SchemaId, TableSchema, Told};
use crate::source::mysql::ddl::AlterOps;

/// What statements have done to a table since rows of it were logged under a pending id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing: the server's answer is about this definition, if no statement comes until the stream is where it was given.
    Untouched,
    /// There was a statement about it: a key that the server shows may be a later one. The types asked for are still those.
    Altered,
    /// A column whose type is asked for was changed: nobody can say any more what it was.
    Retyped,
    /// The table is gone, or has another name: what the server shows is another table.
    Gone,
}

/// A pending schema id.
#[derive(Debug)]
pub struct Pending {
    /// The id.
    pub id: SchemaId,
    /// What the binlog says.
    pub seen: Arc<TableSchema>,
    /// Places of the columns whose type is asked for.
    pub unknown: Vec<u16>,
    /// The table's schema before it.
    pub before: Option<Current>,
    /// Those of them that a statement has dropped since.
    pub lost: Vec<u16>,
    /// What statements have done to the table since.
    pub fate: Fate,
    /// All of it is asked for.
    pub unnamed: Option<Unnamed>,
}

/// What a schema that is asked for as a whole is known by.
#[derive(Debug)]
pub struct Unnamed {
    /// What the binlog does not say of it.
    pub lacks: Lacks,
    /// What was known of the table before it; `None`: the log was opened again since, and nobody knows what statements had done to older rows.
    pub after: Option<Box<Followed>>,
}

/// A table's definition at an end of the binlog; `None`: there was no such table.
#[derive(Clone, Debug)]
pub struct Description {
    /// The definition.
    pub found: Option<TableSchema>,
    /// There was something else: a view, a sequence, a table that cannot be copied.
    pub is_no_table: bool,
    /// Where the binlog ended.
    pub end: FilePos,
}

/// What a statement of the open group does to a pending id.
#[derive(Clone, Debug)]
pub struct FateChange {
    /// The id.
    pub id: SchemaId,
    /// What it does.
    pub fate: Fate,
    /// Places of columns whose type is asked for and that it drops.
    pub lost: Vec<u16>,
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet: the stream has to come to the answer's place.
    Wait,
    /// Nobody can say any more what the rows are, and why.
    LeaveOut(&'static str),
    /// The id is known.
    Complete(Shown),
}

/// What of a description holds for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing: it is of another table.
    Nothing,
    /// The types of its columns.
    Types,
    /// Its types and its key.
    TypesAndKey,
}

/// A pending id that is known.
#[derive(Debug)]
pub struct Completed {
    /// The schema of its rows.
    pub schema: TableSchema,
    /// Columns that the server does not show: they stay as the binlog calls them.
    pub guessed: Vec<String>,
}

impl Pending {
    /// What is pending of a log that was opened again. `now`: what is known of the table there.
    pub fn reopened(&mut self, now: &Followed) {
        self.fate = match now.current() {
            Some(current) if self.unnamed.is_some() => {
                let is_first = self.before.is_none() && current.id == self.id && now.is_as_described();
                if let Some(unnamed) = self.unnamed.as_mut().filter(|_| is_first) {
                    // No rows were there before them, so nothing of what statements had done matters.
                    unnamed.after = Some(Box::default());
                    Fate::Untouched
                } else {
                    Fate::Retyped
                }
            }
            None => Fate::Gone,
            Some(current) if current.id == self.id && now.is_as_described() => Fate::Untouched,
            // Which of its columns the statements touched is not stored.
            Some(_) if !self.unknown.is_empty() => Fate::Retyped,
            Some(_) => Fate::Altered,
        };
    }

    /// Takes in what a statement has done.
    pub fn meet(&mut self, fate: Fate, lost: &[u16]) {
        self.fate = self.fate.max(fate);
        self.lost.extend(lost);
    }

    /// What an `ALTER TABLE` does to it, and places of columns whose type is asked for and that it drops.
    pub fn altered(&self, ops: &AlterOps) -> (Fate, Vec<u16>) {
        let (mut fate, mut lost) = (Fate::Altered, Vec::new());
        for place in &self.unknown {
            let Some(column) = self.seen.columns.get(usize::from(*place)) else { continue };
            if touched(ops, &column.name) == Touched::Not || self.lost.contains(place) {
                continue;
            }
            if is_dropped(ops, &column.name) {
                lost.push(*place);
            } else {
                fate = Fate::Retyped;
            }
        }
        (fate, lost)
    }

    /// Whether the binlog itself says which key its rows have.
    fn is_keyed(&self) -> bool {
        self.seen.key.as_ref().is_some_and(|key| key.kind == KeyKind::Primary)
    }

    /// Whether its rows are the first of the table that anybody has met, and no statement about it has come.
    pub fn is_first_met(&self) -> bool {
        let after = self.unnamed.as_ref().and_then(|unnamed| unnamed.after.as_ref());
        self.fate == Fate::Untouched && after.is_some_and(|after| !after.is_met())
    }

    /// Whether time alone does not decide it: nothing is known of its rows without an answer that holds for them.
    pub fn needs_place(&self) -> bool {
        self.unnamed.is_some()
    }

    /// The server's answer about rows of which the binlog has no names.
    fn decide_unnamed(&self, found: Option<&TableSchema>, lacks: Lacks, is_reached: bool) -> Decision {
        let told = Told { schema: TableSchema::clone(&self.seen), lacks };
        let fits = || found.is_some_and(|found| told.fits(found, false) == Some(0));
        match self.fate {
            Fate::Gone => Decision::LeaveOut("the table was gone before the server was asked for its columns"),
            Fate::Altered => {
                Decision::LeaveOut("a statement changed the table before the server was asked for its columns")
            }
            Fate::Retyped => Decision::LeaveOut("the names of its columns were asked for when the daemon ended"),
            Fate::Untouched if !is_reached => Decision::Wait,
            Fate::Untouched if fits() => Decision::Complete(Shown::TypesAndKey),
            Fate::Untouched => Decision::LeaveOut("the server shows other columns than the binlog has"),
        }
    }

    /// What the server's answer comes to. `is_reached`: the stream has come to its place.
    pub fn decide(&self, found: Option<&TableSchema>, is_reached: bool) -> Decision {
        if let Some(Unnamed { lacks, .. }) = &self.unnamed {
            return self.decide_unnamed(found, *lacks, is_reached);
        }
        let fits = |found: &TableSchema| {
            let mut seen = TableSchema::clone(&self.seen);
            take_described(&mut seen, &self.unknown, Some(found));
            seen.same_image(found)
        };
        match self.fate {
            Fate::Retyped => {
                Decision::LeaveOut("a statement changed a column before the server was asked for its type")
            }
            Fate::Gone => Decision::Complete(Shown::Nothing),
            Fate::Untouched if !self.is_keyed() && found.is_some_and(fits) => {
                // A statement that the stream has not come to may have made the key.
                if is_reached { Decision::Complete(Shown::TypesAndKey) } else { Decision::Wait }
            }
            Fate::Untouched | Fate::Altered => Decision::Complete(Shown::Types),
        }
    }

    /// The schema of its rows: types that the binlog does not say, and their key, come from `found` as far as that holds; what it does
    /// not show stays as the binlog has it. `before`: the last schema before it that is not left out, if its key may still be that.
    pub fn completed(&self, shown: Shown, found: Option<&TableSchema>, before: Option<&Current>) -> Completed {
        let mut schema = TableSchema::clone(&self.seen);
        let typed = found.filter(|_| shown != Shown::Nothing);
        let (lost, asked_for): (Vec<u16>, Vec<u16>) = self.unknown.iter().partition(|place| self.lost.contains(place));
        let mut guessed = take_described(&mut schema, &asked_for, typed);
        // A column of its name that is there now is another one.
        guessed.extend(take_described(&mut schema, &lost, None));
        if let Some(keyed) = found.filter(|_| shown == Shown::TypesAndKey) {
            schema.key.clone_from(&keyed.key);
        } else if !self.is_keyed() {
            let kept = before.filter(|_| self.fate == Fate::Untouched);
            schema.key = kept.and_then(|before| before.kept_key(&schema));
        }
        Completed { schema, guessed }
    }
}

/// Gives the columns at `unknown` the types that the server describes. Returns the names of those that it does not show, which stay as
/// the binlog calls them.
fn take_described(schema: &mut TableSchema, unknown: &[u16], described: Option<&TableSchema>) -> Vec<String> {
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
