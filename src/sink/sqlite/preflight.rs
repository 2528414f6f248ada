//! What `check` says about the sink before anything runs. It changes nothing: neither the file nor its directory is made.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustix::fs::{Access, access, statvfs};

use super::layout::Sqlite;
use super::registry::Table;
use super::types::Storage;
use super::{SqlitePlan, adopt, beside, cursor, registry};
use crate::config::{Mode, SinkPlan};
use crate::error::{Failure, sink_reset};
use crate::model::CheckItem;
use crate::sink::adopt::Under;
use crate::sink::checking::{Against, Checked, LaidOut, Seen, lay_out, under_names};
use crate::sink::definitions::FREE_ROOM;
use crate::sink::registry::{SET_BACK, at_next_start, not_readable, unfit};
use crate::sink::stops::{Stops, way_back};
use crate::sink::{Lost, TargetState};

/// Below so many free bytes an operator should look: a copy is seldom smaller.
const FEW_BYTES: u64 = 1 << 30;

/// Checks the directory, the disk and the file of a sink.
pub(super) fn preflight(plan: &SinkPlan, against: Against<'_>) -> Result<Checked, Failure> {
    let path = &plan.settings::<SqlitePlan>()?.path;
    let mut items = preflight_of(plan, path);
    let (laid_out, said) = lay_out(&Sqlite, plan, against.tables);
    items.extend(said);
    let state = match look_at_tables(plan, path, &laid_out) {
        Ok((seen, state)) => {
            let is_read = against.reads_all && state == Some(TargetState::Fresh);
            items.extend(under_names::<Sqlite>(plan, &seen, is_read));
            state
        }
        // A file that cannot be read is said above.
        Err(_) => None,
    };
    Ok(Checked { items, state })
}

/// What is under the names of tables that the sink has not made yet, and what the file says of itself.
fn look_at_tables(
    plan: &SinkPlan,
    path: &Path,
    tables: &[LaidOut<Storage>],
) -> rusqlite::Result<(Vec<Seen>, Option<TargetState>)> {
    let ours = |table: &LaidOut<Storage>| adopt::ours(&table.layout, Some(&table.schema));
    if !path.exists() {
        let seen = tables.iter().map(|table| table.seen(plan, ours(table), Under::Nothing)).collect();
        return Ok((seen, Some(TargetState::Fresh)));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let state = cursor::read(&connection, &plan.name)?.ok();
    let registered =
        if registry::is_there(&connection)? { registry::load(&connection, &plan.name)?.0 } else { BTreeMap::new() };
    let mut seen = Vec::new();
    for table in tables.iter().filter(|table| !registered.contains_key(&table.schema.name)) {
        let under = adopt::under(&connection, &table.layout.target, &plan.name)?;
        seen.push(table.seen(plan, ours(table), under));
    }
    Ok((seen, state))
}

fn preflight_of(plan: &SinkPlan, path: &Path) -> Vec<CheckItem> {
    let named = |what: &str| format!("sink {}: {what}", plan.name);
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    // What does not exist yet is made in the nearest directory that does.
    let Some(existing) = directory.ancestors().chain([Path::new(".")]).find(|above| above.is_dir()) else {
        let detail = format!("\"{}\" does not exist", directory.display());
        return vec![CheckItem::fail(named("directory"), detail, Some("set another `path`".into()))];
    };
    vec![
        check_directory(named("directory"), directory, existing),
        check_disk(named("disk"), existing),
        check_file(named("file"), plan, path),
    ]
}

fn check_directory(name: String, directory: &Path, existing: &Path) -> CheckItem {
    let shown = existing.display();
    if let Err(error) = access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        let mend = format!("make it writable for this user (chown or chmod \"{shown}\"), or set another `path`");
        return CheckItem::fail(name, format!("\"{shown}\" cannot be written: {error}"), Some(mend));
    }
    if directory == existing {
        return CheckItem::ok(name, format!("\"{shown}\" can be written"));
    }
    CheckItem::ok(name, format!("\"{}\" will be made", directory.display()))
}

fn check_disk(name: String, directory: &Path) -> CheckItem {
    let free = match statvfs(directory) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return CheckItem::warn(
                name,
                format!("free space of \"{}\" is not known: {error}", directory.display()),
                None,
            );
        }
    };
    let detail = format!("{} free", bytesize::ByteSize(free));
    if free < FEW_BYTES {
        let mend = "the copy needs about the source's size, and as much again while a table is rebuilt".to_owned();
        return CheckItem::warn(name, detail, Some(mend));
    }
    CheckItem::ok(name, detail)
}

fn check_file(name: String, plan: &SinkPlan, path: &Path) -> CheckItem {
    let shown = path.display();
    if !path.exists() {
        return CheckItem::ok(name, format!("\"{shown}\" will be made"));
    }
    if let Err(error) = access(path, Access::READ_OK | Access::WRITE_OK) {
        let mend = format!("make it writable for this user (chown or chmod \"{shown}\")");
        return CheckItem::fail(name, format!("\"{shown}\" cannot be written: {error}"), Some(mend));
    }
    match look_into(plan, path) {
        Ok((detail, None)) => CheckItem::ok(name, detail),
        Ok((detail, Some((lack, what)))) => CheckItem::warn(name, format!("{detail}; {lack}"), Some(what.to_owned())),
        Err(failure) => {
            let mend = failure.hint.clone();
            CheckItem::fail(name, Failure { hint: None, ..failure }.chain(), mend)
        }
    }
}

/// Reads what the file holds, whether the configuration still fits it, and what a replace of a table lacks.
fn look_into(plan: &SinkPlan, path: &Path) -> Result<(String, Option<(String, &'static str)>), Failure> {
    let fail = |error| super::error::sqlite(path, "read the file", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    let has = |table: &str| {
        connection
            .query_row("SELECT 1 FROM \"sqlite_schema\" WHERE \"name\" = ?1", [table], |_| Ok(()))
            .optional()
            .map(|found| found.is_some())
    };
    let shown = path.display();
    if !has("_replicator_cursor").map_err(fail)? || !has("_replicator_tables").map_err(fail)? {
        return Ok((format!("\"{shown}\" is a database; tables that are in it stay as they are"), None));
    }
    let state = cursor::read(&connection, &plan.name).map_err(fail)??;
    let (tables, unreadable) = registry::load(&connection, &plan.name).map_err(fail)?;
    let stops = if has("_replicator_stopped_tables").map_err(fail)? {
        registry::load_stops(&connection, &plan.name).map_err(fail)?
    } else {
        Stops::default()
    };
    let unreadable = unreadable.iter().map(|table| (table.clone(), not_readable(table)));
    let altered = registry::altered(&connection, &tables).map_err(fail)?;
    let unfit = unfit::<Sqlite>(&tables, plan, &BTreeMap::new());
    let (again, stopped) = at_next_start(&tables, unfit);
    let mut stop_next = unreadable.chain(altered).chain(stopped).filter(|(table, _)| !stops.has(table));
    if let Some((table, why)) = stop_next.next() {
        return Err(Failure::row(format!("{table} will be stopped at the next start: {why}")).hint(way_back(&table)));
    }
    match state {
        TargetState::Fresh => Ok((format!("\"{shown}\" holds nothing of this sink yet"), None)),
        TargetState::Lost(Lost::Gone) => Err(lost(plan, "it has tables of the sink, but no cursor")),
        TargetState::Lost(Lost::Unreadable) => Err(lost(plan, "the sink's cursor in it is not readable")),
        TargetState::At { log, epoch, applied } => {
            let count = tables.len();
            let detail = format!("\"{shown}\" holds {count} tables up to lsn {applied} of log {log}, epoch {epoch}");
            if let Some(again) = again {
                return Ok((detail, Some((again, SET_BACK))));
            }
            let mirrors = tables.values().map(Table::seen).filter(|layout| layout.mode == Mode::Mirror);
            for layout in mirrors {
                let room = beside::room(&connection, path, &layout.target).map_err(fail)?;
                if let Some(lack) = room.and_then(|room| room.lack(&layout.target, &format!("\"{shown}\""))) {
                    return Ok((detail, Some((lack, FREE_ROOM))));
                }
            }
            Ok((detail, None))
        }
    }
}

fn lost(plan: &SinkPlan, why: &str) -> Failure {
    let reset = sink_reset(&plan.name);
    Failure::fatal(why).hint(format!("restore the file, or run `{reset}`: every table is read again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::model::CheckStatus;
    use crate::sink::sqlite::testing::{Rig, int, key, options, schema};

    fn statuses(items: &[CheckItem]) -> Vec<CheckStatus> {
        items.iter().filter(|item| !item.name.ends_with("disk")).map(|item| item.status).collect()
    }

    #[test]
    fn a_file_to_be_made_is_fine_and_is_not_made() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Rig::new(options(Mode::Mirror)).plan;
        assert_eq!(statuses(&preflight_of(&plan, &directory.path().join("a/b/replica.db"))), [CheckStatus::Ok; 2]);
        assert!(!directory.path().join("a").exists());
    }

    #[test]
    fn a_file_that_is_no_database_or_no_longer_fits_fails_with_what_mends_it() {
        let mut rig = Rig::new(options(Mode::Mirror));
        rig.create(schema(vec![int("id")], key(&[0])));
        rig.commit();
        let items = preflight_of(&rig.plan, &rig.path());
        assert_eq!(statuses(&items), [CheckStatus::Ok; 2]);
        assert!(items[2].detail.contains("holds 1 tables up to lsn 1"), "{}", items[2].detail);
        rig.plan.defaults.mode = Mode::History;
        let items = preflight_of(&rig.plan, &rig.path());
        assert_eq!(statuses(&items), [CheckStatus::Ok, CheckStatus::Warn]);
        assert!(items[2].detail.contains("the next start reads again, in place of what is there: shop.t"), "{items:?}");
        rig.plan.defaults.mode = Mode::Mirror;
        assert_eq!(statuses(&preflight_of(&rig.plan, &rig.path())), [CheckStatus::Ok; 2]);
        let notes = rig.path().with_file_name("notes.txt");
        std::fs::write(&notes, "not a database ".repeat(100)).unwrap();
        assert_eq!(statuses(&preflight_of(&rig.plan, &notes)), [CheckStatus::Ok, CheckStatus::Fail]);
    }
}
