//! The reader's side of the conversation with the ingest loop.
//!
//! A loop that does not answer is tried again: it re-opens the stream, or the daemon is about to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::handoff::{Account, Diverted, ExactRead, Images, Placed, Request, SnapshotMark, WindowId, may_lack_rows};
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition, TableName, TableSchema};
use crate::table::{ByHand, Event, Operated};

/// The ingest loop, as the readers see it.
#[derive(Debug)]
pub(super) struct Ingest {
    requests: mpsc::Sender<Request>,
    windows: AtomicU64,
}

/// An open window. Dropping it closes it at the loop.
#[derive(Debug)]
pub(super) struct Window {
    id: WindowId,
    requests: mpsc::Sender<Request>,
    open: bool,
}

impl Ingest {
    pub(super) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self { requests, windows: AtomicU64::new(1) }
    }

    async fn send(&self, request: Request) -> Result<(), Failure> {
        self.requests.send(request).await.map_err(|_| silent())
    }

    /// Opens a window; gives where the stream is.
    pub(super) async fn open_window(&self, table: &TableName) -> Result<(Window, SourcePosition), Failure> {
        let id = WindowId(self.windows.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        // From here on the window may be open at the loop, so it is closed if nobody waits for the answer.
        let window = Window { id, requests: self.requests.clone(), open: true };
        self.send(Request::OpenWindow { table: table.clone(), window: id, reply }).await?;
        let at = answer.await.map_err(|_| silent())?;
        Ok((window, at))
    }

    /// Places a chunk, which ends its window.
    pub(super) async fn place(
        &self,
        mut window: Window,
        schema: Arc<TableSchema>,
        images: Images,
        high: FilePos,
        account: Account,
    ) -> Result<Placed, Failure> {
        let (reply, answer) = oneshot::channel();
        let request = Request::PlaceChunk { window: window.id, schema, images, high, account, reply };
        self.send(request).await?;
        window.open = false;
        answer.await.map_err(|_| silent())
    }

    /// Appends a mark; false where the read is no longer wanted.
    pub(super) async fn mark(&self, mark: SnapshotMark) -> Result<bool, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Mark { mark, reply }).await?;
        answer.await.map_err(|_| silent())
    }

    /// Asks for a table's rows to be diverted. `None`: the read is no longer wanted.
    pub(super) async fn divert(&self, table: &TableName, number: u32) -> Result<Option<Diversion>, Failure> {
        let (reply, answer) = oneshot::channel();
        // From here on they may be diverted, so that ends if nobody waits for the answer.
        let mut guard = Guard { table: table.clone(), number, requests: self.requests.clone(), is_open: true };
        self.send(Request::Divert { table: table.clone(), number, reply }).await?;
        match answer.await.map_err(|_| silent())? {
            Diverted::Begun { at, placed } => Ok(Some(Diversion { at, placed, guard })),
            Diverted::Busy => {
                guard.is_open = false;
                Err(Failure::retry(format!(
                    "row changes of table \"{table}\" wait for an earlier read, or for an answer about its definition"
                )))
            }
            Diverted::Unseen => {
                guard.is_open = false;
                Err(may_lack_rows(table))
            }
            Diverted::Unwanted => {
                guard.is_open = false;
                Ok(None)
            }
        }
    }

    /// Does to a table what an operator says; returns once that is durable.
    pub(super) async fn by_hand(&self, table: TableName, by_hand: ByHand) -> Result<Operated, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::ByHand { table, by_hand, reply }).await?;
        answer.await.map_err(|_| silent())?
    }

    /// Says what has happened to a table; returns once that is durable.
    pub(super) async fn happened(&self, table: TableName, event: Event) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Happened { table, event, reply: Some(reply) }).await?;
        answer.await.map_err(|_| silent())
    }
}

/// A table whose rows are diverted. Dropping it ends that at the loop, unless its copy was handed over.
#[derive(Debug)]
pub(super) struct Diversion {
    /// From this boundary on.
    pub(super) at: SourcePosition,
    placed: oneshot::Receiver<Result<Placed, Failure>>,
    guard: Guard,
}

#[derive(Debug)]
struct Guard {
    table: TableName,
    number: u32,
    requests: mpsc::Sender<Request>,
    is_open: bool,
}

impl Diversion {
    /// Hands the copy over.
    pub(super) async fn hand_over(&mut self, read: ExactRead) -> Result<(), Failure> {
        self.guard.requests.send(Request::PlaceWhole(Box::new(read))).await.map_err(|_| silent())?;
        Ok(())
    }

    /// What becomes of the read. Not to be waited for again once it is known.
    pub(super) async fn placed(&mut self) -> Result<Placed, Failure> {
        let placed = (&mut self.placed).await.map_err(|_| silent());
        self.guard.is_open = false;
        placed?
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_open {
            let Self { table, number, requests, .. } = self;
            tell(requests, Request::EndDiversion { table: table.clone(), number: *number });
        }
    }
}

/// Tells the loop that something has ended, from where nothing can wait. A loop that is gone has nothing open.
fn tell(requests: &mpsc::Sender<Request>, request: Request) {
    if let Err(TrySendError::Full(request)) = requests.try_send(request) {
        let requests = requests.clone();
        tokio::spawn(async move {
            drop(requests.send(request).await);
        });
    }
}

/// The loop has lost its stream before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the stream is being opened again")]
pub(super) struct StreamLost;

pub(super) fn silent() -> Failure {
    Failure::retry("what a reader handed over was not answered").caused_by(StreamLost)
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.open {
            tell(&self.requests, Request::CloseWindow { window: self.id });
        }
    }
}
