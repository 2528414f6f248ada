//! What the file takes on disk when the log is filled and drained in rounds, with frames that fit into a block and with
//! larger ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use wal::{GroupEnd, Lsn, Options, Wal};

const MIB: u64 = 1 << 20;
const MAX_SIZE: u64 = 32 * MIB;

/// Reads a step and acknowledges it. Where there is nothing to read, what was acknowledged is being trimmed.
async fn drain_a_step(wal: &Wal, at: &mut Lsn) {
    *at = wal.reader().read(*at, 1 << 20).unwrap().last().map_or(*at, wal::Block::last_lsn);
    wal.ack("c", *at, b"", Vec::new()).await.unwrap();
}

/// Fills a log until it is full, with frames of one size in each round, and drains it to what the round leaves. The
/// most that the file took on disk, and that the log held.
async fn fill_and_drain(rounds: &[(usize, u64)]) -> (u64, u64) {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = Wal::open(directory.path(), Options::new(MAX_SIZE)).unwrap();
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    let mut at = Lsn::ZERO;
    let (mut took, mut held) = (0, 0);
    for (size, left) in rounds.iter().cycle().take(rounds.len() * 2) {
        let payload = vec![7; *size];
        loop {
            for _ in 0..=2_000_000 / size {
                appender.append(&[&payload], GroupEnd::Ends).unwrap();
            }
            appender.flush().await.unwrap();
            // Everything before it is in the log by then, or held back.
            wal.put_state(Vec::new()).await.unwrap();
            let stats = wal.stats().unwrap();
            (took, held) = (took.max(stats.disk_bytes), held.max(stats.live_bytes));
            if stats.full {
                break;
            }
        }
        while wal.stats().unwrap().full || wal.stats().unwrap().live_bytes > *left {
            drain_a_step(&wal, &mut at).await;
            let stats = wal.stats().unwrap();
            (took, held) = (took.max(stats.disk_bytes), held.max(stats.live_bytes));
        }
    }
    (took, held)
}

#[tokio::test]
async fn a_log_that_is_full_again_and_again_takes_no_more_than_max_size() {
    let (took, held) = fill_and_drain(&[(111_000, 4 * MIB), (60_000, 10 * MIB), (700, MIB), (111_000, 7 * MIB)]).await;
    assert!(took <= MAX_SIZE.min(wal::most_on_disk(held)), "it took {took} and held {held}");
}

#[tokio::test]
async fn frames_larger_than_a_block_take_no_more_than_max_size_either() {
    let rounds = [
        (4_300_000, 8 * MIB),
        (2_200_000, 4 * MIB),
        (750_000, 10 * MIB),
        (60_000, 4 * MIB),
        (350_000, 2 * MIB),
        (111_000, MIB),
        (7_500_000, 8 * MIB),
    ];
    let (took, held) = fill_and_drain(&rounds).await;
    assert!(took <= MAX_SIZE.min(wal::most_on_disk(held)), "it took {took} and held {held}");
}
