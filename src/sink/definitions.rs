//! What a target does to its tables, one request or statement each: what a sink brings, over which [`follow`](super::follow) follows the
//! changes of the log. A sink translates here, it does not judge.
//!
//! # What holds of every method
//! - A failure of class `Row` is about the table at hand and stops it; any other is about the sink.
//! - Where changes [commit with the round](Definitions::ATOMIC) a failed one is taken back ([`Definitions::undo`]). Elsewhere each method can be
//!   repeated: a crash or a refusal may fall between any two requests, and the change comes again from its first step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use async_trait::async_trait;
use bytesize::ByteSize;
use wal::Lsn;

use super::adopt::{OurTable, TheirTable};
use super::changes::Changes;
use super::counts::Counts;
use super::layout::{Dialect, Layout};
use super::left::LeftColumn;
use super::refusals::{Blame, Line, Refusals};
use super::registry::{StoredOptions, Table, Tables};
use super::reshape::{Origin as ColumnOrigin, Step};
use super::rows::Writers;
use super::rules::RuleScratch;
use super::stops::Stops;
use super::{StoppedTable, TargetState};
use crate::codec::version::FramePlace;
use crate::config::{DdlPolicy, SinkPlan};
use crate::dead::Letters;
use crate::error::Failure;
use crate::model::{Origin, TableName, TableSchema};

/// The type of a target's columns.
pub(super) type TypeOf<D> = <<D as Definitions>::Dialect as Dialect>::Type;

/// The shape of a target's tables.
pub(super) type LayoutOf<D> = Layout<TypeOf<D>>;

/// What a sink knows of its tables, and of how far their changes have come. `R` is how rows of one schema are written.
#[derive(Debug)]
pub(super) struct Followed<T, R> {
    /// Its tables.
    pub(super) tables: Tables<T>,
    /// How rows are written into them.
    pub(super) writers: Writers<R>,
    /// Room for a value that a rule looks at.
    pub(super) rule_scratch: RuleScratch,
    /// What became of the rows of the round, as far as it is known yet.
    pub(super) counts: Counts,
    /// Those that it leaves out.
    pub(super) stops: Stops,
    /// Tables whose lines cannot be read.
    pub(super) unreadable: Vec<TableName>,
    /// How far changes have come, where they do not commit with the round.
    pub(super) changes: Changes,
    /// How long tables have been refused.
    pub(super) refusals: Refusals,
    /// Tables for which the round before was given up, and why: they stop before it comes again.
    pub(super) doomed: BTreeMap<TableName, String>,
    /// The sink's dead letters.
    pub(super) letters: Letters,
    /// The cursor when the target was opened; `None`: it is fresh.
    pub(super) opened_at: Option<Lsn>,
    /// The cursor.
    pub(super) applied: Lsn,
    /// First frame of the round.
    pub(super) began: Option<Lsn>,
    /// The frame at hand, or the last one.
    pub(super) last: Lsn,
}

impl<T, R> Followed<T, R> {
    /// What was read from the target: the lines of its tables and the names of those that cannot be read, and the rest.
    pub(super) fn new(
        (tables, unreadable): (Tables<T>, Vec<TableName>),
        stops: Stops,
        changes: Changes,
        state: TargetState,
    ) -> Self {
        let opened_at = match state {
            TargetState::At { applied, .. } => Some(applied),
            TargetState::Fresh | TargetState::Lost(_) => None,
        };
        Self {
            tables,
            writers: Writers::default(),
            rule_scratch: RuleScratch::default(),
            counts: Counts::default(),
            stops,
            unreadable,
            changes,
            refusals: Refusals::default(),
            doomed: BTreeMap::new(),
            letters: Letters::in_memory(),
            opened_at,
            applied: state.applied(),
            began: None,
            last: Lsn::ZERO,
        }
    }

    /// A round has ended and is applied, with this cursor, and no other one has begun.
    pub(super) fn ends(&mut self, end: Lsn) {
        self.applied = end;
        self.began = None;
    }

    /// Takes the next frame in hand; the round begins with its first one.
    pub(super) fn begin(&mut self, lsn: Lsn) {
        self.began.get_or_insert(lsn);
        self.last = lsn;
    }
}

/// Where a change stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'o> {
    /// Its frame.
    pub(super) place: FramePlace,
    /// The source transaction.
    pub(super) origin: &'o Origin,
}

impl At<'_> {
    /// The frame's LSN.
    pub(super) fn lsn(self) -> Lsn {
        self.place.lsn
    }
}

/// What is under a name at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A table that the sink made.
    Ours {
        /// At which change; `None` where the target does not keep that.
        made: Option<Lsn>,
    },
    /// A table, a view or anything else that it did not make.
    Foreign {
        /// The log from which another sink of this name made it, if one did.
        maker: Option<String>,
    },
}

/// A table that takes the place of another one.
pub(super) struct Rebuild<'r, T> {
    /// The table that is there.
    pub(super) old: &'r Table<T>,
    /// The source's schema from here on.
    pub(super) schema: &'r TableSchema,
    /// The shape from here on.
    pub(super) layout: &'r Layout<T>,
    /// Where its columns come from.
    pub(super) origins: &'r [ColumnOrigin],
    /// Whether the rows of the old one are copied.
    pub(super) is_filled: bool,
    /// Columns of the old one that it keeps, with their values where rows are copied.
    pub(super) left: Vec<LeftColumn>,
}

/// Which rows of a target are those of one table, where others have rows in it as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The column that says so.
    pub(super) column: String,
    /// Its value.
    pub(super) tag: String,
}

/// A copy that takes the place of another one.
pub(super) struct Swap<'s> {
    /// The source's table.
    pub(super) name: &'s TableName,
    /// The name that the new copy has.
    pub(super) new: &'s str,
    /// The name that it gets, which the old one has.
    pub(super) at_target: &'s str,
    /// Where the replace began: the new copy was made there or later, the old one before.
    pub(super) begun: Lsn,
    /// What becomes of the old one.
    pub(super) fate: Fate,
}

/// What becomes of a copy in whose place another one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is dropped.
    Drop {
        /// Both are defined by the same configuration, so that what somebody has put on the old one fits the new one as well.
        is_alike: bool,
    },
    /// It gets this name.
    SetAside(String),
}

/// Room at a target, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// What a copy takes.
    pub(super) needed: u64,
    /// What is free where it is.
    pub(super) free: u64,
}

impl Room {
    /// What a replace of the copy under this name in `place` lacks, in words; `None` where there is room for it.
    pub(super) fn lack(self, at_target: &str, place: &str) -> Option<String> {
        let [needed, free] = [self.needed, self.free].map(ByteSize::b);
        (self.needed > self.free).then(|| {
            format!("a second copy of \"{at_target}\", which a replace builds beside it, takes about {needed}, and {free} are free in {place}")
        })
    }
}

/// What is to be done where there is no room for a second copy.
pub(super) const FREE_ROOM: &str = "free some room at the target";

/// What a target does to its tables.
#[async_trait]
pub(super) trait Definitions: Send {
    /// Its types and names.
    type Dialect: Dialect;

    /// How rows of one schema are written.
    type Rows: Send;

    /// Whether a change commits with the round and its cursor. Else its begin and its end are written down.
    const ATOMIC: bool;

    /// Its types and names.
    fn dialect(&self) -> &Self::Dialect;

    /// The sink's part of the configuration.
    fn plan(&self) -> &SinkPlan;

    /// What is done about changes of definitions.
    fn policy(&self) -> DdlPolicy;

    /// Settings of the sink's own that decide types, by their keys.
    fn type_settings(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What is known of the tables.
    fn followed(&self) -> &Followed<TypeOf<Self>, Self::Rows>;

    /// What is known of the tables.
    fn followed_mut(&mut self) -> &mut Followed<TypeOf<Self>, Self::Rows>;

    /// Where the tables are, in words: `database "x"`.
    fn location(&self) -> String;

    /// What is under a name.
    async fn find(&mut self, target: &str) -> Result<Option<Found>, Failure>;

    /// Tables that are not at the target as the sink left them, and what is different.
    async fn altered(&mut self) -> Result<Vec<(TableName, String)>, Failure>;

    /// The first of these names under which there is something that the sink did not make.
    async fn foreign_of(&mut self, targets: BTreeSet<String>) -> Result<Option<String>, Failure> {
        for target in targets {
            if matches!(self.find(&target).await?, Some(Found::Foreign { .. })) {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Makes a table, unless it was made by the change at `lsn` before.
    async fn create(&mut self, lsn: Lsn, name: &TableName, layout: &Layout<TypeOf<Self>>) -> Result<(), Failure>;

    /// The table that the sink makes of a layout of this schema.
    fn our_table(&self, layout: &Layout<TypeOf<Self>>, schema: &TableSchema) -> OurTable;

    /// What is under the name of a layout and the sink did not make; `None`: nothing is.
    async fn their_table(&mut self, layout: &Layout<TypeOf<Self>>) -> Result<Option<TheirTable>, Failure>;

    /// Makes a table the sink's that was compared with the layout: from here on it is as if the change at `lsn` had
    /// made it. Its rows stay, or go.
    async fn take_in(&mut self, lsn: Lsn, name: &TableName, of: (&Layout<TypeOf<Self>>, bool)) -> Result<(), Failure>;

    /// Takes steps on a table. `layout` and `schema` are those from here on.
    async fn alter(
        &mut self,
        lsn: Lsn,
        layout: &Layout<TypeOf<Self>>,
        schema: &TableSchema,
        steps: &[Step],
    ) -> Result<(), Failure>;

    /// The columns of a table that rows can be copied out of, in their order: their names, and their types and defaults as SQL.
    async fn found_columns(&mut self, target: &str) -> Result<Vec<(String, String)>, Failure>;

    /// Makes a table out of the one that has its name.
    async fn rebuild(&mut self, lsn: Lsn, rebuild: Rebuild<'_, TypeOf<Self>>) -> Result<(), Failure>;

    /// Makes the table `new`, whose name is free, and defines it as the one of `layout` is, with what somebody has added to that. One of a mirror
    /// with soft deletion gets the rows as well, all marked as deleted; where they are told apart by all their values, only those that are marked.
    async fn copy_beside(&mut self, at: At<'_>, layout: &Layout<TypeOf<Self>>, new: &str) -> Result<(), Failure>;

    /// Puts a copy in the place of another one. Readers see one or the other, and whatever somebody has put on the old one and fits is on the new one.
    async fn swap(&mut self, swap: Swap<'_>) -> Result<(), Failure>;

    /// Whether the new copy is in the place of the old one already, though what becomes of that may be still to do. Asked only where changes do not
    /// commit with the round.
    async fn is_swapped(&mut self, _swap: &Swap<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// What a second copy of a table takes, and what is free for it; `None` where the target does not say.
    async fn room_beside(&mut self, target: &str) -> Result<Option<Room>, Failure>;

    /// Gives a table another name.
    async fn rename_target(&mut self, name: &TableName, from: &str, to: &str) -> Result<(), Failure>;

    /// Drops a table, with what the sink made beside it. What somebody else has put in its place stays.
    async fn drop_target(&mut self, name: &TableName, target: &str) -> Result<(), Failure>;

    /// Takes every row out of a mirror with hard deletion, or those of a share. `op` says why, for messages.
    async fn empty(
        &mut self,
        lsn: Lsn,
        layout: &Layout<TypeOf<Self>>,
        op: &str,
        share: Option<&Share>,
    ) -> Result<(), Failure>;

    /// Marks every row of a mirror with soft deletion, or those of a share.
    async fn mark_deleted(
        &mut self,
        at: At<'_>,
        layout: &Layout<TypeOf<Self>>,
        op: &str,
        share: Option<&Share>,
    ) -> Result<(), Failure>;

    /// Appends a line to a changelog for a change of the whole table, with its reason if it has one.
    async fn append_mark(
        &mut self,
        at: At<'_>,
        layout: &Layout<TypeOf<Self>>,
        op: &str,
        reason: Option<&str>,
    ) -> Result<(), Failure>;

    /// Makes what the sink has beside a table: a view.
    async fn make_views(&mut self, _layout: &Layout<TypeOf<Self>>) -> Result<(), Failure> {
        Ok(())
    }

    /// Says in a table's line, which is of `version`, that the change at `lsn` begins. Not asked of a target whose changes commit with the round.
    async fn announce(&mut self, version: Lsn, table: &Table<TypeOf<Self>>, lsn: Lsn) -> Result<(), Failure>;

    /// Writes a table's line as of the change at `lsn`, which is done then.
    async fn save(&mut self, lsn: Lsn, table: &Table<TypeOf<Self>>) -> Result<(), Failure>;

    /// Removes a table's line, and writes that of `now`, which has taken its place, if any.
    async fn replace_line(
        &mut self,
        lsn: Lsn,
        table: &TableName,
        now: Option<&Table<TypeOf<Self>>>,
    ) -> Result<(), Failure>;

    /// Writes down, as of `version`, that a table is stopped.
    async fn save_stop(&mut self, version: Lsn, table: &TableName, stop: &Stop<'_>) -> Result<(), Failure>;

    /// Writes down, as of `version`, that a table is written again.
    async fn end_stop(&mut self, version: Lsn, table: &TableName) -> Result<(), Failure>;

    /// Begins a change that may be taken back.
    async fn attempt(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Keeps the change that was begun.
    async fn keep(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes back what was begun for a table and failed so, with what is known of the table.
    ///
    /// # Errors
    /// When it cannot be taken back alone: then the round is given up.
    async fn undo(&mut self, _table: &TableName, _failed: &Failure) -> Result<(), Failure> {
        Ok(())
    }

    /// What a failure that may pass is about.
    fn blame(&self, failure: &Failure) -> Blame;

    /// The target's clock, in milliseconds since 1970.
    async fn clock_ms(&mut self) -> Result<u64, Failure> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Writes down for how long a table has been refused, with the last reason; or that it is not refused any more. A target that never says
    /// [`Blame::Table`] is not asked.
    ///
    /// # Errors
    /// When the target does not take this line either.
    async fn save_refusal(&mut self, table: &TableName, line: &Line, reason: &str) -> Result<(), Failure>;

    /// A table has another shape. Statements that were prepared for it are forgotten.
    fn forget_statements(&mut self) {}

    /// The table is stopped: rows of the round that are not stored yet are given up. Says how many row changes they were.
    fn give_up(&mut self, _table: &TableName) -> u64 {
        0
    }
}

/// A stop as it is written down.
pub(super) struct Stop<'s> {
    /// Since when, and why.
    pub(super) why: &'s StoppedTable,
    /// The source does not have the table any more.
    pub(super) is_dropped: bool,
    /// What the configuration said of the table when it stopped.
    pub(super) options: &'s StoredOptions,
}
