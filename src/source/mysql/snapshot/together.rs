//! Small tables, many of them at once.
//!
//! What a read costs beside its rows, a table of a few rows pays as much for as a large one: a view and its position,
//! questions about the definition, marks that are synced. Here many tables share them: one view, one position of the
//! stream for all windows, one question each of the catalogue, one sync of the log. Each table is read as it would be
//! by itself ([`super::handoff`] has the argument): begin mark and window at one boundary, its rows under a view that
//! contains everything up to there, one chunk without bounds, an end mark.
//!
//! What is not as expected is not settled here. Such a table is read by itself ([`super::table`]), from where it is:
//! one that is larger than it seemed, has no primary key, is locked, was changed meanwhile, cannot be read. So no table
//! of them keeps the others waiting for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::consistency::{self, binlog_end};
use super::context::Context;
use super::handoff::{Begun, Images, Placed};
use super::ingest::Window;
use super::progress::{Progress, Stage};
use super::read::TableReader;
use super::slots::Slot;
use crate::error::Failure;
use crate::model::{SourcePosition, TableName, TableSchema};
use crate::source::mysql::connect;
use crate::source::mysql::schema::{self, Described, Estimate, Nature};
use crate::table::Reach;

/// Tables that are read together at most: enough that what they share costs nothing, few enough that their view is
/// closed within seconds.
pub(super) const MOST: usize = 500;
/// Tables of which less is waiting are read one by one: fewer gain nothing that anyone would notice.
pub(super) const FEWEST: usize = 16;
/// Bytes of a table that counts as small, as the server estimates it.
const SMALL_BYTES: u64 = 256 << 10;
/// Bytes after which a table is not small, whatever the estimate was.
const BUDGET: usize = 1 << 20;
/// Tables that could not be read, and for which the others waited: for a lock of another session. After so many the
/// rest is read one by one.
const MOST_FAILED: u32 = 3;
/// A table that fails after longer was waited for.
const LONG: Duration = Duration::from_millis(200);

/// What became of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    /// Every row is in the log, with the mark that says so.
    Done,
    /// The read is no longer wanted.
    Unwanted,
    /// It has to be read by itself.
    Alone,
}

/// Whether a read may be done together with others: one of a whole table that has not begun.
pub(super) fn may_be_together(progress: &Progress) -> bool {
    progress.stage == Stage::Waiting && matches!(progress.reach, Reach::Whole | Reach::Replace)
}

/// Reads tables together; says what became of each, in their order. What fails is left to the reads of single tables,
/// which say so.
pub(super) async fn read(context: &Arc<Context>, reads: Vec<Progress>) -> Vec<(Progress, Became)> {
    let mut tables: Vec<_> = reads.into_iter().map(|progress| (progress, Became::Alone)).collect();
    let result = match context.slots.take().await {
        Ok(mut slot) => match Box::pin(read_in(context, &mut slot, &mut tables)).await {
            Ok(()) => {
                context.slots.give_back(slot);
                Ok(())
            }
            Err(failure) => {
                context.slots.discard(slot).await;
                Err(failure)
            }
        },
        Err(failure) => Err(failure),
    };
    if let Err(failure) = result {
        context.failed(&failure);
        tracing::warn!(error = failure.chain(), "tables that were read together are read one by one");
    }
    tables
}

/// A table that is read here.
struct Small {
    /// Its place among the tables.
    place: usize,
    window: Window,
    schema: Arc<TableSchema>,
    reader: TableReader,
    most_rows: u32,
}

/// Rows of a table, to be placed.
struct Chunk {
    place: usize,
    window: Window,
    schema: Arc<TableSchema>,
    images: Images,
}

async fn read_in(context: &Arc<Context>, slot: &mut Slot, tables: &mut [(Progress, Became)]) -> Result<(), Failure> {
    let started = Instant::now();
    let server = slot.server;
    if !consistency::can_share_views(server, slot).await? {
        return Ok(());
    }
    let names: Vec<TableName> = tables.iter().map(|(progress, _)| progress.table.clone()).collect();
    let windows = context.ingest.open_windows(&names).await?;
    // A description of another server would be of other tables.
    slot.require(&context.sessions.stream_identity())?;
    let rule = context.sessions.names();
    let mut described = schema::describe_together(&mut slot.control, server.flavour, rule, &names).await?;
    let (mut small, mut asked) = (Vec::new(), Vec::new());
    for (place, (window, (progress, _))) in windows.into_iter().zip(tables.iter()).enumerate() {
        let (Some(window), Some((described, estimate))) = (window, described.remove(&progress.table)) else { continue };
        let most_rows = progress.chunk_rows.unwrap_or(context.chunk_rows).max(1);
        if is_small(&described, estimate, most_rows)
            && let Ok(reader) = TableReader::new(&described)
        {
            context.show(&progress.table, |entry| entry.estimated_rows = estimate.rows);
            asked.push((progress.table.clone(), progress.number, window));
            small.push((place, Arc::new(described.schema), reader, most_rows));
        }
    }
    if small.is_empty() {
        return Ok(());
    }
    let (at, begun) = context.ingest.begin_reads(asked).await?;
    slot.require(&at.server)?;
    let mut reads = Vec::with_capacity(small.len());
    for ((place, schema, reader, most_rows), (begun, window)) in small.into_iter().zip(begun) {
        let Some((progress, became)) = tables.get_mut(place) else { continue };
        match (begun, window) {
            (Begun::Now, Some(window)) => {
                progress.stage = Stage::Begun;
                progress.rows = 0;
                reads.push(Small { place, window, schema, reader, most_rows });
            }
            (Begun::Unwanted, _) => *became = Became::Unwanted,
            (Begun::Now | Begun::Later, _) => {}
        }
    }
    if reads.is_empty() || !consistency::can_share_views(server, slot).await? {
        return Ok(());
    }
    read_rows(context, slot, (reads, &at), tables).await?;
    end(context, tables, started).await
}

fn is_small(described: &Described, estimate: Estimate, most_rows: u32) -> bool {
    described.nature == Nature::Copied
        && described.chunk_key.is_some()
        && estimate.rows <= u64::from(most_rows)
        && estimate.rows.saturating_mul(estimate.row_bytes) <= SMALL_BYTES
}

/// Reads the tables under views that hold everything up to `at`, and hands them over. No view is open while rows wait for their place, which
/// a full log or a slow stream may keep from them for long: it would hold up statements about the tables at the source.
async fn read_rows(
    context: &Context,
    slot: &mut Slot,
    (reads, at): (Vec<Small>, &SourcePosition),
    tables: &mut [(Progress, Became)],
) -> Result<(), Failure> {
    let server = slot.server;
    let (mut ready, mut bytes, mut rows, mut failed) = (Vec::new(), 0, 0_u64, 0);
    let mut is_whole = true;
    consistency::open_shared_view(server, slot, at).await?;
    for Small { place, window, schema, reader, most_rows } in reads {
        let asked = Instant::now();
        match reader.read_few(&mut slot.reader, (most_rows, BUDGET), &context.rate).await {
            Ok(Some(images)) => {
                bytes += images.bytes.len();
                rows += u64::from(images.rows);
                ready.push(Chunk { place, window, schema, images });
            }
            // Rows of it are pending on the connection that has the view.
            Ok(None) => {
                is_whole = false;
                break;
            }
            Err(failure) if connect::is_about_the_server(&failure) => return Err(failure),
            Err(failure) => {
                failed += u32::from(asked.elapsed() >= LONG);
                tracing::debug!(table = %schema.name, error = failure.chain(), "a table is not read together with others");
            }
        }
        if failed == MOST_FAILED {
            break;
        }
        if bytes >= context.chunk_bytes() || rows >= context.rate.chunk_limit() {
            (bytes, rows) = (0, 0);
            consistency::close_view(&mut slot.reader).await?;
            place_rows(context, slot, std::mem::take(&mut ready), tables).await?;
            consistency::open_shared_view(server, slot, at).await?;
        }
    }
    if is_whole {
        consistency::close_view(&mut slot.reader).await?;
    } else {
        context.slots.renew(slot).await?;
    }
    place_rows(context, slot, ready, tables).await
}

/// Hands over what was read, and waits for its place.
async fn place_rows(
    context: &Context,
    slot: &mut Slot,
    ready: Vec<Chunk>,
    tables: &mut [(Progress, Became)],
) -> Result<(), Failure> {
    let high = binlog_end(&mut slot.control, slot.server).await?;
    let (mut chunks, mut places) = (Vec::with_capacity(ready.len()), Vec::with_capacity(ready.len()));
    for Chunk { place, window, schema, images } in ready {
        let Some((progress, _)) = tables.get(place) else { continue };
        let next = Progress { stage: Stage::Placed, rows: images.rows.into(), ..progress.clone() };
        chunks.push((window, schema, images, next.account()?));
        places.push((place, next));
    }
    let placed = context.ingest.place_all(chunks, high).await?;
    for ((place, next), placed) in places.into_iter().zip(placed) {
        let Some((progress, became)) = tables.get_mut(place) else { continue };
        match placed {
            Placed::Appended { .. } => *progress = next,
            Placed::Unwanted => *became = Became::Unwanted,
            Placed::Discarded => {}
        }
    }
    Ok(())
}

/// Ends the reads of which every row is placed.
async fn end(context: &Context, tables: &mut [(Progress, Became)], started: Instant) -> Result<(), Failure> {
    let is_placed = |progress: &Progress| progress.stage == Stage::Placed;
    let placed = tables.iter().filter(|(progress, _)| is_placed(progress));
    let reads = placed.map(|(progress, _)| (progress.table.clone(), progress.number)).collect();
    let ended = context.ingest.end_reads(reads).await?;
    let placed = tables.iter_mut().filter(|(progress, _)| is_placed(progress));
    for ((progress, became), is_wanted) in placed.zip(ended) {
        progress.stage = Stage::Done;
        *became = if is_wanted { Became::Done } else { Became::Unwanted };
        if is_wanted {
            progress.say_it_was_read(started);
        }
    }
    Ok(())
}
