//! What damage on disk looks like to readers, to `open` and to `verify`: named, with its place, never a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::path::Path;

use redb::{Database, ReadableTable, TableDefinition};
use wal::record::{Damage, DamageKind};
use wal::{Error, Finding, GroupEnd, Lsn, Options, Reader, Wal};

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
const LOG: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("log");
const CURSORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cursors");

/// Three blocks: LSN 1 to 3, 4 to 6, 7 to 9, and a cursor at 5.
async fn make(directory: &Path) {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    for _ in 0..3 {
        for _ in 0..3 {
            appender.append(&[b"twelve bytes"], GroupEnd::Ends).unwrap();
        }
        appender.flush_durable().await.unwrap();
    }
    wal.create_cursor("first", Lsn::ZERO).await.unwrap();
    wal.create_cursor("c", Lsn::new(5)).await.unwrap();
    wal.shutdown().await.unwrap();
}

/// Changes the block at `key`, or removes it.
fn change(directory: &Path, key: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let database = Database::open(directory.join("log.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut blocks = transaction.open_table(BLOCKS).unwrap();
        let mut bytes = blocks.get(key).unwrap().unwrap().value().to_vec();
        change(&mut bytes);
        blocks.remove(key).unwrap();
        if !bytes.is_empty() {
            blocks.insert(key, bytes.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn findings(directory: &Path) -> Vec<Finding> {
    let reader = Reader::open_read_only(directory).unwrap();
    reader.verify().unwrap().findings
}

fn read_all(directory: &Path) -> Result<usize, Error> {
    let reader = Reader::open_read_only(directory).unwrap();
    reader.read(Lsn::ZERO, usize::MAX).map(|blocks| blocks.len())
}

#[tokio::test]
async fn a_sound_log_is_found_sound_and_counted_whole() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let report = Reader::open_read_only(directory.path()).unwrap().verify().unwrap();
    assert_eq!(report.findings, []);
    let counted = (report.blocks, report.frames, report.groups, report.bytes, report.unfinished_blocks);
    assert_eq!(counted, (3, 9, 9, 9 * 17, 0));
}

#[tokio::test]
async fn a_log_that_is_open_verifies_as_sound_and_refuses_to_be_opened_for_reading() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    appender.append(&[b"open"], GroupEnd::More).unwrap();
    appender.flush_durable().await.unwrap();
    let report = wal.reader().verify().unwrap();
    assert_eq!((report.findings, report.frames, report.unfinished_blocks), (vec![], 9, 1));
    let refused = Reader::open_read_only(directory.path()).unwrap_err();
    assert!(matches!(refused, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
}

#[tokio::test]
async fn any_flipped_byte_of_a_block_is_noticed_by_readers_and_by_verify() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let mut length = 0;
    change(directory.path(), 4, |bytes| length = bytes.len());
    assert_eq!(length, 40 + 3 * 17 + 4);
    for at in 0..length {
        change(directory.path(), 4, |bytes| bytes[at] ^= 0x40);
        let error = read_all(directory.path()).unwrap_err();
        let Error::Damaged { block, source } = error else { panic!("byte {at}: {error}") };
        assert_eq!(block, Lsn::new(4));
        assert_eq!(findings(directory.path()), [Finding::Damaged { block, damage: source }], "byte {at}");
        change(directory.path(), 4, |bytes| bytes[at] ^= 0x40);
    }
    assert_eq!(read_all(directory.path()).unwrap(), 3);
}

#[tokio::test]
async fn a_block_cut_at_any_length_is_noticed_with_its_offset() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let mut whole = Vec::new();
    change(directory.path(), 4, |bytes| whole.clone_from(bytes));
    for length in 1..whole.len() {
        change(directory.path(), 4, |bytes| {
            bytes.clear();
            bytes.extend_from_slice(&whole[..length]);
        });
        let error = read_all(directory.path()).unwrap_err();
        let Error::Damaged { block, source } = error else { panic!("{length}: {error}") };
        assert_eq!(block, Lsn::new(4));
        let expected = if length < 40 { DamageKind::CutShort } else { DamageKind::Length(51) };
        assert_eq!(source.kind, expected, "cut to {length}");
        assert!(source.offset <= length);
    }
}

#[tokio::test]
async fn a_block_of_a_later_version_is_refused_by_number() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    change(directory.path(), 4, |bytes| bytes[4] = 3);
    let damage = Damage { offset: 4, kind: DamageKind::Version(3) };
    assert_eq!(findings(directory.path()), [Finding::Damaged { block: Lsn::new(4), damage }]);
    assert_eq!(damage.to_string(), "the block has unknown version 3 at offset 4");
}

#[tokio::test]
async fn a_missing_block_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    change(directory.path(), 4, Vec::clear);
    assert!(matches!(read_all(directory.path()), Err(Error::Missing(lsn)) if lsn == Lsn::new(4)));
    let found = findings(directory.path());
    assert!(found.contains(&Finding::Gap { expected: Lsn::new(4), found: Lsn::new(7) }), "{found:?}");
}

#[tokio::test]
async fn a_missing_last_block_is_a_gap_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    change(directory.path(), 7, Vec::clear);
    assert!(matches!(read_all(directory.path()), Err(Error::Missing(lsn)) if lsn == Lsn::new(7)));
    let found = findings(directory.path());
    assert!(found.contains(&Finding::Gap { expected: Lsn::new(10), found: Lsn::new(7) }), "{found:?}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_reported_not_only_the_first() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    change(directory.path(), 1, |bytes| bytes[50] ^= 1);
    change(directory.path(), 7, |bytes| bytes[60] ^= 1);
    let found = findings(directory.path());
    let damaged: Vec<_> = found
        .iter()
        .filter_map(|finding| match finding {
            Finding::Damaged { block, .. } => Some(block.raw()),
            _ => None,
        })
        .collect();
    assert_eq!(damaged, [1, 7]);
}

#[tokio::test]
async fn a_cursor_that_stands_beyond_the_log_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let database = Database::open(directory.path().join("log.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut cursors = transaction.open_table(CURSORS).unwrap();
        // lsn 200, bytes 85, groups 5, not detached, empty token
        cursors.insert("c", [200, 85, 5, 0, 0].as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(findings(directory.path()), [Finding::Cursor { name: "c".to_owned(), lsn: Lsn::new(200) }]);
}

fn put_record(directory: &Path, key: &str, value: &[u8]) {
    let database = Database::open(directory.join("log.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(LOG).unwrap().insert(key, value).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_damaged_tail_or_identity_is_named_and_the_log_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let open = || Wal::open(directory.path(), Options::new(64 << 20)).unwrap_err();
    put_record(directory.path(), "tail", b"\xff");
    assert!(matches!(open(), Error::DamagedRecord { table: "log", key, .. } if key == "tail"));
    put_record(directory.path(), "identity", b"REPLWAL\0\x02\0\0\0................");
    assert!(matches!(open(), Error::UnknownFormat { found: 2, supported: 1 }));
    put_record(directory.path(), "identity", b"something else");
    assert!(matches!(open(), Error::NotALog(_)));
}

#[test]
fn a_file_that_is_no_log_is_refused_and_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.redb");
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    let error = Wal::open(directory.path(), Options::new(64 << 20)).unwrap_err();
    assert!(matches!(error, Error::Storage { action: "open the log file", .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 10_000]);

    std::fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Wal::open(directory.path(), Options::new(64 << 20)).unwrap_err();
    assert!(matches!(error, Error::NotALog(_)), "{error}");
    assert!(matches!(Reader::open_read_only(directory.path()), Err(Error::NotALog(_))));
}

#[tokio::test]
async fn a_file_cut_in_half_is_an_error_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let path = directory.path().join("log.redb");
    let whole = std::fs::read(&path).unwrap();
    for part in 0..8 {
        std::fs::write(&path, &whole[..whole.len() * part / 8]).unwrap();
        let opened = Reader::open_read_only(directory.path());
        assert!(opened.is_err(), "{part}/8: {opened:?}");
    }
}

#[tokio::test]
async fn opening_for_reading_changes_nothing_even_after_an_unclean_stop() {
    let directory = tempfile::tempdir().unwrap();
    make(directory.path()).await;
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    appender.append(&[b"last"], GroupEnd::Ends).unwrap();
    appender.append(&[b"open"], GroupEnd::More).unwrap();
    appender.flush_durable().await.unwrap();
    // What a kill leaves: the file as it is while the log is open.
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("log.redb");
    std::fs::copy(directory.path().join("log.redb"), &path).unwrap();
    drop((wal, appender));
    let before = std::fs::read(&path).unwrap();

    let reader = Reader::open_read_only(&path).unwrap();
    let blocks = reader.read(Lsn::new(9), usize::MAX).unwrap();
    let payloads: Vec<_> = blocks.iter().flat_map(|block| block.frames()).map(|frame| frame.unwrap().payload).collect();
    assert_eq!(payloads, [b"last"]);
    assert_eq!(reader.verify().unwrap().findings, []);
    assert_eq!(reader.stats().unwrap().durable_lsn, Lsn::new(10));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
