//! What the log holds of a sink before its first delivery.
//!
//! Of an earlier sink of the same name, whose cursor was dropped, nothing but which of its copies may not be what their
//! tables are: the sink may come back with its target. Its counts and its complete copies are of another life of it.
//!
//! The sink gets every frame that the log still has. What of a table's rows was trimmed before is counted once, from the
//! headers of those frames, so that what is still on its way to the sink is known from then on. That reads the whole
//! log. It is less than what the sink is about to do with it, and only for a log that was trimmed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};
use wal::{Lsn, Reader};

use super::doubt::{Doubt, Wish};
use super::open::{CursorStart, Looked};
use super::run::{Delivery, unreadable, unwritable};
use super::tables::{TableAtSink, Tables, tables_at};
use super::walk::walk;
use crate::codec::catalog::Catalog;
use crate::codec::stored::{SINK_NOTE, SINK_PAUSED, SINK_ROUND, SINK_ROWS, SINK_START, encode, get};
use crate::dead;
use crate::error::Failure;
use crate::model::{SchemaId, SinkRows, TableName};
use crate::table::{self, TableRecord};

/// Whether a sink is going to say by itself which tables it needs: its target was not looked at yet, or it is to be reset.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn is_new(reader: &Reader, sink: &str) -> Result<bool, Failure> {
    let start: Option<CursorStart> = get(reader, &SINK_START.of_sink(sink))?;
    Ok(start.is_some_and(|start| matches!(start.looked, Looked::NotYet | Looked::Reset)))
}

/// Whether the next start reads every table for a sink whose target knows nothing: the log has not all that such a target needs, or the sink is to
/// be reset.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn would_read_all(reader: &Reader, sink: &str) -> Result<bool, Failure> {
    if !reader.cursors().iter().any(|cursor| cursor.name == sink) {
        return Ok(reader.positions().trimmed > Lsn::ZERO);
    }
    let start: Option<CursorStart> = get(reader, &SINK_START.of_sink(sink))?;
    Ok(start.is_some_and(|start| match start.looked {
        Looked::NotYet | Looked::TakeOver => start.at > Lsn::ZERO,
        Looked::Reset => true,
        Looked::Done | Looked::Wishes | Looked::Ahead => false,
    }))
}

/// State changes for a sink whose cursor was dropped: nothing of it stays but which of its copies are in doubt.
///
/// # Errors
/// When the log cannot be read or a record is damaged.
pub fn state_of_dropped_sink(reader: &Reader, sink: &str) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Failure> {
    let mut state =
        vec![(SINK_START.of_sink(sink), None), (SINK_ROUND.of_sink(sink), None), (SINK_PAUSED.of_sink(sink), None)];
    let notes = reader.state_prefix(&SINK_NOTE.of_sink_tables(sink)).map_err(unreadable)?;
    state.extend(notes.into_iter().map(|(key, _)| (key, None)));
    state.extend(dead::keys_of_sink(reader, sink)?.into_iter().map(|key| (key, None)));
    for (table, doubt) in left_in_doubt(reader, sink)? {
        let at =
            doubt.map(|doubt| encode(&TableAtSink { doubt: Some(doubt), ..TableAtSink::default() })).transpose()?;
        state.push((SINK_ROWS.of_sink_table(sink, &table), at));
    }
    Ok(state)
}

/// The tables of a sink whose cursor is gone, and why the copy may not be what the table is.
fn left_in_doubt(reader: &Reader, sink: &str) -> Result<Vec<(TableName, Option<String>)>, Failure> {
    Ok(tables_at(reader, sink)?.into_iter().map(|(table, at)| (table, at.doubt_left())).collect())
}

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
    let mut state = state_of_dropped_sink(reader, sink)?;
    let doubts: HashMap<TableName, Option<String>> = left_in_doubt(reader, sink)?.into_iter().collect();
    state.push((SINK_START.of_sink(sink), Some(encode(&CursorStart { at: log.0, looked: Looked::NotYet })?)));
    if log.0 > Lsn::ZERO {
        let held = held(reader, log)?;
        for (table, appended) in appended {
            let before = appended.saturating_sub(held.get(&table).copied().unwrap_or_default());
            if before > 0 {
                let rows = SinkRows { before, ..SinkRows::default() };
                let doubt = doubts.get(&table).cloned().flatten();
                let at = TableAtSink { rows, doubt, ..TableAtSink::default() };
                state.push((SINK_ROWS.of_sink_table(sink, &table), Some(encode(&at)?)));
            }
        }
    }
    Ok(state)
}

/// Pause before a wish is said again that the source has lost with its stream.
const SAY_AGAIN: Duration = Duration::from_millis(200);

impl Delivery {
    /// The target of a new sink was looked at. If it knows nothing, what the log had before the sink was there is read for it; if it knows
    /// the log from before, it has what the log had up to where it is.
    pub(super) async fn first_opened(
        &mut self,
        reader: &Reader,
        (start, is_fresh, at): (CursorStart, bool, Lsn),
        tables: &mut Tables,
    ) -> Result<(), Failure> {
        let known: Vec<TableName> = tables.iter().map(|(table, _)| table.clone()).collect();
        if is_fresh {
            // What an earlier target of the sink was is not this one's.
            for table in &known {
                tables.entry(table).doubt = None;
            }
            let wishes = start.at > Lsn::ZERO;
            if wishes {
                // The file or database of another sink, before everything is read for nothing.
                let mut tables = captured(reader)?;
                tables.retain(|table| self.sink.takes(table));
                self.sink.can_make(&tables).await?;
            }
            let start = CursorStart { looked: if wishes { Looked::Wishes } else { Looked::Done }, ..start };
            let mut state = tables.state(&known)?;
            state.push((SINK_START.of_sink(&self.name), Some(encode(&start)?)));
            // Before it is served: from then on its target knows something.
            self.wal.put_state(state).await.map_err(unwritable)?;
            return if wishes { self.wish_for_tables(start) } else { Ok(()) };
        }
        let records = table::records(reader)?;
        tables.come_back(&records, at);
        let changed: Vec<TableName> = tables.iter().map(|(table, _)| table.clone()).collect();
        let mut state = tables.state(&changed)?;
        let start = CursorStart { looked: Looked::Done, ..start };
        state.push((SINK_START.of_sink(&self.name), Some(encode(&start)?)));
        self.wal.put_state(state).await.map_err(unwritable)?;
        let doubts: Vec<Doubt> = tables
            .iter()
            .filter_map(|(table, at)| {
                let why = at.doubt.clone()?;
                Some(Doubt { sink: self.name.clone(), table: table.clone(), why, is_configured: false })
            })
            .collect();
        for doubt in doubts {
            self.doubt(doubt);
        }
        Ok(())
    }

    /// Says, until the source has taken it, that the sink needs every table. It is served meanwhile.
    pub(super) fn wish_for_tables(&mut self, start: CursorStart) -> Result<(), Failure> {
        if std::mem::replace(&mut self.wishes_for_tables, true) {
            return Ok(());
        }
        let replaces = start.looked == Looked::Reset;
        if replaces {
            info!(sink = %self.name, "the sink is reset: every table is read again for it, in place of what it has");
        } else {
            info!(sink = %self.name, "a new sink on a log that was trimmed: every table is read for it");
        }
        let done = CursorStart { looked: Looked::Done, ..start };
        let said = (SINK_START.of_sink(&self.name), Some(encode(&done)?));
        let except: Vec<_> =
            captured_or_awaited(&self.wal.reader())?.into_iter().filter(|table| !self.sink.takes(table)).collect();
        let (wishes, wal, sink) = (self.wishes.clone(), self.wal.clone(), self.name.clone());
        let looking = self.looking.take();
        tokio::spawn(async move {
            loop {
                let (stored, is_stored) = oneshot::channel();
                if wishes.send(Wish::NewSink { sink: sink.clone(), replaces, except: except.clone(), stored }).is_err()
                {
                    return;
                }
                if is_stored.await.is_ok() {
                    break;
                }
                tokio::time::sleep(SAY_AGAIN).await;
            }
            if let Err(error) = wal.put_state(vec![said]).await {
                // The sink says it once more at the next start.
                warn!(%sink, %error, "the log does not take that a new sink has said what it needs");
            }
            drop(looking);
        });
        Ok(())
    }
}

/// The tables that are captured.
pub(super) fn captured(reader: &Reader) -> Result<Vec<TableName>, Failure> {
    let records = table::records(reader)?;
    Ok(records.into_iter().filter(|(_, record)| record.is_captured()).map(|(table, _)| table).collect())
}

/// The tables that are captured, or will be once the stream has come to where they were seen.
pub(super) fn captured_or_awaited(reader: &Reader) -> Result<Vec<TableName>, Failure> {
    let is_wanted = |record: &TableRecord| record.is_captured() || record.awaits.is_some();
    let records = table::records(reader)?.into_iter();
    Ok(records.filter(|(_, record)| is_wanted(record)).map(|(table, _)| table).collect())
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
