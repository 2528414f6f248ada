//! What the log holds of a sink before its first delivery.
//!
//! Nothing of an earlier sink of the same name, whose cursor was dropped: its counts, its complete copies and its doubts
//! are of another target, or of another life of this one.
//!
//! The sink gets every frame that the log still has. What of a table's rows was trimmed before is counted once, from the
//! headers of those frames, so that what is still on its way to the sink is known from then on. That reads the whole
//! log. It is less than what the sink is about to do with it, and only for a log that was trimmed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};
use wal::{Lsn, Reader};

use super::doubt::Wish;
use super::open::CursorStart;
use super::run::{Delivery, unwritable};
use super::tables::{Reading, TableAtSink, Tables};
use super::walk::walk;
use crate::codec::catalog::Catalog;
use crate::codec::stored::{SINK_ROWS, SINK_START, encode, without_sink};
use crate::error::Failure;
use crate::model::{SchemaId, SinkRows, TableName};
use crate::table::{self, Complete, Read};

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
    state.push((SINK_START.of_sink(sink), Some(encode(&CursorStart { at: log.0, is_new: true })?)));
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
        let known = CursorStart { is_new: false, ..start };
        let looked = (SINK_START.of_sink(&self.name), Some(encode(&known)?));
        if is_fresh && start.at > Lsn::ZERO {
            let records = table::records(reader)?;
            let captured = records.into_iter().filter(|(_, record)| record.is_captured()).map(|(table, _)| table);
            // The file or database of another sink, before everything is read for nothing.
            self.sink.can_make(&captured.collect::<Vec<_>>()).await?;
            info!(sink = %self.name, "a new sink on a log that was trimmed: every table is read for it");
            self.wish_for_tables(looked);
            return Ok(());
        }
        let mut changed = Vec::new();
        if !is_fresh {
            for (table, record) in table::records(reader)? {
                let whole_since = match record.complete {
                    Some(Complete::Whole(since)) if since <= at => Some(since),
                    _ => None,
                };
                let is_read = |read: &&Read| read.has_begun() && read.is_whole() && read.audience.includes(&self.name);
                let reading = record.read.as_ref().filter(is_read).map(|_| Reading::Whole);
                let entry = tables.entry(&table);
                (entry.whole_since, entry.reading) = (whole_since, reading);
                changed.push(table);
            }
        }
        let mut state = tables.state(&changed)?;
        state.push(looked);
        self.wal.put_state(state).await.map_err(unwritable)
    }

    /// Says, until the source has taken it, that the sink needs every table. It is served meanwhile.
    fn wish_for_tables(&mut self, looked: (Vec<u8>, Option<Vec<u8>>)) {
        let (wishes, wal, sink) = (self.wishes.clone(), self.wal.clone(), self.name.clone());
        let looking = self.looking.take();
        tokio::spawn(async move {
            loop {
                let (stored, is_stored) = oneshot::channel();
                if wishes.send(Wish::NewSink { sink: sink.clone(), stored }).is_err() {
                    return;
                }
                if is_stored.await.is_ok() {
                    break;
                }
                tokio::time::sleep(SAY_AGAIN).await;
            }
            if let Err(error) = wal.put_state(vec![looked]).await {
                // The sink says it once more at the next start.
                warn!(%sink, %error, "the log does not take that a new sink was looked at");
            }
            drop(looking);
        });
    }
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
