//! A copy that is built beside the one that readers see, and takes its place: EXCHANGE TABLES gives both their names at once.
//!
//! A crash may fall between any two statements, and the change comes again from its first. Every table says in its comment since which change it is
//! this table: of the new copy, that is not before the begin of the replace, and of the old one it is. So the one that has the name says whether the
//! exchange is done. An INSERT that the server still works on goes into the table that had the name when it began.

use super::client::Client;
use super::copy::Copy;
use super::error::Refused;
use super::layout::Layout;
use super::names::{literal, quoted};
use super::target::Target;
use crate::codec::version::row_version;
use crate::error::Failure;
use crate::sink::definitions::{At, Fate, Room, Swap};
use crate::sink::follow;

impl Target {
    /// Makes the table `new` like that of `layout`. Softly deleted rows come along, and so that they are known not to be there if they do not come
    /// again, live ones as deleted.
    pub(super) async fn make_copy(&self, at: At<'_>, layout: &Layout, new: &str) -> Result<(), Refused> {
        let (into, from) = (self.place(new), self.place(&layout.target));
        let sql = format!("CREATE TABLE {into} AS {from} COMMENT {}", literal(&self.copied(at.lsn())));
        self.client.execute(&sql, false).await.map_err(|error| error.of_statement(&sql))?;
        let Some(soft) = &layout.soft else { return Ok(()) };
        let own = layout.table_columns();
        let added = self.stored_columns(&layout.target).await?.into_iter().map(|(name, _)| name);
        let added = added.filter(|name| !own.iter().any(|(column, _)| column == name));
        let names: Vec<_> = layout.columns.iter().map(|column| column.name.clone()).chain(added).collect();
        let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
        let (names, soft) = (names.join(", "), quoted(soft));
        let marked = Copy {
            into,
            values: format!("{names}, 1, {}", row_version(self.owner.epoch, at.place, 0)),
            columns: format!("{names}, {soft}, _version"),
            from,
            layout,
            only: None,
        };
        marked.run(&self.client).await
    }

    /// Whether the new copy has the name that the old one had.
    pub(super) async fn is_in_place(&self, swap: &Swap<'_>) -> Result<bool, Refused> {
        let in_place = self.under_name(swap.at_target).await?;
        Ok(in_place.is_some_and(|found| found.is_own_table() && found.since >= Some(swap.begun)))
    }

    /// Puts a copy in the place of another one.
    pub(super) async fn put_in_place(&self, swap: &Swap<'_>) -> Result<(), Failure> {
        let Swap { name, new, at_target, fate, .. } = swap;
        let what = format!("put the new copy of {name} in the place of \"{at_target}\"");
        let failed = |error: Refused| error.failure(&what);
        if !self.is_in_place(swap).await.map_err(failed)? {
            let there = self.under_name(at_target).await.map_err(failed)?;
            if let Some(foreign) = there.as_ref().filter(|found| !found.is_own_table()) {
                return Err(follow::taken(self, name, at_target, foreign.maker(&self.plan.name).map(str::to_owned)));
            }
            if !self.has_own_table(new).await.map_err(failed)? {
                return Err(Failure::row(format!("the new copy of {name}, \"{new}\", is gone from the target")));
            }
            let (verb, between) = if there.is_some() { ("EXCHANGE TABLES", "AND") } else { ("RENAME TABLE", "TO") };
            let sql = format!("{verb} {} {between} {}", self.place(new), self.place(at_target));
            self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))?;
            // One whose answer was lost before may have come in between, and have undone this one.
            if !self.is_in_place(swap).await.map_err(failed)? {
                return Err(Failure::retry(format!("cannot {what}: the two were exchanged twice")));
            }
        }
        if !matches!(fate, Fate::Drop { is_alike: true }) {
            // A view of the old copy may name columns that the new one has not, and the new one may have none.
            self.drop_view(at_target).await.map_err(failed)?;
        }
        // From here on the old copy has the new one's name.
        if !self.has_own_table(new).await.map_err(failed)? {
            return Ok(());
        }
        let old = self.place(new);
        let sql = match fate {
            Fate::Drop { .. } => format!("DROP TABLE IF EXISTS {old} SYNC SETTINGS max_table_size_to_drop = 0"),
            Fate::SetAside(aside) => format!("RENAME TABLE {old} TO {}", self.place(aside)),
        };
        self.client.execute(&sql, false).await.map_err(|error| failed(error.of_statement(&sql)))
    }
}

/// What a second copy of a table takes, and what is free on the disks that its storage policy names.
pub(super) async fn room(client: &Client, database: &str, table: &str) -> Result<Option<Room>, Refused> {
    let (database, table) = (literal(database), literal(table));
    let needed = format!(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = {database} AND table = {table} AND active"
    );
    // Disks of an object store say that the largest number is free.
    let free = format!(
        "SELECT count(), toUInt64(least(sum(toFloat64(unreserved_space)), 9e18)) FROM system.disks WHERE name IN \
         (SELECT arrayJoin(disks) FROM system.storage_policies WHERE policy_name IN \
         (SELECT storage_policy FROM system.tables WHERE database = {database} AND name = {table}))"
    );
    let needed: Vec<(u64,)> = client.rows(&needed).await?;
    let free: Vec<(u64, u64)> = client.rows(&free).await?;
    Ok(match (needed.first(), free.first()) {
        (Some((needed,)), Some((disks, free))) if *disks > 0 => Some(Room { needed: *needed, free: *free }),
        _ => None,
    })
}

/// The largest of these tables.
pub(super) async fn largest(client: &Client, database: &str, tables: &[&str]) -> Result<Option<String>, Refused> {
    if tables.is_empty() {
        return Ok(None);
    }
    let names: Vec<_> = tables.iter().map(|table| literal(table)).collect();
    let sql = format!(
        "SELECT table FROM system.parts WHERE database = {} AND active AND table IN ({}) GROUP BY table \
         ORDER BY sum(bytes_on_disk) DESC LIMIT 1",
        literal(database),
        names.join(", ")
    );
    Ok(client.rows::<(String,)>(&sql).await?.into_iter().next().map(|(table,)| table))
}
