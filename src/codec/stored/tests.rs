//! Keys, versions, and logs of other formats.

use std::collections::BTreeMap;

use wal::{GroupEnd, Lsn, Options, Reader, Wal};

use super::*;
use crate::model::ServerIdentity;

#[test]
fn a_tables_key_contains_its_name() {
    let table = TableName::new("sh.op", "or/ders");
    assert_eq!(table_of_key(TABLE.key(), &TABLE.of_table(&table)), Some(table.clone()));
    assert_eq!(table_of_key(&SINK_ROWS.of_sink_tables("s"), &SINK_ROWS.of_sink_table("s", &table)), Some(table));
    assert_eq!(table_of_key(TABLE.key(), b"count/a\0b"), None);
}

#[test]
fn a_record_of_another_version_and_bytes_after_a_record_are_refused() {
    let bytes = encode(&LogFormat(LOG_FORMAT)).unwrap();
    assert_eq!(decode::<LogFormat>(&bytes).unwrap(), LogFormat(LOG_FORMAT));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode::<LogFormat>(&longer).unwrap_err().message.contains("damaged"));
    let newer = [&[9], bytes.get(1..).unwrap()].concat();
    assert!(decode::<LogFormat>(&newer).unwrap_err().message.contains("version 9, this program reads 1"));
    for cut in 0..bytes.len() {
        assert!(decode::<LogFormat>(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn no_entrys_keys_begin_with_those_of_another() {
    for one in ALL {
        for other in ALL.iter().filter(|other| **other != *one) {
            assert!(!other.prefix.starts_with(one.prefix), "{} and {}", one.prefix, other.prefix);
        }
    }
}

/// A state that a test puts together.
#[derive(Default)]
struct Entries(BTreeMap<Vec<u8>, Vec<u8>>);

impl Entries {
    fn with(mut self, key: &[u8], value: Vec<u8>) -> Self {
        self.0.insert(key.to_vec(), value);
        self
    }
}

impl State for Entries {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, wal::Error> {
        Ok(self.0.get(key).cloned())
    }

    fn under(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, wal::Error> {
        let under = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(under.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

fn of_format(format: u32) -> Entries {
    Entries::default().with(FORMAT.key(), encode(&LogFormat(format)).unwrap())
}

#[test]
fn a_new_log_and_a_log_of_this_format_are_read() {
    check_format(&Entries::default(), true).unwrap();
    for is_empty in [true, false] {
        check_format(&of_format(LOG_FORMAT), is_empty).unwrap();
    }
}

#[test]
fn a_log_of_another_format_is_refused_by_name_with_what_to_do() {
    let position = || Entries::default().with(SOURCE_POSITION.key(), vec![0, 1, 2]);
    let cursor = Entries::default().with(b"start/local", vec![0]);
    for (state, is_empty, format, hint) in [
        (Entries::default(), false, 1, "set a new `wal.path` and give every sink a new target"),
        (position(), true, 1, "set a new `wal.path`"),
        (position(), false, 1, "set a new `wal.path`"),
        (cursor, true, 1, "set a new `wal.path`"),
        (of_format(3), false, 3, "use the version that wrote it, or a newer one"),
        (of_format(3), true, 3, "or a newer one"),
    ] {
        let failure = check_format(&state, is_empty).unwrap_err();
        let says = format!("the log was written in format {format}, this version reads and writes format 2");
        assert_eq!(failure.message, says);
        assert!(failure.hint.as_ref().unwrap().contains(hint), "{failure:?}");
    }
}

#[test]
fn a_format_record_of_a_later_version_is_refused() {
    let state = Entries::default().with(FORMAT.key(), vec![9, 2]);
    let failure = check_format(&state, false).unwrap_err();
    assert_eq!(failure.message, "the log's format in the log has version 9, this program reads 1");
}

/// What [`check_format`] says of the log in a directory.
fn of_log(directory: &std::path::Path) -> Result<(), Failure> {
    let reader = Reader::open_read_only(directory).unwrap();
    check_format(&reader, reader.positions().durable == Lsn::ZERO)
}

#[tokio::test]
async fn a_log_with_frames_and_no_format_is_of_format_1() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    check_format(&wal.reader(), true).unwrap();
    appender.append(&[b"a frame of format 1"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.shutdown().await.unwrap();
    assert!(of_log(directory.path()).unwrap_err().message.contains("written in format 1"));
}

/// The log crate's own fixture was written by a version whose log format was 1.
#[test]
fn a_log_that_an_earlier_version_wrote_is_of_format_1() {
    let directory = tempfile::tempdir().unwrap();
    let compressed = concat!(env!("CARGO_MANIFEST_DIR"), "/wal/tests/fixtures/v1.redb.gz");
    let mut log = flate2::read::GzDecoder::new(std::fs::File::open(compressed).unwrap());
    let mut file = std::fs::File::create(directory.path().join("log.redb")).unwrap();
    std::io::copy(&mut log, &mut file).unwrap();
    drop(file);
    assert!(of_log(directory.path()).unwrap_err().message.contains("written in format 1"));
}

fn positions() -> Vec<(&'static str, StoredPosition)> {
    let at = |server, file: &str, gtid: &str| {
        let file_created = 1_795_251_600;
        StoredPosition::MySql(SourcePosition { server, file: file.into(), pos: 1234, file_created, gtid: gtid.into() })
    };
    let server_uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562".to_owned();
    let gtids = format!("{server_uuid}:1-5:7-9,{server_uuid}:nightly:1-2");
    vec![
        ("mysql", at(ServerIdentity::MySql { server_uuid }, "binlog.000003", &gtids)),
        (
            "mariadb",
            at(ServerIdentity::MariaDb { server_id: 70_000, domain_id: 3 }, "mysql-bin.000300", "0-1-4,3-2-99"),
        ),
    ]
}

#[test]
fn the_format_of_a_log_is_stored_as_committed() {
    fixture::check(&[("2", LogFormat(2))]);
}

#[test]
fn a_source_position_is_stored_as_committed() {
    fixture::check(&positions());
}

#[test]
fn the_rule_for_names_is_stored_as_committed() {
    fixture::check(&[("exact", Names::Exact), ("folded", Names::Folded)]);
}

#[test]
fn the_last_lsn_before_a_position_is_stored_as_committed() {
    fixture::check(&[("small", SourceLsn(Lsn::new(7))), ("large", SourceLsn(Lsn::new(1 << 40)))]);
}

/// Bytes that read as a log's format 2, as if they were of an earlier version.
fn of_an_earlier_version(name: &str) -> Vec<(String, Vec<u8>)> {
    vec![(name.to_owned(), encode(&LogFormat(2)).unwrap())]
}

#[test]
fn an_earlier_version_that_reads_as_its_example_is_good() {
    fixture::earlier(1, &of_an_earlier_version("two"), &[("one", LogFormat(1)), ("two", LogFormat(2))]);
}

#[test]
#[should_panic(expected = "version 1 of the log's format, two: it reads as something else")]
fn an_earlier_version_that_reads_as_another_value_is_found() {
    fixture::earlier(1, &of_an_earlier_version("two"), &[("two", LogFormat(3))]);
}

#[test]
#[should_panic(expected = "version 1 of the log's format, two: no example says what it reads as")]
fn an_earlier_version_whose_value_no_example_has_is_found() {
    fixture::earlier(1, &of_an_earlier_version("two"), &[("one", LogFormat(2))]);
}
