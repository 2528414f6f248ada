//! A transaction that the log has no room for: what is said of it, so that the operator need not try.
//!
//! How much a transaction takes is known at its end. So it is read to its end, and counted, before the stream stops.

use super::ledger::TooLarge;
use crate::config::show_size;
use crate::error::Failure;
use crate::model::TableName;

/// The value that is named is a multiple of this.
const STEP: u64 = 64 << 20;
/// What a frame has beside its rows, at most.
const FRAME_HEADER: usize = 1 << 10;

/// Counts what is still to come of a transaction, as the log would store it.
#[derive(Debug)]
pub(super) struct Rest {
    frame_bytes: usize,
    /// Row bytes in the frame that is open.
    open: usize,
    stored: u64,
}

impl Rest {
    pub(super) fn new(frame_bytes: usize) -> Self {
        Self { frame_bytes, open: 0, stored: 0 }
    }

    /// Rows of one event.
    pub(super) fn rows(&mut self, bytes: usize) {
        if self.open > 0 && self.open + bytes > self.frame_bytes {
            self.close();
        }
        self.open += bytes;
    }

    fn close(&mut self) {
        self.stored = self.stored.saturating_add(wal::stored_frame(self.open + FRAME_HEADER));
        self.open = 0;
    }

    /// What all of it takes.
    fn stored(mut self) -> u64 {
        if self.open > 0 {
            self.close();
        }
        self.stored
    }
}

/// What is said of the transaction. `rest`: what follows what was found too large; `None`: its end was not read.
pub(super) fn failure(found: TooLarge, table: Option<&TableName>, rest: Option<Rest>) -> Failure {
    let TooLarge { bytes, most, max_size } = found;
    let is_whole = rest.is_some();
    let whole = bytes.saturating_add(rest.map_or(0, Rest::stored));
    let of = table.map_or(String::new(), |table| format!(" with rows of \"{table}\""));
    let least = if is_whole { "" } else { "more than " };
    let takes = size(whole);
    let message = format!(
        "a transaction{of} takes {least}{takes} in the log, and wal.max_size of {} leaves {} for one",
        size(max_size),
        size(most)
    );
    let exclude = table.map_or(String::new(), |_| "; or leave the table out (source.exclude)".to_owned());
    let hint = format!(
        "set wal.max_size to {} or more, and start again: the transaction is read once more{exclude}",
        show_size(enough(whole))
    );
    Failure::fatal(message).hint(hint)
}

/// The `wal.max_size` that leaves room for a transaction of so many stored bytes: it may take three eighths.
fn enough(stored: u64) -> u64 {
    stored.saturating_mul(8).div_ceil(3).saturating_add(1).div_ceil(STEP).saturating_mul(STEP)
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_is_named_leaves_room_for_the_whole_transaction() {
        for stored in [1, 24 << 20, (24 << 20) + 1, 7 << 30] {
            assert!(enough(stored) / 8 * 3 >= stored, "{stored}");
        }
        let found = TooLarge { bytes: 25 << 20, most: 24 << 20, max_size: 64 << 20 };
        let mut rest = Rest::new(110 << 10);
        for _ in 0..100 {
            rest.rows(100_000);
        }
        let failure = super::failure(found, Some(&TableName::new("shop", "wide")), Some(rest));
        assert_eq!(
            failure.message,
            "a transaction with rows of \"shop.wide\" takes 37.5 MiB in the log, and wal.max_size of 64.0 MiB leaves 24.0 MiB for one"
        );
        assert!(failure.hint.unwrap().starts_with("set wal.max_size to 128MiB or more"));
    }
}
