//! What a log does at its limits: full, too small, under steady load.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvError, SendError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;
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
async fn large_values_of_the_state_make_a_log_full_as_frames_do_also_after_a_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    wal.create_cursor("slow", Lsn::ZERO).await.unwrap();
    for number in 1..=7 {
        appender.append(&[&megabyte(number)], GroupEnd::Ends).unwrap();
        appender.flush_durable().await.unwrap();
    }
    // With the frames, less than the log takes.
    for number in 0..10_u8 {
        appender.put_settled(&[b'v', number], Some(&vec![number; 200_000]));
        assert!(appender.pending_bytes() >= 200_000);
        appender.flush_durable().await.unwrap();
    }
    wal.shutdown().await.unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    let mut positions = wal.positions();
    assert!(!positions.borrow().full);
    let appending = tokio::spawn(async move {
        for number in 10..30_u8 {
            appender.put_settled(&[b'v', number], Some(&vec![number; 200_000]));
            appender.flush().await.unwrap();
        }
        appender.flush_durable().await.unwrap();
    });
    positions.wait_for(|positions| positions.full).await.unwrap();
    assert!(!appending.is_finished());
    assert!(wal.reader().state_keys(b"v").unwrap().len() < 30);
    wal.ack("slow", Lsn::new(7), b"", Vec::new()).await.unwrap();
    appending.await.unwrap();
    positions.wait_for(|positions| !positions.full).await.unwrap();
    let keys = wal.reader().state_keys(b"v").unwrap();
    assert_eq!(keys, (0..30).map(|number| vec![b'v', number]).collect::<Vec<_>>());
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
async fn a_cursor_that_moves_gives_up_what_it_has_not_read_in_one_commit_with_its_state() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), 16 * MIB);
    for name in ["moved", "detached"] {
        wal.create_cursor(name, Lsn::ZERO).await.unwrap();
    }
    for number in 1..=3 {
        appender.append(&[&megabyte(number)], GroupEnd::Ends).unwrap();
    }
    appender.flush_durable().await.unwrap();
    wal.ack_lazily("moved", Lsn::new(1), b"token", Vec::new()).unwrap();
    wal.detach_cursor("detached").await.unwrap();
    for name in ["moved", "detached"] {
        wal.move_cursor(name, Lsn::new(3), vec![(name.into(), Some(b"state".to_vec()))]).await.unwrap();
        assert_eq!(wal.reader().state(name.as_bytes()).unwrap(), Some(b"state".to_vec()));
    }
    for cursor in wal.cursors() {
        assert_eq!(
            (cursor.lsn, cursor.detached, cursor.backlog_groups, cursor.token.len()),
            (Lsn::new(3), false, 0, 0)
        );
    }
    let refused = wal.move_cursor("moved", Lsn::new(4), vec![(b"none".to_vec(), Some(Vec::new()))]).await;
    assert!(matches!(refused, Err(Error::BeyondDurable { .. })), "{refused:?}");
    assert_eq!(wal.reader().state(b"none").unwrap(), None);
    assert!(matches!(wal.move_cursor("none", Lsn::new(3), Vec::new()).await, Err(Error::NoSuchCursor(_))));
    let (state, end) = wal.reader().state_prefix_and_end(b"").unwrap();
    assert_eq!((state.len(), end), (2, Lsn::new(3)));
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
        "one transaction takes 6292176 bytes, more than the 6291456 that wal.max_size of 16777216 leaves room for"
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

/// Storage that reports the start of a commit's sync, and holds the sync until the test releases it, once `gates` is set.
#[derive(Debug)]
struct SlowDisk {
    memory: InMemoryBackend,
    /// The next sync is that of a file that was made longer, which comes in the middle of a transaction.
    longer: AtomicBool,
    gates: Arc<Mutex<Option<(Sender<()>, Receiver<()>)>>>,
}

impl StorageBackend for SlowDisk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.longer.store(len > self.memory.len()?, Ordering::SeqCst);
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let of_a_commit = !self.longer.swap(false, Ordering::SeqCst);
        if of_a_commit && let Some((begins, ends)) = &*self.gates.lock().unwrap() {
            // A test that is gone hears nothing, and waits for nothing.
            match begins.send(()).map(|()| ends.recv()) {
                Ok(Ok(()) | Err(RecvError)) | Err(SendError(())) => {}
            }
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }
}

#[tokio::test]
async fn the_queue_has_room_again_while_a_commit_syncs() {
    let gates = Arc::default();
    let disk = SlowDisk { memory: InMemoryBackend::new(), longer: AtomicBool::new(false), gates: Arc::clone(&gates) };
    let (wal, mut appender) = Wal::open_with_backend(disk, Options::new(64 * MIB)).unwrap();
    let (begins, begun) = channel();
    let (end, ends) = channel();
    *gates.lock().unwrap() = Some((begins, ends));

    // As much as the queue takes.
    let fill = |appender: &mut Appender| {
        for number in 0..4 {
            appender.append(&[&megabyte(number)], GroupEnd::Ends).unwrap();
        }
    };
    fill(&mut appender);
    appender.flush().await.unwrap();
    begun.recv().unwrap();
    fill(&mut appender);
    tokio::time::timeout(Duration::ZERO, appender.flush()).await.expect("there is room at once").unwrap();
    assert_eq!(wal.positions().borrow().durable, Lsn::ZERO, "the first batch still syncs");

    drop(end);
    appender.flush_durable().await.unwrap();
    assert_eq!(wal.positions().borrow().durable, Lsn::new(8));
}

/// Reads a step and acknowledges it.
async fn drain_a_step(wal: &Wal, at: &mut Lsn, bytes: usize) {
    *at = wal.reader().read(*at, bytes).unwrap().last().unwrap().last_lsn();
    wal.ack("c", *at, b"", Vec::new()).await.unwrap();
}

/// Lets the log fill to a level of its own in each round, followed closely or not at all, and then drain to a lower
/// one.
async fn holds_its_size(sizes: &[usize]) {
    const MAX_SIZE: u64 = 64 * MIB;
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(directory.path(), MAX_SIZE);
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    let mut at = Lsn::ZERO;
    let (mut held, mut through) = (0, 0);
    for round in 0..15 {
        let level = [4, 10, 6, 8, 5][round % 5] * MIB;
        let follows = round % 3;
        let left = level * [0, 1, 3][round % 3] / 4;
        for size in sizes.iter().copied().cycle() {
            let payload = vec![7; size];
            for _ in 0..=1_500_000 / size {
                appender.append(&[&payload], GroupEnd::Ends).unwrap();
                through += u64::try_from(size).unwrap();
            }
            appender.flush_durable().await.unwrap();
            let stats = wal.stats().unwrap();
            held = stats.live_bytes.max(held);
            let most = wal::most_on_disk(held).min(MAX_SIZE);
            assert!(stats.disk_bytes <= most, "round {round}: the log held {held}, {stats:?}");
            if stats.live_bytes > level {
                break;
            }
            // Less than comes in.
            for _ in 0..follows {
                if wal.stats().unwrap().live_bytes > MIB {
                    drain_a_step(&wal, &mut at, 512 << 10).await;
                }
            }
        }
        while wal.stats().unwrap().live_bytes > left {
            drain_a_step(&wal, &mut at, 2 << 20).await;
        }
    }
    let most = wal::most_on_disk(held);
    assert!(through > 3 * most, "{through} bytes went through: too little to make a file of {most} grow");
}

#[tokio::test]
async fn the_file_takes_at_most_twice_what_the_log_held_at_its_fullest() {
    holds_its_size(&[111_000, 500, 112_000]).await;
}

#[tokio::test]
async fn the_file_takes_at_most_twice_what_the_log_held_also_with_frames_of_all_sizes() {
    holds_its_size(&[700, 90_000, 3_000, 260_000]).await;
}
