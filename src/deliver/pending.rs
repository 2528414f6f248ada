//! Schemas that the log does not know yet, and those that it never came to know.
//!
//! The source does not wait for an answer about one table: it logs rows under a schema id that is *pending*, and says
//! later what the id is. Delivery waits there instead, and every sink waits for itself. What a waiting sink was given
//! before is applied first, so that its readers see it. What reaches a sink once an id is decided is in
//! [`super::followed()`].

use std::time::Duration;

use tracing::{info, warn};
use wal::{FrameRef, Lsn};

use super::open::Open;
use super::run::{Delivery, Goal, PROBE};
use super::walk::damaged_frame;
use crate::codec::catalog::{Catalog, Resolved};
use crate::codec::frame::{Frame, FrameHeader, TableChange};
use crate::error::Failure;
use crate::model::{SchemaId, TableName};
use crate::telemetry::{WaitingLive, now_micros};

/// Pause between two looks at the log. What an id is becomes known by a change of the log's state, which moves no LSN
/// that could be waited for. A look is one read by key.
const POLL: Duration = Duration::from_millis(10);
/// How long an id may stay pending after the source has ended: what the source has decided is in the log by then.
pub(super) const AFTER_THE_END: Duration = Duration::from_secs(5);

/// A schema that is not decided, in a frame that waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Undecided {
    pub(super) id: SchemaId,
    pub(super) table: TableName,
    pub(super) lsn: Lsn,
}

/// The first schema that a frame names and that is not decided.
pub(super) fn first_undecided(
    header: &FrameHeader,
    lsn: Lsn,
    catalog: &mut Catalog,
) -> Result<Option<Undecided>, Failure> {
    let mut pending = |id: SchemaId| -> Result<Option<Undecided>, Failure> {
        Ok(catalog.pending(id)?.map(|seen| Undecided { id, table: seen.name.clone(), lsn }))
    };
    match header {
        FrameHeader::Rows(rows) => {
            for section in &rows.sections {
                if let Some(found) = pending(section.schema)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        FrameHeader::Change { change, .. } => match change {
            TableChange::Schema { from, to, .. } => {
                if let Some(found) = pending(*to)? {
                    return Ok(Some(found));
                }
                first_undecided_before(*from, lsn, catalog)
            }
            TableChange::Rename { schema, .. } | TableChange::ReplaceBegin { schema, .. } => pending(*schema),
            TableChange::Truncate { .. }
            | TableChange::Drop { .. }
            | TableChange::ReplaceEnd { .. }
            | TableChange::Gap { .. }
            | TableChange::LeftOut { .. } => Ok(None),
        },
        FrameHeader::Mark { .. } | FrameHeader::Check(_) => Ok(None),
    }
}

/// The first undecided one among a schema and those before it that were left out.
fn first_undecided_before(
    mut id: Option<SchemaId>,
    lsn: Lsn,
    catalog: &mut Catalog,
) -> Result<Option<Undecided>, Failure> {
    while let Some(at) = id {
        id = match catalog.resolve(at)? {
            Resolved::Known(_) => None,
            Resolved::Pending(seen) => return Ok(Some(Undecided { id: at, table: seen.name.clone(), lsn })),
            Resolved::LeftOut { before, .. } => before,
        };
    }
    Ok(None)
}

/// The first undecided schema of a group, whose frames these are and those of later groups. They are what has been
/// read of the log: what is missing of a larger group waits at its own frame.
pub(super) fn first_undecided_of_group<'b, E: std::error::Error + Send + Sync + 'static>(
    frames: impl Iterator<Item = Result<FrameRef<'b>, E>>,
    sink: &str,
    catalog: &mut Catalog,
) -> Result<Option<Undecided>, Failure> {
    for frame in frames {
        let frame = frame.map_err(|source| Failure::fatal("cannot read the log").caused_by(source))?;
        let decoded = Frame::decode(frame.payload).map_err(|error| damaged_frame(frame.lsn, error))?;
        if decoded.header.audience().includes(sink)
            && let Some(found) = first_undecided(&decoded.header, frame.lsn, catalog)?
        {
            return Ok(Some(found));
        }
        if frame.end_of_group {
            break;
        }
    }
    Ok(None)
}

impl Delivery {
    /// Waits until the schema is decided; false if the delivery ends first.
    pub(super) async fn wait_for(&mut self, undecided: Undecided, open: &mut Open) -> Result<bool, Failure> {
        self.commit(open).await?;
        self.settle(open).await?;
        let Undecided { id, table, lsn } = undecided;
        info!(sink = %self.name, %table, schema = %id, %lsn, "waits for a schema that the source is asked for");
        self.live.waits(Some(WaitingLive { table: table.clone(), schema: id, lsn, since_micros: now_micros() }));
        let decided = self.until_decided(id, open).await;
        self.live.waits(None);
        if decided.is_err() {
            warn!(sink = %self.name, %table, schema = %id, "a schema was not decided");
        }
        decided
    }

    async fn until_decided(&mut self, id: SchemaId, open: &mut Open) -> Result<bool, Failure> {
        let mut source_ended: Option<tokio::time::Instant> = None;
        let mut look_at = tokio::time::Instant::now() + PROBE;
        loop {
            let Some(seen) = open.catalog.pending(id)? else { return Ok(true) };
            if self.shutdown.is_cancelled() {
                return Ok(false);
            }
            if let Goal::Reach(end) = *self.goal.borrow() {
                if open.at >= end {
                    return Ok(false);
                }
                if source_ended.get_or_insert_with(tokio::time::Instant::now).elapsed() > self.patience {
                    let table = &seen.name;
                    let what = format!("the source has ended without deciding schema {id} of \"{table}\"");
                    return Err(Failure::fatal(what)
                        .hint("start replicator again: once it is connected to the source, it decides the schema"));
                }
            }
            if tokio::time::Instant::now() >= look_at {
                self.look_for_durable().await?;
                look_at = tokio::time::Instant::now() + PROBE;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }
}
