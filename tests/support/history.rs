//! The changelog of a table (`mode: history`): its order, and what it says the table's state is.
//!
//! Layout, the same at every sink (docs/sqlite.md, docs/clickhouse.md): `_op`, `_lsn`, `_ordinal`, `_commit_time`, then `before_<column>` and `after_<column>`.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::cells::{Cell, Content, source_rows};
use super::clickhouse::{ClickHouse, REPLICA};
use super::compare::rows_differ;
use super::copies::{ClickHouseCopy, Copied, SqliteCopy};
use super::server::Server;

/// Asserts that the changelog `table` in `sqlite` has one entry per place in the log, in growing order of time, that
/// every entry fits the state before it (no gap, no duplicate), and that its end is the source table of now.
///
/// Returns the number of entries. The table's columns must have been the same all the time.
pub async fn assert_history(server: &Server, database: &str, table: &str, sqlite: &Path) -> usize {
    assert_history_of(&SqliteCopy::open(sqlite), server, database, table).await
}

/// [`assert_history`] of the changelog that FINAL shows in a ClickHouse.
pub async fn assert_history_in_clickhouse(server: &Server, database: &str, table: &str, target: &ClickHouse) -> usize {
    assert_history_of(&ClickHouseCopy { server: target, database: REPLICA }, server, database, table).await
}

/// [`assert_history_in_clickhouse`], where the changelog is in another database of the ClickHouse.
pub async fn assert_history_in_clickhouse_of(
    server: &Server,
    database: &str,
    table: &str,
    (server_of_copy, changelog): (&ClickHouse, &str),
) -> usize {
    assert_history_of(&ClickHouseCopy { server: server_of_copy, database: changelog }, server, database, table).await
}

/// [`assert_history`] of the changelog in any copy.
pub async fn assert_history_of(copy: &impl Copied, server: &Server, database: &str, table: &str) -> usize {
    let source = copy.expected(source_rows(server, database, table, &[]).await, table, "after_").await;
    let changes = read(copy, table, &source.columns).await;
    let state = replay(table, &source, &changes);
    let difference = rows_differ(&source, state);
    assert!(difference.is_empty(), "the changelog of {table} does not end in the source's state:\n{difference}");
    changes.len()
}

struct Change {
    op: String,
    place: (i64, i64),
    commit_time: Cell,
    before: Vec<Cell>,
    after: Vec<Cell>,
}

async fn read(copy: &impl Copied, table: &str, columns: &[String]) -> Vec<Change> {
    let mut names: Vec<String> = ["_op", "_lsn", "_ordinal", "_commit_time"].map(str::to_owned).to_vec();
    names.extend(columns.iter().map(|column| format!("before_{column}")));
    names.extend(columns.iter().map(|column| format!("after_{column}")));
    let rows = copy.rows(table, &names).await;
    let changes = rows.into_iter().map(|row| {
        let [Cell::Text(op), Cell::Integer(lsn), Cell::Integer(ordinal), commit_time] = &row[..4] else {
            panic!("{table}: a changelog row starts with {:?}", &row[..4]);
        };
        let (before, after) = row[4..].split_at(columns.len());
        Change {
            op: String::from_utf8(op.clone()).unwrap(),
            place: (*lsn, *ordinal),
            commit_time: commit_time.clone(),
            before: before.to_vec(),
            after: after.to_vec(),
        }
    });
    let mut changes: Vec<Change> = changes.collect();
    changes.sort_by_key(|change| change.place);
    changes
}

/// Folds the changes into rows. A table without a key is folded as a multiset of whole rows.
///
/// The stream runs beside the snapshot, so a row may change before the changelog has seen it at all. From its first
/// sight on, every change must fit, and a snapshot row must equal what the stream has made of it by then. After a gap, the next entry
/// of a row that was there need not fit. After a replace, rows are seen for the first time again. A delete may have the key alone.
fn replay(table: &str, source: &Content, changes: &[Change]) -> Vec<Vec<Cell>> {
    let key = if source.key == 0 { source.columns.len() } else { source.key };
    // An entry without rows is a key that has been seen and is gone.
    let mut state: HashMap<Vec<Cell>, Vec<Vec<Cell>>> = HashMap::new();
    let mut last = None;
    // Since a gap, keys of which there was no entry.
    let mut doubted: HashSet<Vec<Cell>> = HashSet::new();
    for change in changes {
        let at = format!("{table} at {:?} ({})", change.place, change.op);
        assert!(last < Some(change.place), "{at}: not after {last:?}");
        last = Some(change.place);
        assert!(matches!(change.commit_time, Cell::Text(_) | Cell::Null), "{at}: time {:?}", change.commit_time);

        let op = change.op.as_str();
        if op == "replace" {
            // Every row comes again, and may change before it does.
            state.clear();
            doubted.clear();
            continue;
        }
        if matches!(op, "truncate" | "drop") {
            state.values_mut().for_each(Vec::clear);
            doubted.clear();
            continue;
        }
        if op == "gap" {
            doubted = state.keys().cloned().collect();
            continue;
        }
        let sides = [(op == "update" || op == "delete", &change.before), (op != "delete", &change.after)];
        for (_, row) in sides.into_iter().filter(|(is_there, _)| *is_there) {
            if doubted.remove(&row[..key]) {
                state.remove(&row[..key]);
            }
        }
        assert!(matches!(op, "insert" | "update" | "delete" | "snapshot"), "{at}: unknown operation");
        if matches!(op, "update" | "delete") {
            match state.get_mut(&change.before[..key]) {
                Some(rows) => {
                    let is_key_alone = op == "delete" && change.before[key..].iter().all(|cell| *cell == Cell::Null);
                    let position = rows.iter().position(|row| *row == change.before || is_key_alone);
                    let position =
                        position.unwrap_or_else(|| panic!("{at}: no such row before it: {:?}", change.before));
                    rows.swap_remove(position);
                }
                None => drop(state.insert(change.before[..key].to_vec(), Vec::new())),
            }
        }
        if op != "delete" {
            let rows = state.entry(change.after[..key].to_vec()).or_default();
            if source.key > 0 && op == "snapshot" && !rows.is_empty() {
                assert_eq!(rows[0], change.after, "{at}: the stream had made another row of it");
                continue;
            }
            assert!(source.key == 0 || rows.is_empty(), "{at}: the key {:?} exists", &change.after[..key]);
            rows.push(change.after.clone());
        }
    }
    state.into_values().flatten().collect()
}
