//! What is under a name at the target, and whether the sink made it: its tables and views say so in their comments. Nothing that
//! does not is dropped or written over.

use std::collections::BTreeSet;

use wal::Lsn;

use super::client::Client;
use super::error::Refused;
use super::layout::Layout;
use super::names::{literal, quoted};
use super::rebuild::second_name;
use super::registry::Table;
use super::target::Target;
use super::version::LineVersion;
use crate::config::Mode;
use crate::error::Failure;
use crate::sink::epoch::Owner;
use crate::sink::layout;

/// A table or a view.
pub(super) struct UnderName {
    /// What it says about itself.
    comment: String,
    is_view: bool,
    /// Whether the sink made it.
    is_ours: bool,
    /// The change of this log since which it is this table: that made it, copied it from another one or emptied it.
    pub(super) since: Option<Lsn>,
}

impl UnderName {
    /// A table that the sink made.
    pub(super) fn is_own_table(&self) -> bool {
        self.is_ours && !self.is_view
    }

    /// The log from which a sink of this name made it, if one did.
    pub(super) fn maker(&self, sink: &str) -> Option<&str> {
        maker(sink, &self.comment)
    }
}

/// The log from which a sink of this name made a table with this comment, if one did.
pub(super) fn maker<'c>(sink: &str, comment: &'c str) -> Option<&'c str> {
    comment.strip_prefix(&of_sink(sink)).and_then(|rest| rest.split(',').next())
}

/// The comment and the engine of the table or view of this name, of the sink's or not.
pub(super) async fn under_name(
    client: &Client,
    database: &str,
    name: &str,
) -> Result<Option<(String, String)>, Refused> {
    let sql = format!(
        "SELECT comment, engine FROM system.tables WHERE database = {} AND name = {}",
        literal(database),
        literal(name)
    );
    Ok(client.rows(&sql).await?.into_iter().next())
}

/// What stands before the LSN in every comment of a table.
const AT: &str = " at lsn ";

/// How the comments of the tables and views begin that a sink of this name made, from whatever log.
fn of_sink(sink: &str) -> String {
    format!("replicator sink {sink}, log ")
}

/// How those begin that it made from one log, in one epoch of the target: the LSNs of another one are others.
fn signature(sink: &str, Owner { log, epoch }: Owner) -> String {
    format!("{}{log}, epoch {epoch}, ", of_sink(sink))
}

impl Target {
    /// The version of a line of this log as of `lsn`.
    pub(super) fn version(&self, lsn: Lsn) -> LineVersion {
        LineVersion::new(self.owner.epoch, lsn)
    }

    /// The comment of a table that the sink makes at `lsn`.
    pub(super) fn made(&self, lsn: Lsn) -> String {
        format!("{}made{AT}{lsn}", signature(&self.plan.name, self.owner))
    }

    /// The change since which a table is what it is, by any comment of the sink's.
    fn is_since(&self, comment: &str) -> Option<Lsn> {
        let (_, lsn) = comment.strip_prefix(&signature(&self.plan.name, self.owner))?.split_once(AT)?;
        lsn.parse().ok().map(Lsn::new)
    }

    /// The comment of a table that the sink empties at `lsn`.
    pub(super) fn emptied(&self, lsn: Lsn) -> String {
        format!("{}emptied{AT}{lsn}", signature(&self.plan.name, self.owner))
    }

    /// The comment of a table that the sink makes at `lsn` like another one. It may get another shape at the same change, which is not done yet.
    pub(super) fn copied(&self, lsn: Lsn) -> String {
        format!("{}copied{AT}{lsn}", signature(&self.plan.name, self.owner))
    }

    /// Whether the comment of what is under a name says that this sink made it: from this log in this epoch, or before the target was taken
    /// over, as one of the tables that are registered.
    fn is_ours(&self, name: &str, comment: &str) -> bool {
        let is_registered = || {
            let mut targets = self.followed.tables.values().flat_map(Table::targets);
            let new = |target: &str| layout::beside(target) == name;
            targets.any(|target| *target == name || view(target) == name || second_name(target) == name || new(target))
        };
        comment.starts_with(&signature(&self.plan.name, self.owner))
            || (comment.starts_with(&of_sink(&self.plan.name)) && is_registered())
    }

    /// What is under a name.
    pub(super) async fn under_name(&self, name: &str) -> Result<Option<UnderName>, Refused> {
        let found = under_name(&self.client, &self.clickhouse.database, name).await?;
        Ok(found.map(|(comment, engine)| UnderName {
            is_ours: self.is_ours(name, &comment),
            is_view: engine == "View",
            since: self.is_since(&comment),
            comment,
        }))
    }

    /// The names of tables and views that the sink did not make.
    pub(super) async fn foreign(&self) -> Result<BTreeSet<String>, Refused> {
        let database = literal(&self.clickhouse.database);
        let rows: Vec<(String, String)> =
            self.client.rows(&format!("SELECT name, comment FROM system.tables WHERE database = {database}")).await?;
        let ours = signature(&self.plan.name, self.owner);
        Ok(rows.into_iter().filter(|(_, comment)| !comment.starts_with(&ours)).map(|(name, _)| name).collect())
    }

    /// Whether there is a table of this sink under a name.
    pub(super) async fn has_own_table(&self, name: &str) -> Result<bool, Refused> {
        Ok(self.under_name(name).await?.is_some_and(|found| found.is_own_table()))
    }

    /// Sees to it that the name of the table that a rebuild makes beside `target` is free, or holds what a rebuild left there.
    pub(super) async fn may_rebuild(&self, target: &str) -> Result<(), Failure> {
        let beside = second_name(target);
        let found =
            self.under_name(&beside).await.map_err(|error| error.failure(&format!("make \"{target}\" again")))?;
        let is_mirrored = self.followed.tables.values().any(|table| table.targets().any(|target| *target == beside));
        if is_mirrored || found.is_some_and(|found| found.is_view || !found.is_ours) {
            return Err(Failure::row(format!(
                "\"{target}\" has to be made again as \"{beside}\", and that name is taken"
            ))
            .hint("rename that table or view, or set another `table_name` for the sink"));
        }
        Ok(())
    }

    /// Each mirror's view hides what FINAL hides.
    pub(super) async fn make_view(&self, layout: &Layout) -> Result<(), Failure> {
        if !self.clickhouse.create_views || layout.mode == Mode::History {
            return Ok(());
        }
        let view = view(&layout.target);
        let failed = |error: Refused| error.failure(&format!("make the view \"{view}\""));
        let found = self.under_name(&view).await.map_err(failed)?;
        if found.is_some_and(|found| !found.is_view || !found.is_ours) {
            return Err(Failure::row(format!(
                "database \"{}\" has a table or view \"{view}\" that is not the sink's view of \"{}\"",
                self.clickhouse.database, layout.target
            ))
            .hint("rename or drop it, or set `create_views: false`"));
        }
        let names: Vec<_> =
            layout.columns.iter().map(|column| &column.name).chain(&layout.soft).map(|name| quoted(name)).collect();
        let sql = format!(
            "CREATE OR REPLACE VIEW {} AS SELECT {} FROM {} FINAL COMMENT {}",
            self.place(&view),
            names.join(", "),
            self.place(&layout.target),
            literal(&format!("{}current rows", signature(&self.plan.name, self.owner)))
        );
        self.client.execute(&sql, false).await.map_err(failed)
    }

    /// Drops the view of a table that gets another name or goes.
    pub(super) async fn drop_view(&self, target: &str) -> Result<(), Refused> {
        if !self.clickhouse.create_views {
            return Ok(());
        }
        let view = view(target);
        if self.under_name(&view).await?.is_some_and(|found| found.is_view && found.is_ours) {
            self.client.execute(&format!("DROP VIEW IF EXISTS {} SYNC", self.place(&view)), false).await?;
        }
        Ok(())
    }

    /// A table's full name.
    pub(super) fn place(&self, table: &str) -> String {
        format!("{}.{}", quoted(&self.clickhouse.database), quoted(table))
    }
}

fn view(target: &str) -> String {
    format!("{target}_current")
}
