//! The ranges that a table is read in: how they are made, and what is left once one is placed.

use replicator::source::mysql::snapshot::{Progress, Range, Stage};

use super::keys::have;
use super::reader::Part;
use super::server::Server;
use super::tables::{Name, Row, at, bound_of, key_of};

/// The progress once a chunk is placed.
pub fn after_chunk(progress: &Progress, part: &Part, rows: usize, rest: Option<&Range>) -> Progress {
    let mut next = progress.clone();
    next.rows += u64::try_from(rows).unwrap();
    if let (Stage::Ranges(ranges), Part::Range(range)) = (&mut next.stage, part) {
        ranges.pending.retain(|pending| pending != range);
        ranges.pending.extend(rest.cloned());
    }
    next
}

/// The next range; `None` when ranges reach the last key.
pub fn make_range(progress: &mut Progress, name: Name, server: &Server, rows: usize) -> Option<Range> {
    let wanted = progress.keys().cloned();
    let Stage::Ranges(ranges) = &mut progress.stage else { return None };
    if ranges.all_made() {
        return None;
    }
    let (after, last) = (ranges.frontier.as_ref().map(key_of), key_of(&ranges.last));
    let view = server.state(server.shown());
    // The server finds no such key in a table that has another one.
    let table = view.tables.get(&name).filter(|table| table.shape.chunk_key().as_ref() == Some(&ranges.key));
    let mut keys: Vec<Vec<i32>> = table.map_or_else(Vec::new, |table| {
        let places = table.shape.key_places();
        let is_wanted = |row: &&Row| wanted.as_ref().is_none_or(|keys| have(keys, name, table.shape, row));
        table.rows.keys().filter(is_wanted).map(|row| at(row, &places)).collect()
    });
    keys.retain(|key| after.as_ref().is_none_or(|after| key > after) && *key <= last);
    keys.sort();
    let upto = keys.get(rows - 1).map_or_else(|| ranges.last.clone(), |key| bound_of(key));
    let range = Range { after: ranges.frontier.clone(), upto: upto.clone() };
    ranges.frontier = Some(upto);
    ranges.pending.push(range.clone());
    Some(range)
}
