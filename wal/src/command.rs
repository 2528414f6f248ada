//! What is asked of the writer thread.
//!
//! Promises: commands are applied in the order in which they were sent. A reply says that the commit with the command is
//! durable; a sender of replies that is dropped says that it never will be.

use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::commit::large;
use crate::cursor::CursorInfo;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::record::{Counters, SealedBlock};
use crate::tail::Shared;

/// Keys and their new values; `None` removes the key.
pub(crate) type StateChanges = Vec<(Vec<u8>, Option<Vec<u8>>)>;
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(crate) enum Command {
    Append(Append),
    /// Forget every frame after this one: its group was abandoned.
    Abort {
        after: Lsn,
    },
    /// Without a reply it waits for the next commit.
    Ack(Ack, Option<Reply<()>>),
    CreateCursor {
        name: String,
        at: Lsn,
        reply: Reply<CursorInfo>,
    },
    DropCursor {
        name: String,
        reply: Reply<()>,
    },
    DetachCursor {
        name: String,
        reply: Reply<()>,
    },
    MoveCursor {
        name: String,
        at: Lsn,
        state: StateChanges,
        reply: Reply<()>,
    },
    PutState(StateChanges, Reply<()>),
    /// Commit what was sent before, then stop. The reply channel closes when the log is closed.
    Shutdown(oneshot::Sender<()>),
}

/// Blocks that follow each other, and what becomes visible with them.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) blocks: Vec<SealedBlock>,
    /// Stored bytes of the blocks.
    pub(crate) stored: u64,
    /// Permits of the queue that it holds.
    pub(crate) permits: u32,
    /// The last group that ends in these blocks, or ended in earlier ones and was not yet sent.
    pub(crate) end: Option<GroupsEnd>,
    pub(crate) state: StateChanges,
    pub(crate) reply: Option<Reply<()>>,
}

impl Append {
    /// Bytes of large values that it puts.
    pub(crate) fn large_state(&self) -> u64 {
        self.state.iter().filter_map(|(_, value)| value.as_deref()).map(large).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupsEnd {
    pub(crate) lsn: Lsn,
    pub(crate) counters: Counters,
}

/// A cursor's step forward.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) cursor: String,
    pub(crate) lsn: Lsn,
    pub(crate) token: Vec<u8>,
    pub(crate) state: StateChanges,
}

/// Sends a command and waits until it is durable.
pub(crate) async fn ask<T>(
    shared: &Shared,
    sender: &mpsc::Sender<Command>,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<T, Error> {
    shared.check()?;
    let (reply, answer) = oneshot::channel();
    sender.send(command(reply)).map_err(|_| shared.gone())?;
    match answer.await {
        Ok(result) => result,
        Err(_) => Err(shared.dropped().await),
    }
}
