//! What is stored of a dead letter.

use serde::{Deserialize, Serialize};
use wal::Lsn;

use crate::codec::frame::RowOp;
use crate::codec::state::State;
use crate::codec::stored::{self, DEAD, DEAD_AGAIN, DEAD_ROWS, Entry, Record, decode, encode};
use crate::error::Failure;
use crate::model::{SchemaId, TableName};

/// Where the row change of a letter is: its frame, and its place in it. Of one sink it names the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LetterId {
    /// The frame.
    pub lsn: Lsn,
    /// The place of the row change in it.
    pub ordinal: u32,
}

/// A row change that a sink could not write. Its images are a [`DeadRow`] under the same name, so that a list of letters reads no row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The table, by its name where the sink is.
    pub table: TableName,
    /// The schema of the images.
    pub schema: SchemaId,
    /// What was done to the row.
    pub op: RowOp,
    /// Bytes of frames before the row's frame.
    pub position: u64,
    /// When the row was changed, in microseconds since 1970.
    pub commit_micros: i64,
    /// When it could not be written, in microseconds since 1970.
    pub at_micros: i64,
    /// Why.
    pub reason: String,
    /// Hashes of the keys whose rows are not current at the sink because of it. None of a history.
    pub keys: Vec<u128>,
    /// Bytes of the images.
    pub image_bytes: u32,
}

impl Record for DeadLetter {
    const ENTRY: &'static Entry = &DEAD;
}

/// The images of a letter's row change, as the log has them: one, or the one before the change and the one after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRow(pub Vec<u8>);

impl Record for DeadRow {
    const ENTRY: &'static Entry = &DEAD_ROWS;
}

/// An operator wants a letter to be tried again, and that was not begun. It may outlive its letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadAgain;

impl Record for DeadAgain {
    const ENTRY: &'static Entry = &DEAD_AGAIN;
}

impl DeadLetter {
    /// Bytes that it counts for, with its images.
    pub fn bytes(&self) -> u64 {
        /// Both keys, and the numbers.
        const FIXED: usize = 128;
        let text = self.reason.len() + self.table.database.len() + self.table.table.len();
        let own = FIXED + text + 16 * self.keys.len();
        u64::try_from(own).unwrap_or(u64::MAX).saturating_add(self.image_bytes.into())
    }
}

impl LetterId {
    /// The key of an entry for this letter of a sink: `<prefix><sink>\0<LSN><ordinal>`, both big-endian.
    pub fn key(self, entry: &Entry, sink: &str) -> Vec<u8> {
        let (lsn, ordinal) = (self.lsn.raw().to_be_bytes(), self.ordinal.to_be_bytes());
        [entry.of_sink_tables(sink).as_slice(), &lsn, &ordinal].concat()
    }

    /// The letter of a key that [`LetterId::key`] has made.
    fn of_key(prefix: &[u8], key: &[u8]) -> Option<Self> {
        let (lsn, ordinal) = key.strip_prefix(prefix)?.split_first_chunk::<8>()?;
        let ordinal = u32::from_be_bytes(ordinal.try_into().ok()?);
        Some(Self { lsn: Lsn::new(u64::from_be_bytes(*lsn)), ordinal })
    }

    /// Wants it to be tried again.
    pub(super) fn wanted(self, sink: &str) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        Ok((self.key(&DEAD_AGAIN, sink), Some(encode(&DeadAgain)?)))
    }

    /// It is tried again.
    pub fn tried(self, sink: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.key(&DEAD_AGAIN, sink), None)
    }

    /// Removes a letter of a sink.
    pub(super) fn removal(self, sink: &str) -> [(Vec<u8>, Option<Vec<u8>>); 3] {
        [&DEAD, &DEAD_ROWS, &DEAD_AGAIN].map(|entry| (self.key(entry, sink), None))
    }
}

/// The letters of a sink, in the order of the log.
///
/// # Errors
/// Fatal, when the log cannot be read, or a key or a record is damaged.
pub fn letters_of(state: &impl State, sink: &str) -> Result<Vec<(LetterId, DeadLetter)>, Failure> {
    let prefix = DEAD.of_sink_tables(sink);
    let entries = state.under(&prefix).map_err(unreadable)?;
    entries
        .into_iter()
        .map(|(key, value)| {
            let id = LetterId::of_key(&prefix, &key)
                .ok_or_else(|| Failure::fatal(format!("{} in the log has a damaged key", DEAD.what)))?;
            Ok((id, decode(&value)?))
        })
        .collect()
}

/// The images of a letter; `None` where it has ended since it was read.
///
/// # Errors
/// Fatal, when the log cannot be read, or the record is damaged.
pub fn images_of(state: &impl State, sink: &str, id: LetterId) -> Result<Option<Vec<u8>>, Failure> {
    let row: Option<DeadRow> = stored::get(state, &id.key(&DEAD_ROWS, sink))?;
    Ok(row.map(|DeadRow(images)| images))
}

/// The letters of a sink that are to be tried again.
///
/// # Errors
/// As [`letters_of`].
pub fn wanted_of(state: &impl State, sink: &str) -> Result<Vec<LetterId>, Failure> {
    let prefix = DEAD_AGAIN.of_sink_tables(sink);
    let keys = state.keys_under(&prefix).map_err(unreadable)?;
    let damaged = || Failure::fatal(format!("{} in the log has a damaged key", DEAD_AGAIN.what));
    keys.iter().map(|key| LetterId::of_key(&prefix, key).ok_or_else(damaged)).collect()
}

/// Every key of the state that is of a sink's letters.
///
/// # Errors
/// Fatal, when the log cannot be read.
pub fn keys_of_sink(state: &impl State, sink: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut keys = Vec::new();
    for entry in [&DEAD, &DEAD_ROWS, &DEAD_AGAIN] {
        keys.extend(state.keys_under(&entry.of_sink_tables(sink)).map_err(unreadable)?);
    }
    Ok(keys)
}

fn unreadable(error: wal::Error) -> Failure {
    Failure::fatal("cannot read the dead letters from the log").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;

    fn letter() -> DeadLetter {
        DeadLetter {
            table: TableName::new("shop", "users"),
            schema: SchemaId(7),
            op: RowOp::Update,
            position: 70_000,
            commit_micros: 1_795_251_600_000_001,
            at_micros: 1_795_251_600_500_000,
            reason: "a constraint refuses the row".into(),
            keys: vec![1 << 100, 2],
            image_bytes: 40,
        }
    }

    #[test]
    fn a_dead_letter_is_stored_as_committed() {
        let of_history = DeadLetter { keys: Vec::new(), op: RowOp::Insert, ..letter() };
        fixture::check(&[("update", letter()), ("history", of_history)]);
    }

    #[test]
    fn that_a_letter_is_to_be_tried_again_is_stored_as_committed() {
        fixture::check(&[("again", DeadAgain)]);
    }

    #[test]
    fn the_images_of_a_dead_letter_are_stored_as_committed() {
        fixture::check(&[("row", DeadRow(vec![0, 1, 2, 255]))]);
    }

    #[test]
    fn a_letters_key_is_its_sink_and_its_place_and_keys_go_in_the_order_of_the_log() {
        let id = |lsn, ordinal| LetterId { lsn: Lsn::new(lsn), ordinal };
        let key = |id: LetterId| id.key(&DEAD, "local");
        for letter in [id(1, 0), id(255, 256), id(256, u32::MAX)] {
            assert_eq!(LetterId::of_key(&DEAD.of_sink_tables("local"), &key(letter)), Some(letter));
        }
        assert!(key(id(255, 256)) < key(id(255, 257)) && key(id(255, 257)) < key(id(256, 0)));
        assert_eq!(LetterId::of_key(&DEAD.of_sink_tables("loc"), &key(id(1, 0))), None);
        assert_eq!(LetterId::of_key(&DEAD.of_sink_tables("local"), b"dead/local\0short"), None);
    }
}
