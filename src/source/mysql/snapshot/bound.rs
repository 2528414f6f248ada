//! Where the chunks of a table end: its largest key, read where the stream is certain to tell of every row beyond.
//!
//! [`super::handoff`] has the argument. The bound goes to the ingest loop as a chunk without rows, which announces the table's
//! definition; a change of the definition meanwhile discards it, and it is taken again.

use std::sync::Arc;

use super::consistency;
use super::context::Context;
use super::handoff::{Images, Placed};
use super::planner;
use super::progress::{Progress, Ranges, Stage};
use super::slots::Slot;
use super::table::{self, End};
use crate::error::Failure;
use crate::source::mysql::schema;

/// Moves `progress` on to the ranges, or, of a table without rows, to its end.
pub(super) async fn take(context: &Arc<Context>, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let mut slot = context.slots.take().await?;
    match Box::pin(take_in(context, &mut slot, progress)).await {
        Ok(end) => {
            context.slots.give_back(slot);
            Ok(end)
        }
        Err(failure) => {
            context.slots.discard(slot).await;
            Err(failure)
        }
    }
}

async fn take_in(context: &Context, slot: &mut Slot, progress: &mut Progress) -> Result<Option<End>, Failure> {
    let name = progress.table.clone();
    let server = slot.server;
    let (window, stream) = context.ingest.open_window(&name).await?;
    slot.require(&stream.server)?;
    if let Err(failure) = consistency::open_view(server, slot, &name, &stream).await {
        // A lock is not had on a table that is gone.
        return match schema::describe(&mut slot.control, server.flavour, &name).await? {
            None => table::unseen(context, &mut slot.control, &name).await.map(Some),
            Some(_) => Err(failure),
        };
    }
    let Some(described) = schema::describe(&mut slot.control, server.flavour, &name).await? else {
        consistency::close_view(&mut slot.reader).await?;
        return table::unseen(context, &mut slot.control, &name).await.map(Some);
    };
    if let Some(end) = table::left_out(context, &described).await? {
        consistency::close_view(&mut slot.reader).await?;
        return Ok(Some(end));
    }
    let Some(key) = described.chunk_key else {
        consistency::close_view(&mut slot.reader).await?;
        tracing::info!(table = %name, "the table's key is gone, so its read begins again");
        progress.stage = Stage::Waiting;
        return Ok(None);
    };
    let last = planner::last_key(&mut slot.reader, &name, &key).await?;
    consistency::close_view(&mut slot.reader).await?;
    let high = consistency::binlog_end(&mut slot.control, server).await?;
    let stage = match last {
        None => Stage::Placed,
        Some(last) => Stage::Ranges(Ranges { key, last, frontier: None, pending: Vec::new() }),
    };
    let next = Progress { stage, ..progress.clone() };
    let account = next.account()?;
    match context.ingest.place(window, Arc::new(described.schema), Images::default(), high, account).await? {
        Placed::Appended { .. } => *progress = next,
        Placed::Discarded => {
            tracing::info!(table = %name, "the table changed while its last key was read, which is read again");
        }
        Placed::Unwanted => return Ok(Some(End::Unwanted)),
    }
    Ok(None)
}
