//! What the log holds of a sink before its first delivery.
//!
//! Nothing of an earlier sink of the same name, whose cursor was dropped: its counts, its complete copies and its doubts
//! are of another target, or of another life of this one.
//!
//! The sink gets every frame that the log still has. What of a table's rows was trimmed before is counted once, from the
//! headers of those frames, so that what is still on its way to the sink is known from then on. That reads the whole
//! log. It is less than what the sink is about to do with it, and only for a log that was trimmed.

use std::collections::{BTreeMap, HashMap};

use wal::{Lsn, Reader};

use super::open::CursorStart;
use super::tables::TableAtSink;
use super::walk::walk;
use crate::codec::catalog::Catalog;
use crate::codec::stored::{SINK_ROWS, SINK_START, encode, without_sink};
use crate::error::Failure;
use crate::model::{SchemaId, SinkRows, TableName};

/// State changes for a sink whose cursor is about to be created after `log.0`, all for one commit. `log` is from where to
/// where the log reaches, and `appended` what was ever appended of each table, up to there.
///
/// # Errors
/// When the log cannot be read, or a frame or a record is damaged.
pub fn state_of_new_sink(
    reader: &Reader,
    sink: &str,
    log: (Lsn, Lsn),
    appended: impl IntoIterator<Item = (TableName, u64)>,
) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
    let mut state = without_sink(reader, sink)?;
    state.push((SINK_START.of_sink(sink), Some(encode(&CursorStart(log.0))?)));
    if log.0 > Lsn::ZERO {
        let held = held(reader, log)?;
        for (table, appended) in appended {
            let before = appended.saturating_sub(held.get(&table).copied().unwrap_or_default());
            if before > 0 {
                let rows = SinkRows { before, ..SinkRows::default() };
                let at = TableAtSink { rows, ..TableAtSink::default() };
                state.push((SINK_ROWS.of_sink_table(sink, &table), Some(encode(&at)?)));
            }
        }
    }
    Ok(state)
}

/// Rows in the log, by table.
fn held(reader: &Reader, log: (Lsn, Lsn)) -> Result<BTreeMap<TableName, u64>, Failure> {
    let mut rows: HashMap<SchemaId, u64> = HashMap::new();
    walk(reader, log, |_, frame| {
        for section in frame.described() {
            *rows.entry(section.schema).or_default() += u64::from(section.rows);
        }
        Ok(())
    })?;
    let mut catalog = Catalog::new(reader.clone());
    let mut held = BTreeMap::new();
    for (id, rows) in rows {
        *held.entry(catalog.resolve(id)?.schema().name.clone()).or_default() += rows;
    }
    Ok(held)
}
