//! Rows of one table on their way: one INSERT that is sent while it is made.
//!
//! Chunks leave as they fill, so that the server parses while rows are still encoded. Nothing of an INSERT is stored before its
//! body has ended, and it ends in [`Batch::finish`] alone: a batch that is dropped was never there.

use std::time::Instant;

use bytes::Bytes;

use super::chunks::Chunks;
use super::client::Client;
use super::error::Refused;
use super::insert::Insert;
use crate::telemetry::BatchesLive;

/// Rows of one table on their way.
pub(super) struct Batch {
    pub(super) chunks: Chunks,
    began: Option<Instant>,
    insert: Option<Insert>,
}

impl Batch {
    /// An empty batch.
    pub(super) fn new() -> Self {
        Self { chunks: Chunks::new(), began: None, insert: None }
    }

    /// Whether its INSERT has begun.
    pub(super) fn is_sending(&self) -> bool {
        self.insert.is_some()
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
        let began = &mut self.began;
        let insert = self.insert.get_or_insert_with(|| begin(began, client, sql, header));
        for chunk in full {
            insert.send(chunk);
        }
    }

    /// Sends the rest, ends the INSERT, and waits until the server has stored it.
    pub(super) async fn finish(mut self, client: &Client, sql: &str, header: &Bytes) -> Result<BatchesLive, Refused> {
        // An INSERT that is under way already has its turn.
        let turn = if self.is_sending() { None } else { Some(client.turn().await?) };
        self.chunks.finish();
        self.send_full(client, sql, header);
        let insert = match self.insert.take() {
            Some(insert) => insert,
            None => begin(&mut self.began, client, sql, header),
        };
        insert.end().await?;
        drop(turn);
        Ok(BatchesLive {
            batches: 1,
            rows: self.chunks.rows(),
            bytes: self.chunks.bytes(),
            seconds: self.began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
            parts: None,
        })
    }
}

fn begin(began: &mut Option<Instant>, client: &Client, sql: &str, header: &Bytes) -> Insert {
    *began = Some(Instant::now());
    let insert = client.begin_insert(sql);
    insert.send(header.clone());
    insert
}
