//! What is under a name at the target, and whether the sink made it: its tables and views say so in their comments. Nothing that
//! does not is dropped or written over.

use std::collections::BTreeSet;

use wal::Lsn;

use super::error::Refused;
use super::layout::Layout;
use super::names::{literal, quoted};
use super::rebuild::beside;
use super::target::Target;
use crate::config::Mode;
use crate::error::Failure;

/// A table or a view.
pub(super) struct UnderName {
    /// What it says about itself.
    comment: String,
    is_view: bool,
    /// Whether the sink made it.
    is_ours: bool,
}

impl UnderName {
    /// A table that the sink made.
    pub(super) fn is_own_table(&self) -> bool {
        self.is_ours && !self.is_view
    }

    /// The change that made it, by a comment as [`made`] gives it.
    pub(super) fn made(&self) -> Option<Lsn> {
        let (_, lsn) = self.comment.rsplit_once(MADE)?;
        lsn.parse().ok().map(Lsn::new)
    }
}

/// What the comment of a table says before the LSN of the change that made it.
const MADE: &str = "made at lsn ";

/// How the comments of a sink's tables and views begin.
fn signature(sink: &str) -> String {
    format!("replicator sink {sink}, ")
}

/// The comment of a table that the sink made at `lsn`.
pub(super) fn made(sink: &str, lsn: Lsn) -> String {
    format!("{}{MADE}{lsn}", signature(sink))
}

/// The comment of a table that the sink emptied at `lsn`.
pub(super) fn emptied(sink: &str, lsn: Lsn) -> String {
    format!("{}emptied at lsn {lsn}", signature(sink))
}

impl Target {
    /// What is under a name.
    pub(super) async fn under_name(&self, name: &str) -> Result<Option<UnderName>, Refused> {
        let sql = format!(
            "SELECT comment, engine FROM system.tables WHERE database = {} AND name = {}",
            literal(&self.clickhouse.database),
            literal(name)
        );
        let rows: Vec<(String, String)> = self.client.rows(&sql).await?;
        Ok(rows.into_iter().next().map(|(comment, engine)| UnderName {
            is_ours: comment.starts_with(&signature(&self.plan.name)),
            is_view: engine == "View",
            comment,
        }))
    }

    /// The names of tables and views that the sink did not make.
    pub(super) async fn foreign(&self) -> Result<BTreeSet<String>, Refused> {
        let database = literal(&self.clickhouse.database);
        let rows: Vec<(String, String)> =
            self.client.rows(&format!("SELECT name, comment FROM system.tables WHERE database = {database}")).await?;
        let ours = signature(&self.plan.name);
        Ok(rows.into_iter().filter(|(_, comment)| !comment.starts_with(&ours)).map(|(name, _)| name).collect())
    }

    /// Whether there is a table of this sink under a name.
    pub(super) async fn has_own_table(&self, name: &str) -> Result<bool, Refused> {
        Ok(self.under_name(name).await?.is_some_and(|found| found.is_own_table()))
    }

    /// Sees to it that the name of the table that a rebuild makes beside `target` is free, or holds what a rebuild left there.
    pub(super) async fn may_rebuild(&self, target: &str) -> Result<(), Failure> {
        let beside = beside(target);
        let found =
            self.under_name(&beside).await.map_err(|error| error.failure(&format!("make \"{target}\" again")))?;
        let is_mirrored = self.followed.tables.values().any(|table| table.layout.target == beside);
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
            literal(&format!("{}current rows", signature(&self.plan.name)))
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
