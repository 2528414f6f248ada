//! One table's snapshot, from being asked for to its end mark.

use std::collections::VecDeque;
use std::sync::Arc;

use mysql_async::Conn;
use tokio::task::JoinSet;

use super::bound;
use super::chunk::{Outcome, RangedTable};
use super::context::{Context, Retry};
use super::exact;
use super::handoff::SnapshotMark;
use super::job::Stored;
use super::planner;
use super::progress::{Stage, TableProgress};
use super::range::Range;
use super::status::TableState;
use crate::error::Failure;
use crate::source::mysql::schema::{self, Estimate};

/// Runs a table's snapshot to its end; `stored` is called once the job survives a crash.
///
/// # Errors
/// What cannot be mended by trying again. `progress` then says how far it came.
pub(super) async fn run(
    context: &Arc<Context>,
    progress: &mut TableProgress,
    stored: &mut Option<Stored>,
) -> Result<(), Failure> {
    let table = progress.table().clone();
    let mut retry = Retry::new();
    loop {
        let step = Box::pin(step(context, progress)).await;
        match step {
            Ok(()) => {
                retry = Retry::new();
                if let Some(Err(())) = stored.take().map(|stored| stored.send(Ok(())).map_err(drop)) {
                    tracing::debug!(%table, "whoever asked for the snapshot is gone");
                }
                let (rows, done) = (progress.rows, progress.stage.is_over());
                context.show(&table, |entry| {
                    entry.error = None;
                    entry.rows = rows;
                    if done {
                        entry.state = TableState::Done;
                        entry.eta_seconds = None;
                    }
                });
                if done {
                    return Ok(());
                }
            }
            Err(failure) => retry.after(context, &table, failure).await?,
        }
    }
}

/// One stage to the next.
async fn step(context: &Arc<Context>, progress: &mut TableProgress) -> Result<(), Failure> {
    match &progress.stage {
        Stage::Pending => begin(context, progress).await,
        Stage::Begun => bound::take(context, progress).await,
        Stage::Ranges(_) => ranges(context, progress).await,
        Stage::Whole => exact::read(context, progress).await,
        Stage::Placed => end(context, progress).await,
        Stage::Done | Stage::Gone => Ok(()),
    }
}

/// Decides how the table is read.
async fn begin(context: &Arc<Context>, progress: &mut TableProgress) -> Result<(), Failure> {
    let table = progress.table().clone();
    let mut conn = context.sessions.control().await?;
    let Some(described) = schema::describe(&mut conn, context.sessions.server()?.flavour, &table).await? else {
        if progress.initial || progress.job.may_be_gone {
            return gone(context, progress).await;
        }
        return Err(Failure::fatal(format!("table \"{table}\" does not exist at the source")));
    };
    schema::refuse_unsupported(&described.schema)?;
    if progress.job.where_clause.is_some() && (described.schema.key.is_none() || progress.job.replace) {
        return Err(Failure::fatal(format!(
            "a part of table \"{table}\" cannot be read again: without a key its rows would stand twice at the sinks"
        ))
        .hint("read the table whole, without --where"));
    }
    size(context, &mut conn, progress).await?;
    let stage = if described.chunk_key.is_none() { Stage::Whole } else { Stage::Begun };
    let next = TableProgress { stage, rows: 0, ..progress.clone() };
    let empties = next.stage == Stage::Begun && next.job.replace;
    let replaces = empties || (next.stage == Stage::Whole && next.job.where_clause.is_none());
    let whole = next.job.where_clause.is_none();
    context.ingest.mark(SnapshotMark::Begun { table, replaces, empties, whole }, &next).await?;
    *progress = next;
    Ok(())
}

/// The table is dropped or renamed at the source; the stream tells of that.
pub(super) async fn gone(context: &Context, progress: &mut TableProgress) -> Result<(), Failure> {
    let next = TableProgress { stage: Stage::Gone, ..progress.clone() };
    context
        .ingest
        .mark(SnapshotMark::Begun { table: next.table().clone(), replaces: true, empties: false, whole: true }, &next)
        .await?;
    *progress = next;
    Ok(())
}

async fn end(context: &Arc<Context>, progress: &mut TableProgress) -> Result<(), Failure> {
    let next = TableProgress { stage: Stage::Done, ..progress.clone() };
    let mark = SnapshotMark::Finished { table: next.table().clone(), rows: next.rows };
    context.ingest.mark(mark, &next).await?;
    *progress = next;
    Ok(())
}

/// Asks how large the table is, and shows it.
async fn size(context: &Context, conn: &mut Conn, progress: &TableProgress) -> Result<Estimate, Failure> {
    let estimate = schema::estimate(conn, progress.table()).await?;
    let rows = progress.rows;
    context.show(progress.table(), |entry| {
        entry.state = TableState::Running;
        entry.rows = rows;
        entry.estimated_rows = estimate.rows;
    });
    Ok(estimate)
}

/// Reads the table range by range. Ranges are made ahead of the readers, one more than there are.
async fn ranges(context: &Arc<Context>, progress: &mut TableProgress) -> Result<(), Failure> {
    let Stage::Ranges(start) = &progress.stage else { return Ok(()) };
    let mut conn = context.sessions.control().await?;
    let estimate = size(context, &mut conn, progress).await?;
    let chunk_rows = progress.job.chunk_rows.unwrap_or(context.chunk_rows).max(1);
    let mut waiting: VecDeque<Range> = start.pending.iter().cloned().collect();
    let table =
        Arc::new(RangedTable::new(Arc::clone(context), progress.clone(), start.key.clone(), estimate.row_bytes));
    let result = Box::pin(read_ranges(&table, &mut conn, &mut waiting, chunk_rows)).await;
    // Also after an error: what is placed stays placed.
    *progress = table.progress.lock().await.clone();
    match result? {
        End::Read => progress.stage = Stage::Placed,
        End::Dropped => gone(context, progress).await?,
        End::KeyChanged => {
            tracing::info!(table = %progress.table(), "the table's key changed, so its snapshot starts again");
            progress.stage = Stage::Pending;
        }
    }
    Ok(())
}

enum End {
    Read,
    KeyChanged,
    Dropped,
}

async fn read_ranges(
    table: &Arc<RangedTable>,
    conn: &mut Conn,
    waiting: &mut VecDeque<Range>,
    chunk_rows: u32,
) -> Result<End, Failure> {
    // Dropping the set ends the readers and closes their windows.
    let mut readers: JoinSet<Result<Outcome, Failure>> = JoinSet::new();
    loop {
        while readers.len() <= table.context.parallel {
            let range = match waiting.pop_front() {
                Some(range) => range,
                None => match make_range(table, conn, chunk_rows).await? {
                    Some(range) => range,
                    None => break,
                },
            };
            let table = Arc::clone(table);
            readers.spawn(async move { Box::pin(table.read(range)).await });
        }
        match readers.join_next().await {
            None => return Ok(End::Read),
            Some(Ok(Ok(Outcome::Placed { rest }))) => waiting.extend(rest),
            Some(Ok(Ok(Outcome::KeyChanged))) => return Ok(End::KeyChanged),
            Some(Ok(Ok(Outcome::Dropped))) => return Ok(End::Dropped),
            Some(Ok(Err(failure))) => return Err(failure),
            Some(Err(error)) => {
                return Err(Failure::fatal(format!(
                    "a reader of table \"{}\" ended by a fault of its own",
                    table.table
                ))
                .caused_by(error));
            }
        }
    }
}

/// The next range, taken note of in the table's state; it is stored with the next chunk.
async fn make_range(table: &RangedTable, conn: &mut Conn, chunk_rows: u32) -> Result<Option<Range>, Failure> {
    let ranges = match &table.progress.lock().await.stage {
        Stage::Ranges(ranges) => ranges.clone(),
        Stage::Pending | Stage::Begun | Stage::Whole | Stage::Placed | Stage::Done | Stage::Gone => return Ok(None),
    };
    let rows = table.range_rows(chunk_rows);
    let range = planner::next_range(conn, &table.table, &ranges, table.filter.as_deref(), rows).await?;
    if let (Some(range), Stage::Ranges(ranges)) = (&range, &mut table.progress.lock().await.stage) {
        ranges.frontier = Some(range.upto.clone());
        ranges.pending.push(range.clone());
    }
    Ok(range)
}
