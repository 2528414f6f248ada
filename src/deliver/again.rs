//! Dead letters that are to be tried again, between two rounds.
//!
//! In a mirror the rows are read again at the source, for this sink alone: they come through the log, so that no older row takes the place of a
//! newer one, and whichever is written ends its letter. Where a row was to go, or which rows it is about is not known by its current key, the
//! table is read again. In a history the line that is kept is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::doubt::Wish;
use super::open::Open;
use super::run::{Delivery, unwritable};
use crate::codec::catalog::Catalog;
use crate::codec::frame::RowOp;
use crate::codec::row_image::Plan;
use crate::dead::{DeadLetter, LetterId, images_of, letters_of, wanted_of};
use crate::error::Failure;
use crate::model::{TableName, TableSchema};
use crate::sink::{Line, Schemas};
use crate::table::{Keys, Reach};

/// How long lines of histories are written before the delivery looks at what else there is to do.
const AT_A_TIME: Duration = Duration::from_secs(1);

/// What is read for letters of one table.
struct Wanted {
    ids: Vec<LetterId>,
    reach: Reach,
}

impl Delivery {
    /// Whether letters are to be tried again that an earlier run has not tried.
    pub(super) fn look_for_wanted(&self, reader: &wal::Reader) -> Result<(), Failure> {
        if !wanted_of(reader, &self.name)?.is_empty() {
            self.letters.wake();
        }
        Ok(())
    }

    /// Tries letters again, if somebody wants that; between two rounds.
    pub(super) async fn try_again(&mut self, open: &mut Open) -> Result<(), Failure> {
        if !open.between_groups || !self.letters.take_wanted() {
            return Ok(());
        }
        self.commit(open).await?;
        self.settle(open).await?;
        if !open.round.is_empty() {
            // It has to end where it ended before.
            self.letters.want_later();
            return Ok(());
        }
        // Acknowledgements ride with a later commit: after this the log has the letters as they are.
        self.wal.put_state(Vec::new()).await.map_err(unwritable)?;
        let reader = self.wal.reader();
        let wanted: BTreeSet<_> = wanted_of(&reader, &self.name)?.into_iter().collect();
        let mut letters = letters_of(&reader, &self.name)?;
        letters.retain(|(id, _)| wanted.contains(id));
        let known: BTreeSet<_> = letters.iter().map(|(id, _)| *id).collect();
        // Their rows are current by now.
        self.forget_wish(wanted.difference(&known).copied()).await?;
        let (of_rows, of_lines): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|(_, letter)| !letter.keys.is_empty());
        if !self.write_lines(&reader, of_lines, open).await? {
            // The log holds what is left; the source's turn comes with the last line.
            self.letters.wake();
            return Ok(());
        }
        let mut of_tables: BTreeMap<TableName, Vec<(LetterId, DeadLetter)>> = BTreeMap::new();
        for (id, letter) in of_rows {
            of_tables.entry(letter.table.clone()).or_default().push((id, letter));
        }
        for (table, letters) in of_tables {
            let reach = reach(&reader, (&self.name, &table), &letters)?;
            self.wish_for_rows(table, Wanted { ids: letters.into_iter().map(|(id, _)| id).collect(), reach });
        }
        Ok(())
    }

    /// Writes lines of histories; false if there are more than are written at a time.
    async fn write_lines(
        &mut self,
        reader: &wal::Reader,
        lines: Vec<(LetterId, DeadLetter)>,
        open: &mut Open,
    ) -> Result<bool, Failure> {
        let began = tokio::time::Instant::now();
        for (id, letter) in lines {
            if began.elapsed() >= AT_A_TIME || self.shutdown.is_cancelled() {
                return Ok(false);
            }
            let Some(images) = images_of(reader, &self.name, id)? else {
                self.forget_wish([id]).await?;
                continue;
            };
            let line = Line { id, letter: &letter, images: &images };
            let is_written = self.sink.try_line(line, &mut Schemas::new(&mut open.catalog)).await?;
            let (table, lsn) = (&letter.table, id.lsn);
            if is_written {
                info!(sink = %self.name, %table, %lsn, row = id.ordinal, "the line of a dead letter is written");
                let state = self.letters.discard(&BTreeSet::from([id]));
                self.wal.put_state(state).await.map_err(unwritable)?;
            } else {
                warn!(sink = %self.name, %table, %lsn, row = id.ordinal, "the line of a dead letter still cannot be written");
                self.forget_wish([id]).await?;
            }
        }
        Ok(true)
    }

    async fn forget_wish(&mut self, ids: impl IntoIterator<Item = LetterId>) -> Result<(), Failure> {
        let state: Vec<_> = ids.into_iter().map(|id| id.tried(&self.name)).collect();
        if state.is_empty() {
            return Ok(());
        }
        self.wal.put_state(state).await.map_err(unwritable)
    }

    /// Has the source read the rows, and stores that this is so once the log has it. One that is lost is said again at the next start.
    fn wish_for_rows(&self, table: TableName, wanted: Wanted) {
        let Wanted { ids, reach } = wanted;
        info!(sink = %self.name, %table, letters = ids.len(), "the rows of dead letters are read again");
        let (stored, is_stored) = oneshot::channel();
        let (wal, sink) = (self.wal.clone(), self.name.clone());
        // The receiver ends with the daemon.
        drop(self.wishes.send(Wish::Rows { sink: sink.clone(), table, reach, stored }));
        tokio::spawn(async move {
            if is_stored.await.is_err() {
                return;
            }
            let state = ids.into_iter().map(|id| id.tried(&sink)).collect();
            if let Err(error) = wal.put_state(state).await {
                warn!(%sink, %error, "the log does not take that the rows of dead letters are read");
            }
        });
    }
}

/// How much of a table brings the rows of its letters.
fn reach(
    reader: &wal::Reader,
    (sink, table): (&str, &TableName),
    letters: &[(LetterId, DeadLetter)],
) -> Result<Reach, Failure> {
    if letters.iter().any(|(_, letter)| matches!(letter.op, RowOp::Delete | RowOp::DeleteByKey)) {
        // A read brings no row that is gone.
        return Ok(Reach::Replace);
    }
    let mut catalog = Catalog::new(reader.clone());
    let Some(newest) = newest(&catalog, table)? else { return Ok(Reach::Whole) };
    let mut keys = Keys { columns: key_names(&newest), keys: BTreeSet::new() };
    for (id, letter) in letters {
        let schema = catalog.get(letter.schema)?;
        let damaged = |error: &dyn std::fmt::Display| {
            Failure::fatal(format!("a dead letter of {table} at sink \"{sink}\" cannot be read: {error}"))
        };
        let Some(key) = schema.key.as_ref().filter(|_| same_key(&schema, &newest)) else {
            // The row may be gone, and its current key is not known.
            return Ok(Reach::Replace);
        };
        let plan = Plan::walker(&schema).map_err(|error| damaged(&error))?;
        // One that has ended by now has a current row.
        let Some(images) = images_of(reader, sink, *id)? else { continue };
        let image = match letter.op {
            RowOp::Insert | RowOp::Snapshot | RowOp::Delete | RowOp::DeleteByKey => images.as_slice(),
            RowOp::Update => {
                let used = plan.image_len(&images).map_err(|error| damaged(&error))?;
                let (before, after) = images.split_at_checked(used).unwrap_or((&images, &[]));
                let hash = |image: &[u8]| plan.key_hash(&key.columns, image).map_err(|error| damaged(&error));
                let key_after = hash(after)?;
                if hash(before)? != key_after && letter.keys != [key_after] {
                    // The row of the key before the change may be there still.
                    return Ok(Reach::Replace);
                }
                after
            }
        };
        let Some(fields) = plan.key_fields(&key.columns, image).map_err(|error| damaged(&error))? else {
            return Ok(Reach::Whole);
        };
        keys.keys.insert(fields);
    }
    Ok(Reach::of_keys(keys))
}

/// The newest schema of a table.
fn newest(catalog: &Catalog, table: &TableName) -> Result<Option<TableSchema>, Failure> {
    let all = catalog.all()?;
    let newest = all.into_iter().filter(|(_, record)| record.schema().name == *table).max_by_key(|(id, _)| *id);
    Ok(newest.map(|(_, record)| record.schema().clone()))
}

fn key_names(schema: &TableSchema) -> Vec<String> {
    let places = schema.key.iter().flat_map(|key| &key.columns);
    places.filter_map(|place| schema.columns.get(usize::from(*place))).map(|column| column.name.clone()).collect()
}

/// Whether the bytes of a key mean the same under both.
fn same_key(one: &TableSchema, other: &TableSchema) -> bool {
    let columns = |schema: &TableSchema| {
        let places = schema.key.iter().flat_map(|key| key.columns.clone());
        let columns = places.filter_map(|place| schema.columns.get(usize::from(place)));
        columns.map(|column| (column.name.clone(), column.ty.clone())).collect::<Vec<_>>()
    };
    columns(one) == columns(other)
}
