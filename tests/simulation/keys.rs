//! Reads of some keys of a table.

use replicator::source::mysql::snapshot::ByKey;
use replicator::table::Keys;

use super::shape::Shape;
use super::tables::{Name, Row, layouts};

/// Whether a table can be read by these keys (`snapshot/table.rs`).
pub fn are_readable(keys: &Keys, name: Name, shape: Shape) -> bool {
    let layouts = layouts(name, shape);
    let schema = &layouts.described.schema;
    let Some(key) = schema.key.as_ref().filter(|_| shape.chunk_key().is_some()) else { return false };
    let names = key.columns.iter().map(|place| &schema.columns[usize::from(*place)].name);
    let by_key = ByKey::new(schema, &key.columns).filter(|_| names.eq(&keys.columns));
    by_key.is_some_and(|by_key| keys.keys.iter().all(|fields| by_key.condition(fields).is_some()))
}

/// Whether a row has one of these keys.
pub fn have(keys: &Keys, name: Name, shape: Shape, row: &Row) -> bool {
    layouts(name, shape).described.key_fields(row).is_some_and(|fields| keys.keys.contains(&fields))
}
