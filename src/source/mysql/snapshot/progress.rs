//! How far a reader is with a table.
//!
//! What is wanted and how far it is belongs to the table's record ([`crate::table::TableRecord`]); a reader has a copy of it while it
//! works, and hands an [`Account`] over with every chunk. An account is true once its chunk is placed: chunks of a table are handed over
//! one after another.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::handoff::Account;
use super::range::{Bound, Range};
use crate::codec::stored::{self, Entry, RANGES, Record};
use crate::error::Failure;
use crate::model::TableName;
use crate::source::mysql::schema::ChunkKey;
use crate::table::{self, Keys, Reach, Read};

/// One table's read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The table.
    pub table: TableName,
    /// The read.
    pub number: u32,
    /// How much is read.
    pub reach: Reach,
    /// Rows a chunk has at most, in place of `source.snapshot.chunk_rows`.
    pub chunk_rows: Option<u32>,
    /// The condition that the rows of its keys meet, once it has begun.
    pub keys: Option<String>,
    /// Nobody has asked for it.
    pub by_itself: bool,
    /// How far it is.
    pub stage: Stage,
    /// Rows placed.
    pub rows: u64,
}

/// How far a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is read.
    Waiting,
    /// The log has the mark that it begins; the last key is not known.
    Begun,
    /// Read in ranges.
    Ranges(Ranges),
    /// To be read whole at one position.
    Whole,
    /// Every row is placed; only the end mark is missing.
    Placed,
    /// The end mark is in the log.
    Done,
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

impl Record for Ranges {
    const ENTRY: &'static Entry = &RANGES;
}

impl Progress {
    /// Where the record says the read is.
    ///
    /// # Errors
    /// When the account of the ranges is damaged.
    pub fn of(table: TableName, read: &Read) -> Result<Self, Failure> {
        let stage = match &read.stage {
            // Which condition selects the keys is known once the table is described. They are few: it begins again.
            table::Stage::Begun | table::Stage::Ranges(_) if matches!(read.reach, Reach::Keys(_)) => Stage::Waiting,
            table::Stage::Waiting => Stage::Waiting,
            table::Stage::Begun => Stage::Begun,
            table::Stage::Ranges(bytes) => Stage::Ranges(stored::decode(bytes)?),
            table::Stage::Whole => Stage::Whole,
            table::Stage::Placed => Stage::Placed,
        };
        Ok(Self {
            table,
            number: read.number,
            reach: read.reach.clone(),
            chunk_rows: read.chunk_rows,
            keys: None,
            by_itself: read.by_itself(),
            stage,
            rows: read.rows,
        })
    }

    /// What is stored of it.
    ///
    /// # Errors
    /// Ranges beyond every limit.
    pub fn account(&self) -> Result<Account, Failure> {
        let stage = match &self.stage {
            Stage::Waiting => table::Stage::Waiting,
            Stage::Begun => table::Stage::Begun,
            Stage::Ranges(ranges) => table::Stage::Ranges(stored::encode(ranges)?),
            Stage::Whole => table::Stage::Whole,
            Stage::Placed | Stage::Done => table::Stage::Placed,
        };
        Ok(Account { number: self.number, stage, rows: self.rows })
    }

    /// Says that every row is in the log. `since`: when this process began with it, or took it up again.
    pub(super) fn say_it_was_read(&self, since: Instant) {
        let seconds = since.elapsed().as_secs_f64();
        tracing::info!(table = %self.table, rows = self.rows, seconds = format_args!("{seconds:.3}"), "a table was read");
    }

    /// The condition that rows must meet.
    pub fn condition(&self) -> Option<&str> {
        match &self.reach {
            Reach::Part { condition } => Some(condition),
            Reach::Keys(_) => self.keys.as_deref(),
            Reach::Whole | Reach::Replace => None,
        }
    }

    /// The keys that are to be read, if it is a read of keys.
    pub fn keys(&self) -> Option<&Keys> {
        match &self.reach {
            Reach::Keys(keys) => Some(keys),
            Reach::Part { .. } | Reach::Whole | Reach::Replace => None,
        }
    }
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

    fn in_ranges() -> Ranges {
        let key = ChunkKey {
            index: "PRIMARY".into(),
            parts: vec![KeyPart { column: 3, name: "id".into(), class: KeyClass::Number }],
        };
        let pending = vec![Range { after: None, upto: bound(5) }, Range { after: Some(bound(5)), upto: bound(9) }];
        Ranges { key, last: bound(99), frontier: Some(bound(9)), pending }
    }

    #[test]
    fn a_cut_or_altered_account_is_an_error_and_never_a_panic() {
        let value = stored::encode(&in_ranges()).unwrap();
        for cut in 0..value.len() {
            assert!(stored::decode::<Ranges>(&value[..cut]).is_err(), "cut at {cut}");
        }
        for place in 0..value.len() {
            let mut altered = value.clone();
            altered[place] ^= 0xff;
            // Some alterations give another valid account; none may panic.
            drop(stored::decode::<Ranges>(&altered));
        }
    }

    #[test]
    fn the_ranges_of_a_read_are_stored_as_committed() {
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
        let all = Ranges { key, last: Bound(values.into()), frontier: None, pending: Vec::new() };
        stored::fixture::check(&[("in_ranges", in_ranges()), ("by_every_class_of_key", all)]);
    }
}
