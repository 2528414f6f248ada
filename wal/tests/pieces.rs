//! Frames that are larger than a block lie in pieces, and nothing of them is left when they go.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use wal::record::DamageKind;
use wal::{Error, Finding, GroupEnd, Lsn, Options, Reader, Wal};

const PIECES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("pieces");

/// A payload of this length that is its own.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 7 + length) % 251).unwrap()).collect()
}

/// Lengths around those of a block, of a piece and of several pieces.
const LENGTHS: [usize; 7] = [131_007, 131_008, 131_009, 262_055, 262_104, 262_105, 3_000_000];

async fn open(directory: &Path) -> (Wal, wal::Appender) {
    let (wal, appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    wal.create_cursor("sink", Lsn::ZERO).await.unwrap();
    (wal, appender)
}

fn pieces(directory: &Path) -> u64 {
    let database = Database::open(directory.join("log.redb")).unwrap();
    let transaction = database.begin_read().unwrap();
    transaction.open_table(PIECES).unwrap().len().unwrap()
}

#[tokio::test]
async fn frames_of_every_length_come_back_and_are_trimmed_without_a_rest() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path()).await;
    for length in LENGTHS {
        appender.append(&[&payload(length)], GroupEnd::Ends).unwrap();
        appender.flush_durable().await.unwrap();
    }
    let mut at = Lsn::ZERO;
    for length in LENGTHS {
        let blocks = wal.reader().read(at, 1).unwrap();
        let frame = blocks[0].frames().next().unwrap().unwrap();
        assert!(frame.payload == payload(length), "{length} bytes came back as another frame");
        at = frame.lsn;
    }
    let report = wal.reader().verify().unwrap();
    assert_eq!((report.findings, report.frames), (vec![], 7));
    wal.shutdown().await.unwrap();
    assert_eq!(Reader::open_read_only(directory.path()).unwrap().verify().unwrap().findings, []);
    assert!(pieces(directory.path()) > 30);

    // Cursors may stand on such a frame, and the log is trimmed behind them.
    let (wal, appender) = open(directory.path()).await;
    for lsn in 1..=7 {
        wal.ack("sink", Lsn::new(lsn), b"", Vec::new()).await.unwrap();
    }
    drop(appender);
    wal.shutdown().await.unwrap();
    let (wal, _appender) = open(directory.path()).await;
    wal.positions().wait_for(|positions| positions.first == Lsn::new(8)).await.unwrap();
    wal.shutdown().await.unwrap();
    assert_eq!(pieces(directory.path()), 0);
    let report = Reader::open_read_only(directory.path()).unwrap().verify().unwrap();
    assert_eq!((report.findings, report.blocks), (vec![], 0));
}

#[tokio::test]
async fn nothing_is_left_of_a_group_that_was_abandoned_or_never_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path()).await;
    appender.append(&[b"before"], GroupEnd::Ends).unwrap();
    appender.append(&[&payload(500_000)], GroupEnd::More).unwrap();
    appender.flush_durable().await.unwrap();
    appender.abort_group().await.unwrap();
    appender.append(&[&payload(400_000)], GroupEnd::More).unwrap();
    appender.flush_durable().await.unwrap();
    wal.shutdown().await.unwrap();
    assert_eq!(pieces(directory.path()), 4);

    let (wal, _appender) = open(directory.path()).await;
    wal.shutdown().await.unwrap();
    assert_eq!(pieces(directory.path()), 0);
    assert_eq!(Reader::open_read_only(directory.path()).unwrap().verify().unwrap().findings, []);
}

#[tokio::test]
async fn a_piece_that_is_missing_changed_or_too_many_is_named_with_its_block() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path()).await;
    appender.append(&[&payload(300_000)], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.shutdown().await.unwrap();
    let put = |number: u32, bytes: Option<&[u8]>| {
        let database = Database::open(directory.path().join("log.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut pieces = transaction.open_table(PIECES).unwrap();
            match bytes {
                Some(bytes) => drop(pieces.insert((1, number), bytes).unwrap()),
                None => drop(pieces.remove((1, number)).unwrap()),
            }
        }
        transaction.commit().unwrap();
    };
    let found = || {
        let reader = Reader::open_read_only(directory.path()).unwrap();
        let error = reader.read(Lsn::ZERO, usize::MAX).unwrap_err();
        let Error::Damaged { block, source } = error else { panic!("{error}") };
        assert_eq!(block, Lsn::new(1));
        let findings = reader.verify().unwrap().findings;
        assert!(findings.contains(&Finding::Damaged { block, damage: source }), "{findings:?}");
        (source.kind, findings.iter().any(|finding| matches!(finding, Finding::Pieces { .. })))
    };
    put(3, Some(b"more"));
    assert_eq!(found(), (DamageKind::CutShort, true));
    put(3, None);
    put(2, Some(&vec![0; 37_957]));
    assert!(matches!(found(), (DamageKind::CutShort | DamageKind::Checksum { .. }, false)));
    put(1, None);
    assert_eq!(found(), (DamageKind::CutShort, true));
}
