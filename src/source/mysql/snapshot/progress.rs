//! What is done of each table's snapshot, as it is stored in the log beside the rows.
//!
//! One entry per table, key `snapshot/<database>\0<table>`, written in the commit of every chunk. An entry is true at the moment of
//! its commit: chunks of a table are handed over one after another, each with the entry as it stands once that chunk is placed.

use serde::{Deserialize, Serialize};

use super::job::Backfill;
use super::range::{Bound, Range};
use crate::codec::stored::{self, Entry, Record, SNAPSHOT};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::schema::ChunkKey;

/// Every key of the snapshot's state starts with this.
pub const STATE_PREFIX: &[u8] = SNAPSHOT.prefix.as_bytes();

/// One table's snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// What is asked for.
    pub job: Backfill,
    /// Of a table that was captured when the log began; such a table may be gone before its turn comes.
    pub initial: bool,
    /// How far it is.
    pub stage: Stage,
    /// Rows placed.
    pub rows: u64,
}

/// How far a table's snapshot is. Every stage is persisted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Asked for; nothing read. A restart starts it.
    Pending,
    /// Read in ranges. A restart goes on with the pending ones and then from the frontier.
    Ranges(Ranges),
    /// To be read whole at one position. A restart reads it from its start.
    Whole,
    /// Read whole and placed; only the end mark is missing. A restart writes that.
    Placed,
    /// Every row stands in the log.
    Done,
    /// The table did not exist when its turn came. A restart leaves it so. It is not done either: when the stream renames it, it
    /// is read under its new name.
    Gone,
    /// Begun, and the sinks' rows are emptied if the job replaces them; its last key is not known yet. A restart takes that.
    Begun,
}

impl Stage {
    /// Whether nothing is left to do for the job.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done | Self::Gone)
    }
}

/// A table that is read in ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// The key they are of. When the table's key is another, all of this is void.
    pub key: ChunkKey,
    /// The last key, read under a view that holds everything the stream had read: of rows beyond it the stream tells.
    pub last: Bound,
    /// Up to here ranges have been made; `None`: none yet.
    pub frontier: Option<Bound>,
    /// Ranges that are made and not placed.
    pub pending: Vec<Range>,
}

impl Ranges {
    /// Whether ranges reach the last key.
    pub fn all_made(&self) -> bool {
        self.frontier.as_ref() == Some(&self.last)
    }
}

impl Record for TableProgress {
    const ENTRY: &'static Entry = &SNAPSHOT;
}

impl TableProgress {
    /// A job that was just asked for.
    pub fn new(job: Backfill) -> Self {
        Self { job, initial: false, stage: Stage::Pending, rows: 0 }
    }

    /// The read of a table that was captured when the log began.
    pub fn initial(table: TableName) -> Self {
        Self { initial: true, ..Self::new(Backfill::whole(table)) }
    }

    /// Whether the log gets a replace of the whole table from here on. A table that is read whole at one position is read
    /// from its start after a restart, and replaced then.
    pub fn will_replace(&self) -> bool {
        self.job.where_clause.is_none()
            && match &self.stage {
                Stage::Pending => self.job.replace,
                Stage::Whole => true,
                Stage::Ranges(_) | Stage::Placed | Stage::Done | Stage::Gone | Stage::Begun => false,
            }
    }

    /// The table.
    pub fn table(&self) -> &TableName {
        &self.job.table
    }

    /// As a state entry.
    ///
    /// # Errors
    /// A name beyond any server's limit.
    pub fn entry(&self) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        Ok((state_key(self.table()), stored::encode(self)?))
    }

    /// From a state entry.
    ///
    /// # Errors
    /// An entry that cannot be read, or is of another table.
    pub fn read(key: &[u8], value: &[u8]) -> Result<Self, Failure> {
        let name = String::from_utf8_lossy(key).replace('\0', ".");
        let damaged = || Failure::fatal(format!("the stored state \"{name}\" is damaged"));
        let progress: Self = stored::decode(value)?;
        if state_key(progress.table()) != key {
            return Err(damaged());
        }
        Ok(progress)
    }
}

/// The state entry that asks for the snapshot of a table, to be stored with the log's first position: from then on no crash
/// forgets the table.
///
/// # Errors
/// A name beyond any server's limit.
pub fn initial_progress(table: &TableName) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    TableProgress::initial(table.clone()).entry()
}

/// Whether a table's snapshot has begun, or been asked for, and is not done. `value`: its entry in the log's state.
///
/// # Errors
/// An entry that cannot be read.
pub fn is_unfinished(table: &TableName, value: &[u8]) -> Result<bool, Failure> {
    Ok(TableProgress::read(&state_key(table), value)?.stage != Stage::Done)
}

/// The key of a table's entry.
pub fn state_key(table: &TableName) -> Vec<u8> {
    SNAPSHOT.of_table(table)
}

#[cfg(test)]
mod tests {
    use super::super::literal::KeyValue;
    use super::*;
    use crate::model::Charset;
    use crate::source::mysql::schema::{KeyClass, KeyPart};

    fn bound(number: u32) -> Bound {
        Bound(vec![KeyValue::Number(number.to_string()), KeyValue::Hex("E9".into())])
    }

    fn in_ranges() -> TableProgress {
        let key = ChunkKey {
            index: "PRIMARY".into(),
            parts: vec![KeyPart { column: 3, name: "id".into(), class: KeyClass::Number }],
        };
        let pending = vec![Range { after: None, upto: bound(5) }, Range { after: Some(bound(5)), upto: bound(9) }];
        let ranges = Ranges { key, last: bound(99), frontier: Some(bound(9)), pending };
        TableProgress {
            stage: Stage::Ranges(ranges),
            rows: 7,
            ..TableProgress::new(Backfill::whole(TableName::new("a.b", "c%")))
        }
    }

    #[test]
    fn an_entry_reads_back_as_written() {
        let progress = in_ranges();
        let (key, value) = progress.entry().unwrap();
        assert_eq!(key, b"snapshot/a.b\0c%");
        assert_eq!(TableProgress::read(&key, &value).unwrap(), progress);
    }

    #[test]
    fn a_cut_altered_or_misplaced_entry_is_an_error_and_never_a_panic() {
        let (key, value) = in_ranges().entry().unwrap();
        for cut in 0..value.len() {
            assert!(TableProgress::read(&key, &value[..cut]).is_err(), "cut at {cut}");
        }
        for place in 0..value.len() {
            let mut altered = value.clone();
            altered[place] ^= 0xff;
            // Some alterations give another valid entry; none may panic.
            drop(TableProgress::read(&key, &altered));
        }
        assert!(TableProgress::read(b"snapshot/d\0t", &value).is_err());
        assert!(TableProgress::read(&key, &[]).is_err());
    }

    fn examples() -> Vec<(&'static str, TableProgress)> {
        let users = || TableName::new("shop", "users");
        let text = KeyClass::Text { charset: Charset::new("latin1"), collation: "latin1_bin".into() };
        let classes = [
            KeyClass::Number,
            KeyClass::Ordinal,
            text,
            KeyClass::Binary,
            KeyClass::Temporal,
            KeyClass::Uuid,
            KeyClass::Inet6,
            KeyClass::Inet4,
        ];
        let part = |(column, class)| KeyPart { column, name: format!("k{column}"), class };
        let key = ChunkKey { index: "by_all".into(), parts: (0..).zip(classes).map(part).collect() };
        let values = [
            KeyValue::Number("-7".into()),
            KeyValue::Hex("E9".into()),
            KeyValue::Temporal("2026-11-21".into()),
            KeyValue::Address("::1".into()),
        ];
        let ranges = Ranges { key, last: Bound(values.into()), frontier: None, pending: Vec::new() };
        let asked = Backfill {
            where_clause: Some("id > 5".into()),
            chunk_rows: Some(700),
            replace: true,
            may_be_gone: true,
            ..Backfill::whole(users())
        };
        let at = |stage| TableProgress { stage, ..TableProgress::new(Backfill::whole(users())) };
        vec![
            ("initial", TableProgress::initial(users())),
            ("asked", TableProgress::new(asked)),
            ("in_ranges", in_ranges()),
            ("by_every_class_of_key", at(Stage::Ranges(ranges))),
            ("whole", at(Stage::Whole)),
            ("placed", at(Stage::Placed)),
            ("done", TableProgress { rows: 300, ..at(Stage::Done) }),
            ("gone", at(Stage::Gone)),
            ("begun", at(Stage::Begun)),
        ]
    }

    #[test]
    fn the_progress_of_a_tables_read_is_stored_as_committed() {
        stored::fixture::check(&examples());
    }
}
