//! Values and keys of the log's state: bincode values, and keys made of a prefix and a table's name.

use serde::Serialize;
use serde::de::DeserializeOwned;
use wal::Reader;

use crate::error::Failure;
use crate::model::TableName;

/// Key of the source's position: everything before it is in the log.
pub const SOURCE_POSITION: &[u8] = b"source/position";

/// Key of the last LSN before the source's position. Stored with it: who sees the position knows what is durable with it.
pub const SOURCE_LSN: &[u8] = b"source/lsn";

const LIMIT: usize = 64 << 20;

/// A value as it is stored.
///
/// # Errors
/// Fatal, when it is beyond 64 MiB.
pub fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, Failure> {
    bincode::serde::encode_to_vec(value, bincode::config::standard().with_limit::<LIMIT>())
        .map_err(|error| Failure::fatal(format!("cannot store {what} in the log")).caused_by(error))
}

/// A stored value.
///
/// # Errors
/// Fatal, when the bytes are not such a value.
pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Failure> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<LIMIT>())
        .map(|(value, _)| value)
        .map_err(|error| Failure::fatal(format!("{what} in the log is damaged")).caused_by(error))
}

/// A table's key under a prefix: `<prefix><database>\0<table>`.
pub fn name_key(prefix: &[u8], table: &TableName) -> Vec<u8> {
    [prefix, table.database.as_bytes(), &[0], table.table.as_bytes()].concat()
}

/// The table of a key made by [`name_key`].
pub fn name_of_key(prefix: &[u8], key: &[u8]) -> Option<TableName> {
    let name = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?;
    let (database, table) = name.split_once('\0')?;
    Some(TableName::new(database, table))
}

/// The value of a key.
///
/// # Errors
/// Fatal, when the log cannot be read or the value is damaged.
pub fn get<T: DeserializeOwned>(reader: &Reader, key: &[u8], what: &str) -> Result<Option<T>, Failure> {
    let bytes = reader.state(key).map_err(|error| unreadable(what, error))?;
    bytes.map(|bytes| decode(what, &bytes)).transpose()
}

/// Every value under a prefix of [`name_key`]s.
///
/// # Errors
/// Fatal, when the log cannot be read or an entry is damaged.
pub fn named<T: DeserializeOwned>(reader: &Reader, prefix: &[u8], what: &str) -> Result<Vec<(TableName, T)>, Failure> {
    let entries = reader.state_prefix(prefix).map_err(|error| unreadable(what, error))?;
    entries
        .into_iter()
        .map(|(key, value)| {
            let name = name_of_key(prefix, &key)
                .ok_or_else(|| Failure::fatal(format!("{what} in the log has a damaged key")))?;
            Ok((name, decode(what, &value)?))
        })
        .collect()
}

fn unreadable(what: &str, error: wal::Error) -> Failure {
    Failure::fatal(format!("cannot read {what} from the log")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_key_gives_its_name_back() {
        let table = TableName::new("sh.op", "or/ders");
        assert_eq!(name_of_key(b"table/", &name_key(b"table/", &table)), Some(table));
        assert_eq!(name_of_key(b"table/", b"count/a\0b"), None);
    }
}
