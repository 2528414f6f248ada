//! One table's read, from its begin mark to its end mark.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::Conn;
use tokio::task::JoinSet;

use super::bound;
use super::by_key::ByKey;
use super::chunk::{Outcome, RangedTable};
use super::consistency;
use super::context::{Context, Retry};
use super::exact;
use super::handoff::SnapshotMark;
use super::planner;
use super::progress::{Progress, Stage};
use super::range::Range;
use crate::error::Failure;
use crate::model::{FilePos, ServerIdentity, TableName, TableSchema};
use crate::source::mysql::schema::{self, Described, Estimate, Existence, Nature, Relation};
use crate::table::{Event, Keys};

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Every row is in the log, with the mark that says so.
    Done,
    /// It is no longer wanted.
    Unwanted,
    /// There is no such table at this end of a server's binlog: the stream is to say what became of it.
    Missing(FilePos, ServerIdentity),
}

/// Runs a table's read to its end. `ending` is set once only its end is left to be said.
///
/// # Errors
/// What has to be said of the table: it cannot be read. It is tried again later, from where `progress` is.
pub(super) async fn run(context: &Arc<Context>, progress: &mut Progress, ending: &AtomicBool) -> Result<End, Failure> {
    let table = progress.table.clone();
    let mut retry = Retry::new();
    loop {
        match Box::pin(step(context, progress, ending)).await {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {
                retry = Retry::new();
                context.show(&table, |entry| entry.error = None);
            }
            Err(failure) => retry.after(context, &table, failure).await?,
        }
    }
}

/// One stage to the next.
async fn step(context: &Arc<Context>, progress: &mut Progress, ending: &AtomicBool) -> Result<Option<End>, Failure> {
    match &progress.stage {
        Stage::Waiting => begin(context, progress).await,
        Stage::Begun => bound::take(context, progress).await,
        Stage::Ranges(_) => ranges(context, progress).await,
        Stage::Whole => exact::read(context, progress).await,
        Stage::Placed => {
            ending.store(true, Ordering::Relaxed);
            end(context, progress).await
        }
        Stage::Done => Ok(Some(End::Done)),
    }
}

/// Decides how the table is read.
async fn begin(context: &Arc<Context>, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let table = progress.table.clone();
    let mut conn = context.sessions.control().await?;
    let Some(described) = schema::describe(&mut conn, context.sessions.server()?.flavour, &table).await? else {
        return unseen(context, &mut conn, &table).await.map(Some);
    };
    if let Some(end) = left_out(context, &described).await? {
        return Ok(Some(end));
    }
    if let Existence::Denied { grant } = schema::existence(&mut conn, &table).await? {
        return Err(denied(&table, grant));
    }
    if progress.condition().is_some() && described.schema.key.is_none() {
        return Err(partial(&table));
    }
    let keys = match progress.keys() {
        None => None,
        Some(keys) => match condition(keys, &described.schema).filter(|_| described.chunk_key.is_some()) {
            Some(condition) => Some(condition),
            None => {
                context.ingest.happened(table, Event::KeysUnknown { number: progress.number }).await?;
                return Ok(Some(End::Unwanted));
            }
        },
    };
    let estimate = size(context, &mut conn, progress).await?;
    let at_once = described.chunk_key.is_none();
    let limit = context.reread_keyless_rows();
    if at_once && progress.by_itself && estimate.rows > limit {
        let why = format!(
            "it has no key for chunks and about {} rows, more than source.reread_keyless_rows ({limit}), and is not read by itself",
            estimate.rows
        );
        context.ingest.happened(table, Event::TooLarge { number: progress.number, why }).await?;
        return Ok(Some(End::Unwanted));
    }
    let stage = if at_once { Stage::Whole } else { Stage::Begun };
    let mark = SnapshotMark::Begun { table, number: progress.number, at_once };
    if !context.ingest.mark(mark).await? {
        return Ok(Some(End::Unwanted));
    }
    *progress = Progress { stage, rows: 0, keys, ..progress.clone() };
    Ok(None)
}

/// The condition that the rows of these keys meet, if the table still has that key.
fn condition(keys: &Keys, schema: &TableSchema) -> Option<String> {
    let key = schema.key.as_ref()?;
    let names = key.columns.iter().map(|place| Some(&schema.columns.get(usize::from(*place))?.name));
    if !names.eq(keys.columns.iter().map(Some)) {
        return None;
    }
    let by_key = ByKey::new(schema, &key.columns)?;
    let conditions: Option<Vec<String>> = keys.keys.iter().map(|fields| by_key.condition(fields)).collect();
    conditions.map(|conditions| conditions.join(" OR "))
}

/// Says that the table cannot be copied, if that is so: its read ends.
pub(super) async fn left_out(context: &Context, described: &Described) -> Result<Option<End>, Failure> {
    let Nature::LeftOut(by) = &described.nature else { return Ok(None) };
    let table = described.schema.name.clone();
    context.ingest.happened(table, Event::Nature { left_out: Some(by.to_string()) }).await?;
    Ok(Some(End::Unwanted))
}

/// A part of a table without a key cannot be read again.
pub(super) fn partial(table: &TableName) -> Failure {
    Failure::fatal(format!(
        "a part of table \"{table}\" cannot be read again: without a key its rows would stand twice at the sinks"
    ))
    .hint("read the table whole, without --where")
}

pub(super) fn denied(table: &TableName, grant: String) -> Failure {
    Failure::fatal(format!("the account may not read table \"{table}\"")).hint(grant)
}

/// The table cannot be described: says why, and where the binlog ends if there is none, or a view or a sequence in its place.
pub(super) async fn unseen(context: &Context, conn: &mut Conn, table: &TableName) -> Result<End, Failure> {
    let is_missing = match schema::relation(conn, table).await? {
        Some(Relation::Table(Nature::LeftOut(by))) => {
            context.ingest.happened(table.clone(), Event::Nature { left_out: Some(by.to_string()) }).await?;
            return Ok(End::Unwanted);
        }
        Some(Relation::NoTable(kind)) => {
            tracing::info!(%table, %kind, "only tables are copied");
            true
        }
        Some(Relation::Table(Nature::Copied)) | None => false,
    };
    match schema::existence(conn, table).await? {
        Existence::Denied { grant } if !is_missing => Err(denied(table, grant)),
        Existence::NoSuchTable | Existence::Denied { .. } => missing(context, conn).await,
        Existence::Exists | Existence::Broken { .. } if is_missing => missing(context, conn).await,
        Existence::Broken { why } => Err(Existence::broken(table, &why)),
        Existence::Exists => Err(Failure::row(format!("\"{table}\" is no table that can be described"))
            .hint("only base tables are copied; leave it out with source.exclude")),
    }
}

/// There is no such table where the binlog ends.
async fn missing(context: &Context, conn: &mut Conn) -> Result<End, Failure> {
    let identity = context.sessions.stream_identity();
    let end = consistency::binlog_end(conn, context.sessions.server()?).await?;
    Ok(End::Missing(end, identity))
}

async fn end(context: &Arc<Context>, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let mark = SnapshotMark::Finished { table: progress.table.clone(), number: progress.number };
    if !context.ingest.mark(mark).await? {
        return Ok(Some(End::Unwanted));
    }
    progress.stage = Stage::Done;
    Ok(None)
}

/// Asks how large the table is, and shows it.
async fn size(context: &Context, conn: &mut Conn, progress: &Progress) -> Result<Estimate, Failure> {
    let estimate = schema::estimate(conn, &progress.table).await?;
    context.show(&progress.table, |entry| entry.estimated_rows = estimate.rows);
    Ok(estimate)
}

/// Reads the table range by range. Ranges are made ahead of the readers, one more than there are.
async fn ranges(context: &Arc<Context>, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let Stage::Ranges(start) = &progress.stage else { return Ok(None) };
    let mut conn = context.sessions.control().await?;
    let estimate = size(context, &mut conn, progress).await?;
    let chunk_rows = progress.chunk_rows.unwrap_or(context.chunk_rows).max(1);
    let mut waiting: VecDeque<Range> = start.pending.iter().cloned().collect();
    let table =
        Arc::new(RangedTable::new(Arc::clone(context), progress.clone(), start.key.clone(), estimate.row_bytes));
    let result = Box::pin(read_ranges(&table, &mut conn, &mut waiting, chunk_rows)).await;
    // Also after an error: what is placed stays placed.
    *progress = table.progress.lock().await.clone();
    match result? {
        Over::Read => progress.stage = Stage::Placed,
        Over::Unseen => return unseen(context, &mut conn, &progress.table).await.map(Some),
        Over::Unwanted => return Ok(Some(End::Unwanted)),
        Over::KeyChanged => {
            tracing::info!(table = %progress.table, "the table's key changed, so its read begins again");
            progress.stage = Stage::Waiting;
        }
    }
    Ok(None)
}

/// How the ranges of a table ended.
enum Over {
    Read,
    KeyChanged,
    Unseen,
    Unwanted,
}

async fn read_ranges(
    table: &Arc<RangedTable>,
    conn: &mut Conn,
    waiting: &mut VecDeque<Range>,
    chunk_rows: u32,
) -> Result<Over, Failure> {
    // Dropping the set ends the readers and closes their windows.
    let mut readers: JoinSet<Result<Outcome, Failure>> = JoinSet::new();
    loop {
        while readers.len() <= table.context.parallel {
            let range = match waiting.pop_front() {
                Some(range) => range,
                None => match make_range(table, conn, chunk_rows).await {
                    Ok(Some(range)) => range,
                    Ok(None) => break,
                    Err(failure) => return outdated(table, conn).await?.ok_or(failure),
                },
            };
            let table = Arc::clone(table);
            readers.spawn(async move { Box::pin(table.read(range)).await });
        }
        match readers.join_next().await {
            None => return Ok(Over::Read),
            Some(Ok(Ok(Outcome::Placed { rest }))) => waiting.extend(rest),
            Some(Ok(Ok(Outcome::KeyChanged))) => return Ok(Over::KeyChanged),
            Some(Ok(Ok(Outcome::Unseen))) => return Ok(Over::Unseen),
            Some(Ok(Ok(Outcome::Unwanted))) => return Ok(Over::Unwanted),
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

/// What became of a table of which no range can be made; `None`: it is as it was, so the error is of another kind.
async fn outdated(table: &RangedTable, conn: &mut Conn) -> Result<Option<Over>, Failure> {
    let flavour = table.context.sessions.server()?.flavour;
    let described = schema::describe(conn, flavour, &table.table).await?;
    Ok(match described {
        None => Some(Over::Unseen),
        Some(described) if described.chunk_key.as_ref() != Some(&table.key) => Some(Over::KeyChanged),
        Some(_) => None,
    })
}

/// The next range, taken note of in the table's state; it is stored with the next chunk.
async fn make_range(table: &RangedTable, conn: &mut Conn, chunk_rows: u32) -> Result<Option<Range>, Failure> {
    let ranges = match &table.progress.lock().await.stage {
        Stage::Ranges(ranges) => ranges.clone(),
        Stage::Waiting | Stage::Begun | Stage::Whole | Stage::Placed | Stage::Done => return Ok(None),
    };
    let rows = table.range_rows(chunk_rows);
    let range = planner::next_range(conn, &table.table, &ranges, table.filter.as_deref(), rows).await?;
    if let (Some(range), Stage::Ranges(ranges)) = (&range, &mut table.progress.lock().await.stage) {
        ranges.frontier = Some(range.upto.clone());
        ranges.pending.push(range.clone());
    }
    Ok(range)
}
