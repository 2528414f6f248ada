//! Rows of one table on their way: one INSERT that is sent while it is made.
//!
//! Chunks leave as they fill, so that the server parses while rows are still encoded. Nothing of an INSERT is stored before its
//! body has ended, and it ends in [`Batch::finish`] alone: a batch that is dropped was never there.

use std::sync::Arc;
use std::time::Instant;

use super::chunks::Chunks;
use super::client::Client;
use super::error::Refused;
use super::halving::Kept;
use super::insert::Insert;
use super::writer::Opening;
use crate::model::RowCounts;
use crate::sink::rows::{Section, Taken};
use crate::telemetry::BatchesLive;

/// Rows of one table on their way.
pub(super) struct Batch {
    pub(super) chunks: Chunks,
    opening: Arc<Opening>,
    /// The row changes that were taken for it, and how many of them are two rows.
    taken: RowCounts,
    /// The row changes themselves, where the sink takes dead letters.
    kept: Vec<Kept>,
    began: Option<Instant>,
    insert: Option<Insert>,
}

/// A batch that the server has stored.
pub(super) struct Stored {
    pub(super) live: BatchesLive,
    /// As far as they are known without the server.
    pub(super) taken: RowCounts,
    /// Rows that the server says it has written, if it says so.
    pub(super) written: Option<u64>,
}

impl Batch {
    /// An empty batch, for the INSERT that begins so.
    pub(super) fn new(opening: Arc<Opening>) -> Self {
        Self {
            chunks: Chunks::new(),
            opening,
            taken: RowCounts::default(),
            kept: Vec::new(),
            began: None,
            insert: None,
        }
    }

    /// Whether its INSERT has begun.
    pub(super) fn is_sending(&self) -> bool {
        self.insert.is_some()
    }

    /// Whether there is something whole to send.
    pub(super) fn has_full(&self) -> bool {
        self.chunks.has_full()
    }

    /// Counts row changes whose rows are in its chunks, and the values that were replaced in them.
    pub(super) fn took(&mut self, taken: Taken) {
        self.taken.replaced.add(self.chunks.take_replaced());
        self.taken.taken += u64::from(taken.rows);
        self.taken.split += u64::from(taken.split);
        self.taken.dead_lettered += u64::from(taken.dead);
    }

    /// Keeps the row changes of a section, so that those are found that the server does not take.
    pub(super) fn keep(&mut self, section: Section<'_>) {
        self.kept.push(Kept::of(section));
    }

    /// What was kept.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Takes what was kept, and what the INSERT begins with.
    pub(super) fn take_kept(&mut self) -> (Vec<Kept>, Arc<Opening>) {
        (std::mem::take(&mut self.kept), Arc::clone(&self.opening))
    }

    /// What became of its row changes, where nothing is sent of them: all are dead letters.
    pub(super) fn unsent(&self) -> RowCounts {
        self.taken
    }

    /// Row changes that were taken for it.
    pub(super) fn taken(&self) -> u64 {
        self.taken.taken
    }

    /// Sends what is whole.
    pub(super) fn send_full(&mut self, client: &Client) {
        let mut full = self.chunks.take_full().peekable();
        if full.peek().is_none() {
            return;
        }
        let (began, opening) = (&mut self.began, &self.opening);
        let insert = self.insert.get_or_insert_with(|| begin(began, client, opening));
        for chunk in full {
            insert.send(chunk);
        }
    }

    /// Sends the rest, ends the INSERT, and waits until the server has stored it.
    pub(super) async fn finish(mut self, client: &Client) -> Result<Stored, Refused> {
        // An INSERT that is under way already has its turn.
        let turn = if self.is_sending() { None } else { Some(client.turn().await?) };
        self.chunks.finish();
        self.send_full(client);
        let insert = match self.insert.take() {
            Some(insert) => insert,
            None => begin(&mut self.began, client, &self.opening),
        };
        let written = insert.end().await?.rows;
        drop(turn);
        let live = BatchesLive {
            batches: 1,
            rows: self.chunks.rows(),
            bytes: self.chunks.bytes(),
            seconds: self.began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
            parts: None,
        };
        Ok(Stored { live, taken: self.taken, written })
    }
}

fn begin(began: &mut Option<Instant>, client: &Client, opening: &Opening) -> Insert {
    *began = Some(Instant::now());
    let insert = client.begin_insert(&opening.sql);
    insert.send(opening.header.clone());
    insert
}
