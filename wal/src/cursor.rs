//! Cursors: how far each reader of the log has durably come, and the claim on the log that this gives it.
//!
//! Promises: a cursor stands between groups and only moves forward; the log behind the slowest attached cursor is never
//! trimmed. Does not know what a token means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lsn::Lsn;
use crate::record::Counters;
use crate::tables::Tail;

/// The longest name of a cursor, in bytes. A name is a sink's name in the configuration.
pub(crate) const MAX_NAME: usize = 255;
/// The longest token, in bytes. It must stay below the limit under which records are decoded.
pub(crate) const MAX_TOKEN: usize = 64 * 1024;

/// A cursor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRecord {
    /// The last LSN that the cursor is done with: the end of a group, or zero.
    pub(crate) lsn: Lsn,
    /// Counters of the log at `lsn`, so that the backlog is a subtraction.
    pub(crate) bytes: u64,
    pub(crate) groups: u64,
    /// It has lost its claim on the log.
    pub(crate) detached: bool,
    pub(crate) token: Vec<u8>,
}

impl CursorRecord {
    pub(crate) fn new(lsn: Lsn, at: Counters) -> Self {
        Self { lsn, bytes: at.bytes, groups: at.groups, detached: false, token: Vec::new() }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { bytes: self.bytes, groups: self.groups }
    }

    pub(crate) fn info(&self, name: &str, tail: &Tail) -> CursorInfo {
        CursorInfo {
            name: name.to_owned(),
            lsn: self.lsn,
            token: self.token.clone(),
            backlog_bytes: tail.bytes.saturating_sub(self.bytes),
            backlog_groups: tail.groups.saturating_sub(self.groups),
            detached: self.detached,
        }
    }
}

/// A cursor as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorInfo {
    /// Its name.
    pub name: String,
    /// The last LSN it is done with. Lower than or equal to the durable end.
    pub lsn: Lsn,
    /// What the last acknowledgement stored with it.
    pub token: Vec<u8>,
    /// Frame bytes between it and the durable end.
    pub backlog_bytes: u64,
    /// Groups between it and the durable end.
    pub backlog_groups: u64,
    /// It has lost its claim on the log: what it has not read may be trimmed.
    pub detached: bool,
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::BadCursorName { bytes: name.len(), most: MAX_NAME });
    }
    Ok(())
}

pub(crate) fn check_token(cursor: &str, token: &[u8]) -> Result<(), Error> {
    if token.len() > MAX_TOKEN {
        return Err(Error::TokenTooLarge { cursor: cursor.to_owned(), bytes: token.len(), most: MAX_TOKEN });
    }
    Ok(())
}

/// The LSN up to which nobody needs the log. Without any cursor the whole log is kept, for those to come. If all cursors
/// are detached, nobody needs anything: otherwise a full log would block its source for ever.
pub(crate) fn trim_floor(cursors: &BTreeMap<String, CursorRecord>, end: Lsn) -> Option<Lsn> {
    if cursors.is_empty() {
        return None;
    }
    let slowest = cursors.values().filter(|cursor| !cursor.detached).map(|cursor| cursor.lsn).min();
    Some(slowest.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(lsn: u64, detached: bool) -> CursorRecord {
        CursorRecord { detached, ..CursorRecord::new(Lsn::new(lsn), Counters::default()) }
    }

    #[test]
    fn the_slowest_attached_cursor_holds_the_log() {
        let mut cursors = BTreeMap::new();
        let end = Lsn::new(9);
        assert_eq!(trim_floor(&cursors, end), None);
        cursors.insert("a".to_owned(), cursor(3, false));
        cursors.insert("b".to_owned(), cursor(5, false));
        assert_eq!(trim_floor(&cursors, end), Some(Lsn::new(3)));
        cursors.insert("a".to_owned(), cursor(3, true));
        assert_eq!(trim_floor(&cursors, end), Some(Lsn::new(5)));
        cursors.insert("b".to_owned(), cursor(5, true));
        assert_eq!(trim_floor(&cursors, end), Some(end));
    }
}
