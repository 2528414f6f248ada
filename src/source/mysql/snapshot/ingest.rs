//! The reader's side of the conversation with the ingest loop.
//!
//! A loop that does not answer is tried again: it re-opens the stream, or the daemon is about to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::handoff::{Account, Images, Paused, Placed, Request, SnapshotMark, WindowId};
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition, TableName, TableSchema};
use crate::table::Event;

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

    /// Asks the stream to stand still.
    pub(super) async fn pause(&self) -> Result<Paused, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Pause { reply }).await?;
        answer.await.map_err(|_| silent())
    }

    /// Says what has happened to a table; returns once that is durable.
    pub(super) async fn happened(&self, table: TableName, event: Event) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Happened { table, event, reply: Some(reply) }).await?;
        answer.await.map_err(|_| silent())
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
        if !self.open {
            return;
        }
        // A closed channel has no windows.
        if let Err(TrySendError::Full(request)) = self.requests.try_send(Request::CloseWindow { window: self.id }) {
            let requests = self.requests.clone();
            tokio::spawn(async move {
                drop(requests.send(request).await);
            });
        }
    }
}
