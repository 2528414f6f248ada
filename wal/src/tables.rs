//! The redb tables of a log and the records beside the blocks. The only file that names a table.
//!
//! | table     | key              | value                                                             |
//! |-----------|------------------|-------------------------------------------------------------------|
//! | `blocks`  | first LSN        | a block, see [`record`](crate::record)                            |
//! | `pieces`  | first LSN, number | a piece of a large block, see [`pieces`](crate::pieces); made with the first of them |
//! | `log`     | `identity`       | `REPLWAL\0`, format version (u32), log id (u128), little-endian    |
//! | `log`     | `tail`           | [`Tail`], bincode                                                 |
//! | `cursors` | name             | [`CursorRecord`](crate::cursor::CursorRecord), bincode            |
//! | `state`   | opaque           | opaque                                                            |
//!
//! Promises: what is read from a record is checked for its length and decoded under a limit, and a record that does not
//! decode is an error that names it.

use redb::TableDefinition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lsn::{LogId, Lsn};
use crate::record::Counters;

pub(crate) const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
pub(crate) const PIECES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("pieces");
pub(crate) const LOG: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("log");
pub(crate) const CURSORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cursors");
pub(crate) const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");

pub(crate) const IDENTITY: &str = "identity";
pub(crate) const TAIL: &str = "tail";

/// The version of the whole format: tables, records and blocks. A change to any of them raises it.
pub(crate) const FORMAT_VERSION: u32 = 1;
const IDENTITY_MAGIC: [u8; 8] = *b"REPLWAL\0";

/// The most bytes that a bincode record may make its decoder allocate: a cursor's longest token and its fields.
const RECORD_LIMIT: usize = 128 * 1024;

/// Where the visible log ends, and what it holds. Written in every commit that changes any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    /// The last frame of the last complete group. Blocks behind it belong to a group that is not finished.
    pub(crate) end: Lsn,
    /// Frame bytes up to `end`, since the log was created.
    pub(crate) bytes: u64,
    /// Groups up to `end`, since the log was created.
    pub(crate) groups: u64,
    /// The first frame that the log still holds, or the next one if it holds none. `first` <= `end` + 1.
    pub(crate) first: Lsn,
    /// Stored bytes of all blocks, those behind `end` included.
    pub(crate) live_bytes: u64,
}

impl Tail {
    pub(crate) fn of_a_new_log() -> Self {
        Self { first: Lsn::FIRST, ..Self::default() }
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { bytes: self.bytes, groups: self.groups }
    }
}

pub(crate) fn encode_identity(id: LogId) -> Vec<u8> {
    let mut bytes = IDENTITY_MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&id.raw().to_le_bytes());
    bytes
}

pub(crate) fn decode_identity(bytes: &[u8]) -> Result<LogId, Error> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(Error::NotALog("its identity is cut short"))?;
    if *magic != IDENTITY_MAGIC {
        return Err(Error::NotALog("its identity has another magic"));
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(Error::NotALog("its identity is cut short"))?;
    let found = u32::from_le_bytes(*version);
    if found != FORMAT_VERSION {
        return Err(Error::UnknownFormat { found, supported: FORMAT_VERSION });
    }
    let id = <[u8; 16]>::try_from(rest).map_err(|_| Error::NotALog("its identity has another length"))?;
    Ok(LogId::new(u128::from_le_bytes(id)))
}

pub(crate) fn encode<T: Serialize>(table: &'static str, key: &str, record: &T) -> Result<Vec<u8>, Error> {
    bincode::serde::encode_to_vec(record, bincode::config::standard()).map_err(|cause| Error::DamagedRecord {
        table,
        key: key.to_owned(),
        reason: cause.to_string(),
    })
}

pub(crate) fn decode<T: DeserializeOwned>(table: &'static str, key: &str, bytes: &[u8]) -> Result<T, Error> {
    let damaged = |reason: String| Error::DamagedRecord { table, key: key.to_owned(), reason };
    let config = bincode::config::standard().with_limit::<RECORD_LIMIT>();
    let (record, used) =
        bincode::serde::decode_from_slice(bytes, config).map_err(|cause| damaged(cause.to_string()))?;
    if used != bytes.len() {
        return Err(damaged(format!("{} bytes follow it", bytes.len() - used)));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_of_another_version_is_refused_by_number() {
        let mut bytes = encode_identity(LogId::new(7));
        assert_eq!(decode_identity(&bytes).unwrap(), LogId::new(7));
        bytes[8] = 9;
        let error = decode_identity(&bytes).unwrap_err();
        assert_eq!(error.to_string(), "the log has format version 9, this program reads version 1");
    }

    #[test]
    fn an_identity_of_another_program_is_refused() {
        assert!(matches!(decode_identity(b"whatever else"), Err(Error::NotALog(_))));
        assert!(matches!(decode_identity(b""), Err(Error::NotALog(_))));
    }

    #[test]
    fn a_record_with_bytes_behind_it_is_refused() {
        let mut bytes = encode("log", TAIL, &Tail::of_a_new_log()).unwrap();
        assert_eq!(decode::<Tail>("log", TAIL, &bytes).unwrap(), Tail::of_a_new_log());
        bytes.push(0);
        let error = decode::<Tail>("log", TAIL, &bytes).unwrap_err();
        assert_eq!(error.to_string(), "the record \"tail\" in table \"log\" is damaged: 1 bytes follow it");
    }
}
