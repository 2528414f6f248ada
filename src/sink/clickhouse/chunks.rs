//! Rows' bytes as they are produced, cut between rows into chunks of about [`CHUNK_BYTES`].
//!
//! A chunk is frozen when the row that fills it is whole, so a chunk holds whole rows and a body can be sent while later
//! rows are still being made. Each chunk's room is allocated once, at its final size: growing by doubling would hold up to
//! three times the bytes while it copies. A row larger than the slack grows its chunk; such a chunk gives back the room it did
//! not use.

use bytes::Bytes;

use super::encode::Scratch;
use crate::model::ReplacedValues;

/// A chunk is frozen once it has this many bytes: large enough that sending one costs nothing beside its bytes, small enough
/// that a few of them in flight do not count.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// Room behind [`CHUNK_BYTES`] for the row that passes it; longer rows are rare enough to be paid for with a copy.
const SLACK_BYTES: usize = 1 << 16;

/// A frozen chunk wastes at most this part of its bytes.
const EXCESS_PART: usize = 4;

/// Rows on their way to one table.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// The chunk that is being filled; without room until its first row.
    open: Vec<u8>,
    /// Where its last row ends.
    whole: usize,
    full: Vec<Bytes>,
    rows: u64,
    /// Of whole rows since the start.
    bytes: u64,
    scratch: Scratch,
}

impl Chunks {
    /// Without rows.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Where the bytes of the next row go, and room for making them.
    pub(super) fn buffer(&mut self) -> (&mut Vec<u8>, &mut Scratch) {
        if self.open.capacity() == 0 {
            self.open.reserve_exact(CHUNK_BYTES + SLACK_BYTES);
        }
        (&mut self.open, &mut self.scratch)
    }

    /// Values that were replaced in the rows since the last call.
    pub(super) fn take_replaced(&mut self) -> ReplacedValues {
        self.scratch.take_replaced()
    }

    /// Ends a row.
    pub(super) fn row_done(&mut self) {
        self.rows += 1;
        let len = self.open.len();
        self.bytes += u64::try_from(len - self.whole).unwrap_or(u64::MAX);
        self.whole = len;
        if len >= CHUNK_BYTES {
            self.freeze();
        }
    }

    /// Takes back what was written since the last row ended.
    pub(super) fn undo_row(&mut self) {
        self.open.truncate(self.whole);
    }

    /// Freezes the last chunk, whatever its size.
    pub(super) fn finish(&mut self) {
        self.undo_row();
        self.freeze();
        self.scratch.trim();
    }

    /// Whether a chunk is frozen.
    pub(super) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Takes the chunks that are frozen, in order.
    pub(super) fn take_full(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        std::mem::take(&mut self.full).into_iter()
    }

    /// Rows since the start, those of chunks taken included.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of those rows.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn freeze(&mut self) {
        let mut chunk = std::mem::take(&mut self.open);
        self.whole = 0;
        if chunk.is_empty() {
            return;
        }
        if chunk.capacity() - chunk.len() > chunk.len() / EXCESS_PART {
            chunk.shrink_to_fit();
        }
        self.full.push(chunk.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(chunks: &mut Chunks, row: &[u8]) {
        chunks.buffer().0.extend_from_slice(row);
        chunks.row_done();
    }

    #[test]
    fn chunks_are_cut_between_rows_and_hold_every_byte_in_order() {
        let mut chunks = Chunks::new();
        let rows: Vec<Vec<u8>> = (0..5000_usize).map(|n| vec![u8::try_from(n % 251).unwrap(); n % 997 + 3]).collect();
        let mut taken = Vec::new();
        for row in &rows {
            push(&mut chunks, row);
            taken.extend(chunks.take_full());
        }
        chunks.finish();
        taken.extend(chunks.take_full());

        assert_eq!(taken.concat(), rows.concat());
        assert_eq!(chunks.rows(), 5000);
        assert_eq!(chunks.bytes(), u64::try_from(rows.concat().len()).unwrap());
        let mut ends = Vec::new();
        let mut end = 0;
        for row in &rows {
            end += row.len();
            ends.push(end);
        }
        let mut at = 0;
        let (last, full) = taken.split_last().unwrap();
        assert!(full.len() >= 2, "{} chunks", taken.len());
        for chunk in full {
            assert!((CHUNK_BYTES..CHUNK_BYTES + 1000).contains(&chunk.len()), "{}", chunk.len());
            at += chunk.len();
            assert!(ends.contains(&at), "a chunk ends inside a row");
        }
        assert!(last.len() < CHUNK_BYTES);
    }

    #[test]
    fn a_chunk_is_allocated_once_and_an_oversized_row_leaves_no_waste() {
        let mut chunks = Chunks::new();
        let row = [7; 100];
        let counted = allocation_counter::measure(|| {
            while chunks.full.is_empty() {
                push(&mut chunks, &row);
            }
        });
        assert!(counted.count_total <= 4, "{} allocations", counted.count_total);

        push(&mut chunks, &vec![1; CHUNK_BYTES * 2 + 1]);
        push(&mut chunks, &row);
        chunks.finish();
        let sizes: Vec<_> = chunks.take_full().map(|chunk| chunk.len()).collect();
        assert_eq!(sizes.len(), 3);
        assert_eq!(sizes[1..], [CHUNK_BYTES * 2 + 1, 100]);
    }

    #[test]
    fn a_row_taken_back_leaves_the_rows_before_it() {
        let mut chunks = Chunks::new();
        push(&mut chunks, b"one");
        chunks.buffer().0.extend_from_slice(b"tw");
        chunks.undo_row();
        push(&mut chunks, b"three");
        chunks.buffer().0.extend_from_slice(b"half");
        chunks.finish();
        assert_eq!(chunks.take_full().collect::<Vec<_>>(), [Bytes::from_static(b"onethree")]);
        assert_eq!((chunks.rows(), chunks.bytes()), (2, 8));
        chunks.finish();
        assert_eq!(chunks.take_full().count(), 0);
    }
}
