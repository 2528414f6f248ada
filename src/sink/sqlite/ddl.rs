//! Changes of a table's definition or whole content, inside the round's transaction: SQLite's DDL is transactional, so a
//! round with DDL in its midst is visible as a whole or not at all.
//!
//! - What the table is now is taken from the sink's own registry, never from the change: a change that is already there is
//!   no change.
//! - A truncated or replaced mirror is emptied; with soft deletion its rows are marked as deleted, and those that a re-read
//!   brings again come back to life. A dropped table is dropped; with soft deletion, or as a changelog, it stays.
//! - A changelog gets a line for each change of the whole table, and for each gap with its reason, and loses nothing:
//!   dropped columns stay.

use rusqlite::types::Value;

use super::bind::cell_value;
use super::history::{Place, mark, utc_text};
use super::layout::{Layout, after, before, quoted, same_name};
use super::rebuild::rebuild;
use super::registry::{self, Table, difference, way_out};
use super::reshape::Reshape;
use super::target::{Lookup, Target};
use crate::codec::frame::TableChange;
use crate::codec::row_image::Plan;
use crate::codec::version::FramePlace;
use crate::config::Mode;
use crate::error::Failure;
use crate::model::{ColumnDefault, Origin, TableName, TableSchema};

/// Prefix of the names that columns or tables have between two names.
const BETWEEN: &str = "_replicator_rename";

/// What empties a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Emptied {
    /// Its rows are gone at the source.
    Gone,
    /// Its rows come again.
    Replaced,
}

impl Target {
    /// Applies a change.
    pub(super) fn change(
        &mut self,
        frame: FramePlace,
        origin: &Origin,
        change: &TableChange,
        lookup: &mut Lookup<'_>,
    ) -> Result<(), Failure> {
        self.begin()?;
        let commit_time = utc_text(origin.commit_micros);
        let place = Place { epoch: self.epoch, frame, ordinal: 0, commit_time: &commit_time };
        match change {
            TableChange::Schema { to, renamed, lost, .. } => self.shape(&*lookup(*to)?, renamed, *lost),
            TableChange::Truncate { table } => self.empty(table, Emptied::Gone, "truncate", place),
            TableChange::Drop { table } => self.drop_table(table, place),
            TableChange::Rename { from, to, schema } => {
                let schema = lookup(*schema)?;
                self.rename_table(from, to, &schema, place)
            }
            TableChange::Gap { table, reason } | TableChange::LeftOut { table, reason } => {
                self.gap(table, reason, place)
            }
            TableChange::ReplaceEnd { .. } => Ok(()),
            TableChange::ReplaceBegin { table, schema } => {
                let schema = lookup(*schema)?;
                self.empty(table, Emptied::Replaced, "replace", place)?;
                if self.tables.contains_key(table) {
                    return self.shape(&schema, &[], true);
                }
                self.shape(&schema, &[], true)?;
                self.empty(table, Emptied::Replaced, "replace", place)
            }
        }
    }

    /// Brings the table to the shape of `schema`; makes it if there is none. `lost`: its rows come again, and their keys cannot be told
    /// from those that it has.
    pub(super) fn shape(
        &mut self,
        schema: &TableSchema,
        renamed: &[(String, String)],
        lost: bool,
    ) -> Result<(), Failure> {
        let name = schema.name.clone();
        let options = self.plan.options_for(&name);
        let layout = Layout::new(schema, &options, self.plan.target_name(&name))?;
        let new = Table { schema: schema.clone(), options, layout };
        match self.tables.get(&name) {
            None => self.create(&new)?,
            Some(old) if old.schema.same_image(&new.schema) && old.schema.key == new.schema.key => {}
            Some(old) => {
                refuse_uncovering(old, &new, renamed)?;
                match new.layout.mode {
                    Mode::Mirror => self.reshape_mirror(old, &new, renamed, lost)?,
                    Mode::History => self.reshape_history(old, &new, renamed)?,
                }
            }
        }
        self.register(new)
    }

    fn register(&mut self, table: Table) -> Result<(), Failure> {
        registry::save(&self.connection, &self.plan.name, &table)
            .map_err(|error| self.fail("register a table", error))?;
        let name = table.schema.name.clone();
        self.tables.insert(name.clone(), table);
        self.forget_writers(&name);
        Ok(())
    }

    fn create(&self, table: &Table) -> Result<(), Failure> {
        let name = &table.schema.name;
        let target = &table.layout.target;
        let what = format!("create the table \"{target}\"");
        self.refuse_taken(name, target)?;
        for column in table.options.drop.iter().chain(table.options.rename.iter().map(|(from, _)| from)) {
            if table.schema.column_index(column).is_none() {
                tracing::warn!(sink = %self.plan.name, table = %name, %column, "the table's rule names a column that it does not have");
            }
        }
        self.connection.execute_batch(&table.layout.create_statement(target)).map_err(|error| self.fail(&what, error))
    }

    /// Whether the names of these tables are free, or their tables were made by this sink.
    pub(super) fn can_make(&self, tables: &[TableName]) -> Result<(), Failure> {
        let new = tables.iter().filter(|table| !self.tables.contains_key(*table));
        for table in new {
            self.refuse_taken(table, &self.plan.target_name(table))?;
        }
        Ok(())
    }

    /// A table that is there already was made by somebody else, or holds another source table.
    fn refuse_taken(&self, name: &TableName, target: &str) -> Result<(), Failure> {
        if let Some(other) = self.tables.values().find(|table| same_name(&table.layout.target, target)) {
            return Err(Failure::fatal(format!("{name} would be written to \"{target}\", which holds {}", other.schema.name))
                .hint("set the sink's `table_name` so that every source table has its own, for example \"{database}_{table}\""));
        }
        if registry::is_taken(&self.connection, target).map_err(|error| self.fail("look for a table", error))? {
            return Err(Failure::fatal(format!(
                "\"{}\" has a table or view \"{target}\" that this sink did not make, {name} is not written into it",
                self.path.display()
            ))
            .hint("rename or drop it, or set another `path` or `table_name` for the sink"));
        }
        Ok(())
    }

    fn reshape_mirror(
        &self,
        old: &Table,
        new: &Table,
        renamed: &[(String, String)],
        lost: bool,
    ) -> Result<(), Failure> {
        let mut scratch = super::bind::Scratch::default();
        let defaults = defaults(&new.schema, &mut scratch)?;
        let way = Reshape::new((old, new), renamed, &defaults, lost);
        let done = if way.rebuild {
            if way.keys_lost && !new.layout.key.is_empty() {
                tracing::warn!(
                    sink = %self.plan.name, table = %new.schema.name,
                    "the table's new key cannot be told from its copy: the copy is emptied until the source has read it again"
                );
            }
            rebuild(&self.connection, &old.layout, &new.layout, &way)
        } else {
            way.alter(&self.connection, &new.layout)
        };
        done.map_err(|error| {
            let target = &new.layout.target;
            let hint = format!(
                "if a view, index or trigger on the table hinders it, drop that and start again; else {}",
                way_out(&self.plan, &new.schema.name, target)
            );
            let failure = self.fail(&format!("follow the change of {} in table \"{target}\"", new.schema.name), error);
            if failure.class == crate::error::ErrorClass::Retry { failure } else { failure.hint(hint) }
        })
    }

    fn reshape_history(&self, old: &Table, new: &Table, renamed: &[(String, String)]) -> Result<(), Failure> {
        extend_history(&self.connection, old, new, renamed)
            .map_err(|error| self.fail(&format!("follow the change of {} in its changelog", new.schema.name), error))
    }

    fn empty(&mut self, name: &TableName, why: Emptied, op: &str, place: Place<'_>) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        let layout = &table.layout;
        let target = quoted(&layout.target);
        let done = match (layout.mode, &layout.soft) {
            (Mode::History, _) => mark(&self.connection, &layout.target, op, None, place),
            (Mode::Mirror, None) => self.connection.execute_batch(&format!("DELETE FROM {target}")),
            // Without a key, a row that comes again cannot be told to be the one that was deleted.
            (Mode::Mirror, Some(soft)) if layout.key.is_empty() && why == Emptied::Replaced => {
                self.connection.execute_batch(&format!("DELETE FROM {target} WHERE {} = 0", quoted(soft)))
            }
            (Mode::Mirror, Some(soft)) => {
                let soft = quoted(soft);
                self.connection.execute_batch(&format!("UPDATE {target} SET {soft} = 1 WHERE {soft} = 0"))
            }
        };
        done.map_err(|error| self.fail(&format!("empty the table \"{}\"", layout.target), error))
    }

    /// From here on a changelog may not have every change. A mirror has nothing to do.
    fn gap(&self, name: &TableName, reason: &str, place: Place<'_>) -> Result<(), Failure> {
        let changelog = self.tables.get(name).filter(|table| table.layout.mode == Mode::History);
        let Some(Table { layout, .. }) = changelog else { return Ok(()) };
        mark(&self.connection, &layout.target, "gap", Some(reason), place)
            .map_err(|error| self.fail(&format!("append to the changelog of {name}"), error))
    }

    fn drop_table(&mut self, name: &TableName, place: Place<'_>) -> Result<(), Failure> {
        let Some(table) = self.tables.get(name) else { return Ok(()) };
        if table.layout.mode == Mode::History || table.layout.soft.is_some() {
            return self.empty(name, Emptied::Gone, "drop", place);
        }
        self.connection.flush_prepared_statement_cache();
        self.connection
            .execute_batch(&format!("DROP TABLE {}", quoted(&table.layout.target)))
            .and_then(|()| registry::forget(&self.connection, &self.plan.name, name))
            .map_err(|error| self.fail(&format!("drop the table \"{}\"", table.layout.target), error))?;
        self.tables.remove(name);
        self.forget_writers(name);
        Ok(())
    }

    fn rename_table(
        &mut self,
        from: &TableName,
        to: &TableName,
        schema: &TableSchema,
        place: Place<'_>,
    ) -> Result<(), Failure> {
        let Some(old) = self.tables.get(from).cloned() else { return self.shape(schema, &[], false) };
        let history = old.layout.mode == Mode::History;
        let mut now = old.clone();
        now.schema.name = to.clone();
        now.options = self.plan.options_for(to);
        let same_target = Layout::new(&now.schema, &now.options, old.layout.target.clone())?;
        if let Some(difference) = difference(&old.layout, &same_target) {
            return Err(Failure::fatal(format!(
                "{from} was renamed to {to}, and {from} is written with {difference} for {to}"
            ))
            .hint(format!("give {to} a rule in `tables` with the settings that {from} has")));
        }
        if history {
            let what = format!("append to the changelog of {from}");
            mark(&self.connection, &old.layout.target, "rename", None, place)
                .map_err(|error| self.fail(&what, error))?;
        }
        if let Some(kept) = self.tables.get(to) {
            // The new name had a table before, whose remains were kept.
            if history {
                return self.shape(schema, &[], false);
            }
            return Err(Failure::fatal(format!(
                "{from} was renamed to {to}, whose softly deleted rows are still in \"{}\"",
                kept.layout.target
            ))
            .hint(format!("stop the replicator, {}", way_out(&self.plan, to, &kept.layout.target))));
        }
        let target = self.plan.target_name(to);
        if target != old.layout.target {
            self.rename_target(to, &old.layout.target, &target)?;
        }
        registry::forget(&self.connection, &self.plan.name, from)
            .map_err(|error| self.fail("register a table", error))?;
        self.tables.remove(from);
        self.forget_writers(from);
        now.layout = Layout::new(&now.schema, &now.options, target)?;
        self.register(now)?;
        self.shape(schema, &[], false)
    }

    fn rename_target(&self, name: &TableName, from: &str, to: &str) -> Result<(), Failure> {
        let rename = |from: &str, to: &str| {
            self.connection
                .execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to)))
                .map_err(|error| self.fail(&format!("rename the table \"{from}\" to \"{to}\""), error))
        };
        self.connection.flush_prepared_statement_cache();
        if same_name(from, to) {
            // SQLite takes both for one name and finds it taken.
            rename(from, BETWEEN)?;
            return rename(BETWEEN, to);
        }
        self.refuse_taken(name, to)?;
        rename(from, to)
    }
}

/// What older rows hold in each column if it is new; `NULL` until they are read again, where that is not known.
fn defaults(schema: &TableSchema, scratch: &mut super::bind::Scratch) -> Result<Vec<Value>, Failure> {
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::row(format!("a default of {} cannot be read", schema.name)).caused_by(error)
    };
    let plan = Plan::all(schema).map_err(|error| unreadable(error.into()))?;
    let mut defaults = Vec::with_capacity(schema.columns.len());
    for (place, column) in schema.columns.iter().enumerate() {
        defaults.push(match &column.default {
            ColumnDefault::Unknown | ColumnDefault::Null => Value::Null,
            ColumnDefault::Value(cell) => {
                cell_value(&plan, place, cell, scratch).map_err(|error| unreadable(error.into()))?
            }
        });
    }
    Ok(defaults)
}

/// A column that `drop` leaves out must not come in under a new name.
fn refuse_uncovering(old: &Table, new: &Table, renamed: &[(String, String)]) -> Result<(), Failure> {
    for (from, to) in renamed {
        let held = |table: &Table, name: &str| {
            let place = table.schema.column_index(name);
            place.map(|place| table.layout.columns.iter().any(|column| column.source == place))
        };
        if held(old, from) == Some(false) && held(new, to) == Some(true) {
            let name = &new.schema.name;
            return Err(Failure::fatal(format!(
                "column \"{from}\" of {name}, which `drop` leaves out, is now called \"{to}\""
            ))
            .hint(format!(
                "add \"{to}\" to `drop` of the table's rule; to copy it from now on, {}",
                way_out_short(name)
            )));
        }
    }
    Ok(())
}

fn way_out_short(name: &TableName) -> String {
    format!("add it all the same, let the sink pass this change, then change `drop` and make the copy of {name} anew")
}

/// Renames and adds the columns of a changelog.
fn extend_history(
    connection: &rusqlite::Connection,
    old: &Table,
    new: &Table,
    renamed: &[(String, String)],
) -> rusqlite::Result<()> {
    let table = quoted(&new.layout.target);
    let rename = |from: &str, to: &str| {
        connection.execute_batch(&format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quoted(from), quoted(to)))
    };
    let target_name = |table: &Table, source: &str| {
        let place = table.schema.column_index(source)?;
        table.layout.columns.iter().find(|column| column.source == place).map(|column| column.name.clone())
    };
    let mut found = registry::columns(connection, &new.layout.target)?;
    // Every renamed column steps aside first, so that two may swap their names.
    let mut aside = Vec::new();
    for (from, to) in renamed {
        let (Some(from), Some(to)) = (target_name(old, from), target_name(new, to)) else { continue };
        if from == to {
            continue;
        }
        for (from, to) in [(before(&from), before(&to)), (after(&from), after(&to))] {
            let between = format!("{BETWEEN}_{}", aside.len());
            rename(&from, &between)?;
            found.retain(|name| !same_name(name, &from));
            aside.push((between, from, to));
        }
    }
    for (between, from, to) in aside {
        // A former column of the new name is gone on with; then the renamed one keeps its old name.
        let name = if found.iter().any(|name| same_name(name, &to)) { from } else { to };
        rename(&between, &name)?;
        found.push(name);
    }
    for column in &new.layout.columns {
        for name in [before(&column.name), after(&column.name)] {
            if !found.iter().any(|other| same_name(other, &name)) {
                connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {}", quoted(&name)))?;
            }
        }
    }
    Ok(())
}
