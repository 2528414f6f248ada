//! What a log does at its limits: full, too small, under steady load.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::path::Path;

use wal::{Appender, Error, GroupEnd, Lsn, Options, Wal};

const MIB: u64 = 1 << 20;

fn open(directory: &Path, max_size: u64) -> (Wal, Appender) {
    Wal::open(directory, Options::new(max_size)).unwrap()
}

/// A million bytes, in one frame.
fn megabyte(number: u64) -> Vec<u8> {
    let mut payload = vec![0x5A; 1_000_000];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

#[tokio::test]
async fn a_full_log_makes_the_appender_wait_and_goes_on_when_it_is_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    wal.create_cursor("slow", Lsn::ZERO).await.unwrap();
    let mut positions = wal.positions();
    let appending = tokio::spawn(async move {
        for number in 1..=40 {
            appender.append(&[&megabyte(number)], GroupEnd::Ends).unwrap();
            appender.put_state(b"position", Some(&number.to_le_bytes()));
            appender.flush().await.unwrap();
        }
        appender.flush_durable().await.unwrap();
        appender
    });
    positions.wait_for(|positions| positions.full).await.unwrap();
    let stats = wal.stats().unwrap();
    assert!(stats.full);
    assert!(stats.live_bytes <= stats.capacity_bytes && stats.capacity_bytes < 16 * MIB);
    assert!(!appending.is_finished());
    // A full log still takes everything but frames.
    wal.put_state(vec![(b"while".to_vec(), Some(b"full".to_vec()))]).await.unwrap();

    let reader = wal.reader();
    let mut seen = 0;
    while seen < 40 {
        let at = Lsn::new(seen);
        positions.wait_for(|positions| positions.durable > at).await.unwrap();
        // What is visible and the position of the source are always of one commit.
        let position = reader.state(b"position").unwrap().unwrap();
        for block in reader.read(at, 1).unwrap() {
            for frame in block.frames() {
                let frame = frame.unwrap();
                seen += 1;
                assert_eq!(frame.lsn.raw(), seen);
                assert_eq!(frame.payload, megabyte(seen));
            }
        }
        assert!(u64::from_le_bytes(position.try_into().unwrap()) >= at.raw());
        wal.ack("slow", Lsn::new(seen), b"", Vec::new()).await.unwrap();
    }
    let appender = appending.await.unwrap();
    assert_eq!(appender.next_lsn(), Lsn::new(41));
    positions.wait_for(|positions| !positions.full).await.unwrap();
    assert!(wal.stats().unwrap().disk_bytes <= 16 * MIB);
}

#[tokio::test]
async fn detaching_the_slow_cursor_of_a_full_log_lets_it_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    wal.create_cursor("slow", Lsn::ZERO).await.unwrap();
    let mut positions = wal.positions();
    let appending = tokio::spawn(async move {
        for number in 1..=30 {
            appender.append(&[&megabyte(number)], GroupEnd::Ends).unwrap();
            appender.flush().await.unwrap();
        }
        appender.flush_durable().await.unwrap();
    });
    positions.wait_for(|positions| positions.full).await.unwrap();
    wal.detach_cursor("slow").await.unwrap();
    appending.await.unwrap();
    let cursor = wal.cursors().remove(0);
    assert_eq!((cursor.lsn, cursor.detached, cursor.backlog_groups), (Lsn::ZERO, true, 30));
    positions.wait_for(|positions| positions.first == Lsn::new(31)).await.unwrap();
    assert_eq!(wal.stats().unwrap().live_bytes, 0);
}

#[tokio::test]
async fn a_group_that_can_never_fit_is_refused_by_name_and_can_be_abandoned() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    appender.append(&[b"before"], GroupEnd::Ends).unwrap();
    let mut refused = None;
    for number in 1..=16 {
        appender.append(&[&megabyte(number)], GroupEnd::More).unwrap();
        if let Err(error) = appender.flush().await {
            refused = Some(error);
            break;
        }
    }
    let error = refused.expect("the group outgrows the log");
    assert_eq!(
        error.to_string(),
        "one transaction takes 7340032 bytes, more than the 6291456 that wal.max_size of 16777216 leaves room for"
    );
    appender.abort_group().await.unwrap();
    assert_eq!(appender.next_lsn(), Lsn::new(2));
    appender.append(&[b"after"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    let blocks = wal.reader().read(Lsn::ZERO, usize::MAX).unwrap();
    let payloads: Vec<_> = blocks.iter().flat_map(wal::Block::frames).map(|frame| frame.unwrap().payload).collect();
    assert_eq!(payloads, [&b"before"[..], b"after"]);
    assert!(wal.stats().unwrap().live_bytes < 4096);
}

#[tokio::test]
async fn an_abandoned_group_that_a_full_log_held_back_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    wal.create_cursor("slow", Lsn::ZERO).await.unwrap();
    let mut number = 0;
    while !wal.stats().unwrap().full {
        number += 1;
        let end = if wal.stats().unwrap().live_bytes < 10 * MIB { GroupEnd::Ends } else { GroupEnd::More };
        appender.append(&[&megabyte(number)], end).unwrap();
        appender.put_settled(b"settled", Some(&number.to_le_bytes()));
        appender.flush().await.unwrap();
        wal.put_state(Vec::new()).await.unwrap();
    }
    appender.abort_group().await.unwrap();
    wal.put_state(Vec::new()).await.unwrap();
    let stats = wal.stats().unwrap();
    assert!(!stats.full, "{stats:?}");
    assert_eq!(appender.next_lsn(), stats.durable_lsn.next());
    // What belongs to the groups before it was held back with it, and is kept.
    assert_eq!(wal.reader().state(b"settled").unwrap().unwrap(), number.to_le_bytes());
    assert_eq!(wal.reader().verify().unwrap().unfinished_blocks, 0);
}

#[tokio::test]
async fn a_frame_of_more_than_a_gibibyte_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_wal, mut appender) = open(directory.path(), 64 * MIB);
    let part = vec![0; 1 << 20];
    let parts = vec![part.as_slice(); 1025];
    let error = appender.append(&parts, GroupEnd::Ends).unwrap_err();
    assert!(matches!(error, Error::FrameTooLarge { bytes, most } if bytes == 1025 << 20 && most == 1 << 30));
    assert_eq!(appender.next_lsn(), Lsn::FIRST);
}

#[tokio::test]
async fn under_steady_load_the_file_stops_growing_and_stays_within_max_size() {
    const MAX_SIZE: u64 = 64 * MIB;
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), MAX_SIZE);
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    let reader = wal.reader();
    let mut at = Lsn::ZERO;
    let mut most_in_round = Vec::new();
    // Each round lets the log fill to half of its limit and then lets it drain.
    for round in 0..6 {
        let mut most = 0;
        for number in 0..100_usize {
            let size = [500, 3_000, 90_000, 260_000][(number + round) % 4];
            let payload = vec![7; size];
            for _ in 0..520_000 / size {
                appender.append(&[&payload], GroupEnd::Ends).unwrap();
            }
            appender.flush_durable().await.unwrap();
            most = most.max(wal.stats().unwrap().disk_bytes);
            let keep = if number < 75 { 32 * MIB } else { 4 * MIB };
            while wal.stats().unwrap().live_bytes > keep {
                at = reader.read(at, 1 << 20).unwrap().last().unwrap().last_lsn();
                wal.ack("c", at, b"", Vec::new()).await.unwrap();
            }
        }
        most_in_round.push(most);
    }
    assert!(most_in_round.iter().all(|most| *most <= MAX_SIZE), "{most_in_round:?}");
    let (early, late) = most_in_round.split_at(3);
    let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(*late <= early + 2 * MIB, "still growing: {most_in_round:?}");
    assert!(*early > 30 * MIB, "the log was filled: {most_in_round:?}");
}
