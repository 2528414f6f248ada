//! The reader's side of the conversation with the ingest loop.
//!
//! A loop that does not answer is tried again: it re-opens the stream, or the daemon is about to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::handoff::{
    Account, BeginRead, Begun, Diverted, ExactRead, Images, PlaceChunk, Placed, Request, SnapshotMark, WindowId,
    may_lack_rows,
};
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
        let (reply, answer) = oneshot::channel();
        // From here on the window may be open at the loop, so it is closed if nobody waits for the answer.
        let window = self.window();
        self.send(Request::OpenWindow { table: table.clone(), window: window.id, reply }).await?;
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
        let chunk = PlaceChunk { window: window.id, schema, images, account, reply };
        self.send(Request::PlaceChunks { chunks: vec![chunk], high }).await?;
        window.open = false;
        answer.await.map_err(|_| silent())
    }

    /// Places chunks, each of which ends its window.
    pub(super) async fn place_all(
        &self,
        chunks: Vec<(Window, Arc<TableSchema>, Images, Account)>,
        high: FilePos,
    ) -> Result<Vec<Placed>, Failure> {
        let (mut asked, mut windows, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for (window, schema, images, account) in chunks {
            let (reply, answer) = oneshot::channel();
            asked.push(PlaceChunk { window: window.id, schema, images, account, reply });
            windows.push(window);
            answers.push(answer);
        }
        self.send(Request::PlaceChunks { chunks: asked, high }).await?;
        for window in &mut windows {
            window.open = false;
        }
        let mut placed = Vec::with_capacity(answers.len());
        for answer in answers {
            placed.push(answer.await.map_err(|_| silent())?);
        }
        Ok(placed)
    }

    /// Opens a window of each table at one boundary; `None` for a table that has to wait.
    pub(super) async fn open_windows(&self, tables: &[TableName]) -> Result<Vec<Option<Window>>, Failure> {
        let (reply, answer) = oneshot::channel();
        // From here on they may be open at the loop, so they are closed if nobody waits for the answer.
        let windows: Vec<Window> = tables.iter().map(|_| self.window()).collect();
        let asked = tables.iter().cloned().zip(windows.iter().map(|window| window.id)).collect();
        self.send(Request::OpenWindows { windows: asked, reply }).await?;
        let opened = answer.await.map_err(|_| silent())?;
        Ok(windows.into_iter().zip(opened).map(|(window, is_open)| window.kept(is_open)).collect())
    }

    /// Begins reads, each of a table that was described in this window, and opens their windows again at one boundary.
    /// Gives where the stream is, and what became of each.
    pub(super) async fn begin_reads(
        &self,
        reads: Vec<(TableName, u32, Window)>,
    ) -> Result<(SourcePosition, Vec<(Begun, Option<Window>)>), Failure> {
        let (reply, answer) = oneshot::channel();
        let (mut asked, mut windows) = (Vec::with_capacity(reads.len()), Vec::with_capacity(reads.len()));
        for (table, number, described_in) in reads {
            let window = self.window();
            asked.push(BeginRead { table, number, described_in: described_in.id, window: window.id });
            windows.push((described_in, window));
        }
        self.send(Request::BeginReads { reads: asked, reply }).await?;
        let (at, begun) = answer.await.map_err(|_| silent())?;
        let mut answered = Vec::with_capacity(begun.len());
        for ((described_in, window), begun) in windows.into_iter().zip(begun) {
            // The loop has closed it.
            drop(described_in.kept(false));
            answered.push((begun, window.kept(begun == Begun::Now)));
        }
        Ok((at, answered))
    }

    /// Ends reads of which every row is placed; says of each whether it was still wanted, once that is durable.
    pub(super) async fn end_reads(&self, reads: Vec<(TableName, u32)>) -> Result<Vec<bool>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::EndReads { reads, reply }).await?;
        answer.await.map_err(|_| silent())
    }

    fn window(&self) -> Window {
        let id = WindowId(self.windows.fetch_add(1, Ordering::Relaxed));
        Window { id, requests: self.requests.clone(), open: true }
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

impl Window {
    /// The window, if the loop has opened it.
    fn kept(mut self, is_open: bool) -> Option<Self> {
        self.open = is_open;
        is_open.then_some(self)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if self.open {
            tell(&self.requests, Request::CloseWindow { window: self.id });
        }
    }
}
