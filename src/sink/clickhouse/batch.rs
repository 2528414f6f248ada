//! Rows of one table on their way: one INSERT that is sent while it is made.
//!
//! Chunks leave as they fill, so that the server parses while rows are still encoded. Nothing of an INSERT is stored before its
//! body has ended, and it ends in [`Batch::finish`] alone: a batch that is dropped was never there.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::chunks::Chunks;
use super::client::Client;
use super::error::Refused;
use crate::telemetry::BatchesLive;

/// What goes to the task that sends.
enum Piece {
    Bytes(Bytes),
    /// The body is whole.
    End,
}

/// Rows of one table on their way.
pub(super) struct Batch {
    pub(super) chunks: Chunks,
    began: Option<Instant>,
    sending: Option<Sending>,
}

struct Sending {
    pieces: mpsc::UnboundedSender<Piece>,
    task: JoinHandle<Result<(), Refused>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Batch {
    /// An empty batch.
    pub(super) fn new() -> Self {
        Self { chunks: Chunks::new(), began: None, sending: None }
    }

    /// Whether its INSERT has begun.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether there is something whole to send.
    pub(super) fn has_full(&self) -> bool {
        self.chunks.has_full()
    }

    /// Sends what is whole. `sql` and `header` open the INSERT.
    pub(super) fn send_full(&mut self, client: &Client, sql: &str, header: &Bytes) {
        let mut full = self.chunks.take_full().peekable();
        if full.peek().is_none() {
            return;
        }
        let sending = self.sending.get_or_insert_with(|| {
            self.began = Some(Instant::now());
            Sending::begin(client, sql, header)
        });
        for chunk in full {
            sending.send(Piece::Bytes(chunk));
        }
    }

    /// Sends the rest, ends the INSERT, and waits until the server has stored it.
    pub(super) async fn finish(mut self, client: &Client, sql: &str, header: &Bytes) -> Result<BatchesLive, Refused> {
        // An INSERT that is under way already has its turn.
        let turn = if self.is_sending() { None } else { Some(client.turn().await?) };
        self.chunks.finish();
        let (rows, bytes) = (self.chunks.rows(), self.chunks.bytes());
        self.send_full(client, sql, header);
        let mut sending = self.sending.take().unwrap_or_else(|| {
            self.began = Some(Instant::now());
            Sending::begin(client, sql, header)
        });
        sending.send(Piece::End);
        match (&mut sending.task).await {
            Ok(stored) => stored?,
            Err(error) => return Err(Refused::interrupted(&error)),
        }
        drop(turn);
        Ok(BatchesLive {
            batches: 1,
            rows,
            bytes,
            seconds: self.began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
            parts: None,
        })
    }
}

impl Sending {
    fn begin(client: &Client, sql: &str, header: &Bytes) -> Self {
        let (pieces, mut queue) = mpsc::unbounded_channel();
        let mut insert = client.insert_in_pieces(sql);
        let header = header.clone();
        let task = client.runtime().spawn(async move {
            insert.send(header).await?;
            loop {
                match queue.recv().await {
                    Some(Piece::Bytes(bytes)) => insert.send(bytes).await?,
                    Some(Piece::End) => return Ok(insert.end().await?),
                    None => return Err(Refused::abandoned()),
                }
            }
        });
        Self { pieces, task }
    }

    /// A task that has failed takes no more pieces; its error comes out of [`Batch::finish`].
    fn send(&self, piece: Piece) {
        drop(self.pieces.send(piece));
    }
}
