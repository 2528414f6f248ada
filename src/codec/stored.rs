//! The one table of everything that is stored in the log's state: keys, records, their versions and their owners.
//!
//! | key | record | version | owner |
//! |---|---|---|---|
//! | `format` | [`LogFormat`] | 1 | `codec` |
//! | `source/position` | `StoredPosition`: everything before it is in the log | 1 | `ingest` |
//! | `source/lsn` | `SourceLsn`: the last LSN before that position | 1 | `ingest` |
//! | `source/refused` | `RefusedPosition`: a position from which the stream could not be read on, and why | 1 | `ingest` |
//! | `source/xa` | `LastXaCommit`: when a two-phase transaction was committed last, where that matters after a start | 1 | `ingest` |
//! | `source/names` | `Names`: the source's rule for names, by which every name in the log is spelled | 1 | `first_contact` |
//! | `table/<database>\0<table>` | `TableRecord`: the life of a table at the end of the log | 1 | `table` |
//! | inside a `TableRecord` | `Ranges`: which ranges of a read are placed | 1 | `source` |
//! | `definition/<database>\0<table>` | `DefinitionRecord`: a table's schema, and what statements since did to it | 1 | `ingest` |
//! | `asked/<database>\0<table>` | `AskedBeside`: a read that was asked for beside the groups, while the log was full | 1 | `ingest` |
//! | `types/<database>\0<table>` | `Typed`: what statements since its schema said of its types | 1 | `ingest` |
//! | `waits/<database>\0<table>` | `Waits`: row changes of the table may wait in the spool for its copy, and are not in the log | 1 | `ingest` |
//! | `count/<database>\0<table>` | `Counts`: row changes read, appended, filtered, left out | 1 | `ingest` |
//! | `xa/<xid>` | `XaRecord`: a two-phase transaction that is prepared: its tables, and how many pieces its rows are in | 1 | `ingest` |
//! | `xa_rows/<xid><piece>` (big-endian `u32`) | `XaPiece`: rows of such a transaction | 1 | `ingest` |
//! | `schema/<id>` (big-endian `u32`) | [`SchemaRecord`](super::catalog::SchemaRecord) | 1 | `ingest` |
//! | `rows/<sink>\0<database>\0<table>` | `TableAtSink`: what became of a table's rows at a sink | 1 | `deliver` |
//! | `start/<sink>` | `CursorStart`: where the sink's cursor was created | 1 | `deliver` |
//! | `round/<sink>` | `RoundBounds`: bounds of the round that may be under way | 1 | `deliver` |
//! | `paused/<sink>` | `PausedSink`: an operator has stopped the sink's delivery | 1 | `deliver` |
//! | `note/<sink>\0<name>` | `Note`: a small value that a sink keeps in the log | 1 | `sink` |
//! | `dead/<sink>\0<LSN><ordinal>` (big-endian `u64`, `u32`) | `DeadLetter`: a row change that the sink could not write | 1 | `dead` |
//! | `dead_again/<sink>\0<LSN><ordinal>` | `DeadAgain`: it is to be tried again | 1 | `dead` |
//! | `dead_rows/<sink>\0<LSN><ordinal>` | `DeadRow`: the images of that row change | 1 | `dead` |
//!
//! A value is one version byte, then the record in bincode. Reading refuses another version, and bytes that are left
//! over. A record changes its shape by a new version here, with a reader for the old one.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::state::State;
use crate::error::Failure;
use crate::model::{Names, SourcePosition, TableName};

/// Bytes that a record may have.
const LIMIT: usize = 64 << 20;

/// The format of logs that this version writes: of frames, state and schemas together.
pub const LOG_FORMAT: u32 = 2;

/// One row of the table above.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, or what every key of this entry begins with.
    pub prefix: &'static str,
    /// What it is, for errors.
    pub what: &'static str,
    /// Name of the record's type.
    pub record: &'static str,
    /// Version of the record that is written.
    pub version: u8,
    /// The module that writes it.
    pub owner: &'static str,
}

macro_rules! entries {
    ($($name:ident: $prefix:literal, $what:literal, $record:literal, $version:literal, $owner:literal;)*) => {
        $(
            #[doc = concat!("`", $prefix, "`: ", $what, ".")]
            pub const $name: Entry =
                Entry { prefix: $prefix, what: $what, record: $record, version: $version, owner: $owner };
        )*
        /// Every entry, in the order of the table.
        pub const ALL: &[&Entry] = &[$(&$name),*];
    };
}

entries! {
    FORMAT: "format", "the log's format", "LogFormat", 1, "codec";
    SOURCE_POSITION: "source/position", "the source position", "StoredPosition", 1, "ingest";
    SOURCE_LSN: "source/lsn", "the source's last LSN", "SourceLsn", 1, "ingest";
    SOURCE_REFUSED: "source/refused", "the refused source position", "RefusedPosition", 1, "ingest";
    SOURCE_XA: "source/xa", "the last commit of a two-phase transaction", "LastXaCommit", 1, "ingest";
    SOURCE_NAMES: "source/names", "the source's rule for names", "Names", 1, "first_contact";
    TABLE: "table/", "a table record", "TableRecord", 1, "table";
    RANGES: "ranges", "the ranges of a table's read", "Ranges", 1, "source";
    DEFINITION: "definition/", "the definition of a table", "DefinitionRecord", 1, "ingest";
    ASKED: "asked/", "a read that was asked for", "AskedBeside", 1, "ingest";
    TYPES: "types/", "the stated types of a table", "Typed", 1, "ingest";
    WAITS: "waits/", "a table whose rows wait for its copy", "Waits", 1, "ingest";
    COUNT: "count/", "a row counter", "Counts", 1, "ingest";
    XA: "xa/", "a prepared transaction", "XaRecord", 1, "ingest";
    XA_ROWS: "xa_rows/", "rows of a prepared transaction", "XaPiece", 1, "ingest";
    SCHEMA: "schema/", "a schema", "SchemaRecord", 1, "ingest";
    SINK_ROWS: "rows/", "what became of a table at a sink", "TableAtSink", 1, "deliver";
    SINK_START: "start/", "a cursor's start", "CursorStart", 1, "deliver";
    SINK_ROUND: "round/", "the bounds of a round", "RoundBounds", 1, "deliver";
    SINK_PAUSED: "paused/", "the pause of a sink", "PausedSink", 1, "deliver";
    SINK_NOTE: "note/", "a note of a sink", "Note", 1, "sink";
    DEAD: "dead/", "a dead letter", "DeadLetter", 1, "dead";
    DEAD_AGAIN: "dead_again/", "a retry of a dead letter", "DeadAgain", 1, "dead";
    DEAD_ROWS: "dead_rows/", "the images of a dead letter", "DeadRow", 1, "dead";
}

impl Entry {
    /// The key of an entry that stands alone.
    pub fn key(&self) -> &'static [u8] {
        self.prefix.as_bytes()
    }

    /// The key of a table: `<prefix><database>\0<table>`.
    pub fn of_table(&self, table: &TableName) -> Vec<u8> {
        [self.key(), table.database.as_bytes(), &[0], table.table.as_bytes()].concat()
    }

    /// The key of a sink: `<prefix><sink>`.
    pub fn of_sink(&self, sink: &str) -> Vec<u8> {
        [self.key(), sink.as_bytes()].concat()
    }

    /// What the keys of a sink's tables begin with: `<prefix><sink>\0`.
    pub fn of_sink_tables(&self, sink: &str) -> Vec<u8> {
        [self.key(), sink.as_bytes(), &[0]].concat()
    }

    /// The key of a table at a sink: `<prefix><sink>\0<database>\0<table>`.
    pub fn of_sink_table(&self, sink: &str, table: &TableName) -> Vec<u8> {
        [self.key(), sink.as_bytes(), &[0], table.database.as_bytes(), &[0], table.table.as_bytes()].concat()
    }

    /// The key of bytes: `<prefix>` and the bytes.
    pub fn of_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        [self.key(), bytes].concat()
    }

    /// The key of a number: `<prefix>` and the number, big-endian.
    pub fn of_number(&self, number: u32) -> Vec<u8> {
        [self.key(), &number.to_be_bytes()].concat()
    }
}

/// A type that is stored under the keys of one [`Entry`].
pub trait Record: Serialize + DeserializeOwned {
    /// Its row of the table.
    const ENTRY: &'static Entry;
}

/// The format of a log, stored in the first commit that gives it a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LogFormat(pub u32);

impl Record for LogFormat {
    const ENTRY: &'static Entry = &FORMAT;
}

/// The position of a source, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum StoredPosition {
    /// MySQL or MariaDB.
    MySql(SourcePosition),
}

impl Record for StoredPosition {
    const ENTRY: &'static Entry = &SOURCE_POSITION;
}

/// The last LSN before the source position. Stored with it: a reader of the position knows what is durable with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SourceLsn(pub wal::Lsn);

impl Record for SourceLsn {
    const ENTRY: &'static Entry = &SOURCE_LSN;
}

impl Record for Names {
    const ENTRY: &'static Entry = &SOURCE_NAMES;
}

fn config()
-> bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Varint, bincode::config::Limit<LIMIT>>
{
    bincode::config::standard().with_limit::<LIMIT>()
}

/// A record as it is stored.
///
/// # Errors
/// Fatal, when it is beyond 64 MiB.
pub fn encode<T: Record>(record: &T) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![T::ENTRY.version];
    bincode::serde::encode_into_std_write(record, &mut bytes, config())
        .map_err(|error| Failure::fatal(format!("cannot store {} in the log", T::ENTRY.what)).caused_by(error))?;
    Ok(bytes)
}

/// A stored record.
///
/// # Errors
/// Fatal, when the bytes are of another version, are not such a record, or are more than one.
pub fn decode<T: Record>(bytes: &[u8]) -> Result<T, Failure> {
    let what = T::ENTRY.what;
    let damaged = || Failure::fatal(format!("{what} in the log is damaged")).hint("see replicator wal verify");
    let (version, record) = bytes.split_first().ok_or_else(damaged)?;
    if *version != T::ENTRY.version {
        return Err(Failure::fatal(format!(
            "{what} in the log has version {version}, this program reads {}",
            T::ENTRY.version
        ))
        .hint("start the program that wrote the log, or a newer one"));
    }
    let (record, read): (T, usize) =
        bincode::serde::decode_from_slice(record, config()).map_err(|error| damaged().caused_by(error))?;
    if read + 1 != bytes.len() {
        return Err(damaged());
    }
    Ok(record)
}

/// The record of a key.
///
/// # Errors
/// Fatal, when the log cannot be read or the record is damaged.
pub fn get<T: Record>(state: &impl State, key: &[u8]) -> Result<Option<T>, Failure> {
    let bytes = state.get(key).map_err(|error| unreadable(T::ENTRY, error))?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

/// The rule by which every name in the log is spelled: the source's. A log without one has names as written.
///
/// # Errors
/// As [`get`].
pub fn source_names(state: &impl State) -> Result<Names, Failure> {
    Ok(get(state, SOURCE_NAMES.key())?.unwrap_or_default())
}

/// Every record of a type whose keys are tables.
///
/// # Errors
/// Fatal, when the log cannot be read, or a key or a record is damaged.
pub fn of_tables<T: Record>(state: &impl State) -> Result<Vec<(TableName, T)>, Failure> {
    under(state, T::ENTRY.key())
}

/// Every record of a type whose keys are the tables of a sink.
///
/// # Errors
/// As [`of_tables`].
pub fn of_sink_tables<T: Record>(state: &impl State, sink: &str) -> Result<Vec<(TableName, T)>, Failure> {
    under(state, &T::ENTRY.of_sink_tables(sink))
}

/// As [`of_tables`], with the end of the log as of the commit that they are in.
///
/// # Errors
/// As [`of_tables`].
pub fn of_tables_and_end<T: Record>(reader: &wal::Reader) -> Result<(Vec<(TableName, T)>, wal::Lsn), Failure> {
    let prefix = T::ENTRY.key();
    let (entries, end) = reader.state_prefix_and_end(prefix).map_err(|error| unreadable(T::ENTRY, error))?;
    Ok((records(prefix, entries)?, end))
}

/// Every record of a type, whatever its keys are.
///
/// # Errors
/// As [`of_tables`].
pub fn values<T: Record>(state: &impl State) -> Result<Vec<T>, Failure> {
    let entries = state.under(T::ENTRY.key()).map_err(|error| unreadable(T::ENTRY, error))?;
    entries.iter().map(|(_, value)| decode(value)).collect()
}

/// Every key of an entry.
///
/// # Errors
/// Fatal, when the log cannot be read.
pub fn keys(state: &impl State, entry: &Entry) -> Result<Vec<Vec<u8>>, Failure> {
    state.keys_under(entry.key()).map_err(|error| unreadable(entry, error))
}

fn under<T: Record>(state: &impl State, prefix: &[u8]) -> Result<Vec<(TableName, T)>, Failure> {
    records(prefix, state.under(prefix).map_err(|error| unreadable(T::ENTRY, error))?)
}

fn records<T: Record>(prefix: &[u8], entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<(TableName, T)>, Failure> {
    // There may be ten thousand: no room is taken beyond theirs.
    let mut records = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let name = table_of_key(prefix, &key)
            .ok_or_else(|| Failure::fatal(format!("{} in the log has a damaged key", T::ENTRY.what)))?;
        records.push((name, decode(&value)?));
    }
    Ok(records)
}

/// The table of a key made by [`Entry::of_table`] or [`Entry::of_sink_table`], whose `prefix` ends before the database.
pub fn table_of_key(prefix: &[u8], key: &[u8]) -> Option<TableName> {
    let name = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?;
    let (database, table) = name.split_once('\0')?;
    Some(TableName::new(database, table))
}

/// Whether this version reads a log. Of a log that was just created it does not ask for a format: `is_empty` says
/// that no frame was ever appended to it.
///
/// Logs of format 1 have no `format` key. From format 2 on it is in the first commit that the state holds.
///
/// # Errors
/// Fatal, when the log was written in another format, or cannot be read.
pub fn check_format(state: &impl State, is_empty: bool) -> Result<(), Failure> {
    let found = match get::<LogFormat>(state, FORMAT.key())? {
        Some(LogFormat(found)) => found,
        None if is_empty && state.under(b"").map_err(|error| unreadable(&FORMAT, error))?.is_empty() => return Ok(()),
        None => 1,
    };
    if found == LOG_FORMAT {
        return Ok(());
    }
    let failure = Failure::fatal(format!(
        "the log was written in format {found}, this version reads and writes format {LOG_FORMAT}"
    ));
    Err(failure.hint(if found < LOG_FORMAT {
        "use the version that wrote it; or, to copy everything again, set a new `wal.path` and give every sink a new target"
    } else {
        "use the version that wrote it, or a newer one"
    }))
}

fn unreadable(entry: &Entry, error: wal::Error) -> Failure {
    Failure::fatal(format!("cannot read {} from the log", entry.what)).caused_by(error)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
