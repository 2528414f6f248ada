//! Notes of a sink: small values that it keeps in the log, because its target cannot hold them, such as how far each stream of a target is.
//!
//! A note is durable when [`Notes::write`] returns. It goes with the sink's cursor: where that is dropped, its notes are dropped as well.

use serde::{Deserialize, Serialize};
use wal::Wal;

use crate::codec::stored::{Entry, Record, SINK_NOTE, encode, get};
use crate::error::Failure;

/// Bytes that a note may have.
const MAX_BYTES: usize = 1 << 16;

/// The place of a sink's notes.
#[derive(Clone, Debug)]
pub struct Notes {
    wal: Wal,
    sink: String,
}

/// The value of a note, whose meaning is the sink's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note(pub Vec<u8>);

impl Record for Note {
    const ENTRY: &'static Entry = &SINK_NOTE;
}

impl Notes {
    /// Those of a sink in its log.
    pub fn new(wal: Wal, sink: String) -> Self {
        Self { wal, sink }
    }

    /// The value of a note, if there is one.
    ///
    /// # Errors
    /// Fatal, when the log cannot be read or the note is damaged.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let note = get(&self.wal.reader(), &self.key(name))?;
        Ok(note.map(|Note(value)| value))
    }

    /// Writes notes, all or none; `None` removes one. They are durable when this returns.
    ///
    /// # Errors
    /// Fatal, when the log cannot be written, or a note is larger than 64 KiB.
    pub async fn write(&self, notes: &[(&str, Option<&[u8]>)]) -> Result<(), Failure> {
        let mut state = Vec::with_capacity(notes.len());
        for (name, value) in notes {
            let value = value.map(|value| self.checked(name, value)).transpose()?;
            state.push((self.key(name), value));
        }
        let written = self.wal.put_state(state).await;
        written.map_err(|error| Failure::fatal(format!("cannot write a note of sink '{}'", self.sink)).caused_by(error))
    }

    fn checked(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, Failure> {
        if value.len() > MAX_BYTES {
            let (sink, bytes) = (&self.sink, value.len());
            return Err(Failure::fatal(format!(
                "the note \"{name}\" of sink '{sink}' has {bytes} bytes, a note has at most {MAX_BYTES}"
            )));
        }
        encode(&Note(value.to_vec()))
    }

    fn key(&self, name: &str) -> Vec<u8> {
        [&SINK_NOTE.of_sink_tables(&self.sink), name.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use wal::{Options, Wal};

    use super::*;
    use crate::codec::stored::fixture;

    #[test]
    fn a_note_is_stored_as_committed() {
        fixture::check(&[("empty", Note(Vec::new())), ("offset", Note(b"\x00\xff42".to_vec()))]);
    }

    #[tokio::test]
    async fn a_note_is_durable_when_it_is_written_and_is_its_sinks_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let (ours, other) = (Notes::new(wal.clone(), "a".into()), Notes::new(wal.clone(), "ab".into()));
        ours.write(&[("offset", Some(b"7".as_slice())), ("bc", Some(b"".as_slice()))]).await.unwrap();
        other.write(&[("c", Some(b"x".as_slice()))]).await.unwrap();
        ours.write(&[("bc", None)]).await.unwrap();
        drop((wal, appender, ours, other));

        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let (ours, other) = (Notes::new(wal.clone(), "a".into()), Notes::new(wal, "ab".into()));
        assert_eq!(ours.get("offset").unwrap().unwrap(), b"7");
        assert_eq!((ours.get("bc").unwrap(), ours.get("c").unwrap(), other.get("offset").unwrap()), (None, None, None));
        assert_eq!(other.get("c").unwrap().unwrap(), b"x");
    }

    #[tokio::test]
    async fn a_note_that_is_not_small_is_refused_and_nothing_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let (wal, _appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
        let notes = Notes::new(wal, "a".into());
        let large = vec![0; MAX_BYTES + 1];
        let failure = notes.write(&[("small", Some(b"1".as_slice())), ("large", Some(&large))]).await.unwrap_err();
        assert_eq!(failure.message, "the note \"large\" of sink 'a' has 65537 bytes, a note has at most 65536");
        assert_eq!(notes.get("small").unwrap(), None);
        notes.write(&[("large", Some(&large[1..]))]).await.unwrap();
    }
}
