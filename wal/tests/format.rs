//! Logs of earlier formats, as they were written, still open and give what was put in.
//!
//! A fixture is a log file, compressed with gzip because redb's files are mostly empty. It is never written again: a new
//! format gets a new one, by `cargo run -p replicator-wal --example write_fixture -- v3.redb.gz`, which says what is in it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::fs::File;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use wal::record::BlockHeader;
use wal::{CursorInfo, GroupEnd, Lsn, Options, Reader, Wal};

/// The identity of the log in `v1.redb.gz`, which was made with redb 4.4.0.
const V1_ID: &str = "24a9121c9f8a1ed83c963328d2fcbb23";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[tokio::test]
async fn a_log_of_version_1_opens_and_gives_what_was_put_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = GzDecoder::new(File::open(fixture("v1.redb.gz")).unwrap());
    let mut to = File::create(directory.path().join("log.redb")).unwrap();
    std::io::copy(&mut log, &mut to).unwrap();

    let reader = Reader::open_read_only(directory.path()).unwrap();
    let report = reader.verify().unwrap();
    assert_eq!((report.findings, report.unfinished_blocks), (vec![], 1));
    drop(reader);

    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    assert_eq!(wal.id().to_string(), V1_ID);
    assert_eq!(appender.next_lsn(), Lsn::new(5));
    appender.append(&[b"new"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    let reader = wal.reader();
    let blocks = reader.read(Lsn::new(1), usize::MAX).unwrap();
    let frames: Vec<_> = blocks
        .iter()
        .flat_map(wal::Block::frames)
        .map(|frame| frame.unwrap())
        .map(|frame| (frame.lsn.raw(), frame.payload, frame.end_of_group))
        .collect();
    let expected: [(u64, &[u8], bool); 4] =
        [(2, b"two, ", false), (3, b"and more of it", true), (4, b"", true), (5, b"new", true)];
    assert_eq!(frames, expected);
    let state = reader.state_prefix(b"").unwrap();
    assert_eq!(state, [(b"position".to_vec(), b"after two".to_vec()), (b"sink".to_vec(), b"local".to_vec())]);
    let gone = CursorInfo {
        name: "gone".to_owned(),
        lsn: Lsn::ZERO,
        token: Vec::new(),
        backlog_bytes: 3 + 5 + 14 + 3 + 5 * 5,
        backlog_groups: 4,
        detached: true,
    };
    let local = CursorInfo {
        name: "local".to_owned(),
        lsn: Lsn::new(3),
        token: b"token".to_vec(),
        backlog_bytes: 3 + 2 * 5,
        backlog_groups: 2,
        detached: false,
    };
    assert_eq!(wal.cursors(), [gone, local]);
}

#[tokio::test]
async fn a_log_with_a_block_in_pieces_opens_and_gives_what_was_put_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = GzDecoder::new(File::open(fixture("v2.redb.gz")).unwrap());
    std::io::copy(&mut log, &mut File::create(directory.path().join("log.redb")).unwrap()).unwrap();

    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    assert_eq!(appender.next_lsn(), Lsn::new(6));
    appender.append(&[b"new"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    let blocks = wal.reader().read(Lsn::new(3), usize::MAX).unwrap();
    let frames: Vec<_> =
        blocks.iter().flat_map(wal::Block::frames).map(|frame| frame.unwrap().payload.to_vec()).collect();
    assert!(frames == [vec![], vec![7; 300_000], b"new".to_vec()]);
    wal.shutdown().await.unwrap();
    assert_eq!(Reader::open_read_only(directory.path()).unwrap().verify().unwrap().findings, []);
}

#[tokio::test]
async fn the_bytes_of_a_block_are_those_of_the_table_in_the_docs() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(64 << 20)).unwrap();
    appender.append(&[b"first"], GroupEnd::Ends).unwrap();
    appender.append(&[b"ab"], GroupEnd::More).unwrap();
    appender.append(&[b"c"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.shutdown().await.unwrap();
    let database = redb::Database::open(directory.path().join("log.redb")).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let table: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("blocks");
    let blocks = transaction.open_table(table).unwrap();
    let block = blocks.get(2).unwrap().unwrap().value().to_vec();

    let mut expected = Vec::new();
    expected.extend(*b"WBLK");
    expected.extend([1, 0, 0, 0]);
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([2, 0, 0, 0, 13, 0, 0, 0]);
    expected.extend([10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([2, 0, 0, 0, 0, b'a', b'b']);
    expected.extend([1, 0, 0, 0, 1, b'c']);
    let checksum = crc32fast::hash(&expected);
    expected.extend(checksum.to_le_bytes());
    assert_eq!(block, expected);
    let header = BlockHeader::decode(&block).unwrap();
    assert_eq!((header.first, header.last), (Lsn::new(2), Lsn::new(3)));
}
