//! Crashes: the log is opened again from what storage held at every sync, with and without a part of the writes that were not yet
//! synced. It must then hold every group up to some point, whole, with the state and the cursors of that point, and that point is
//! never before what was reported as durable. The same with storage that fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use redb::StorageBackend;
use wal::{Appender, Error, GroupEnd, Lsn, Options, Wal};

/// A small generator whose seed a failure prints.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What was promised when an image was taken.
#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    durable: u64,
    acked: u64,
}

#[derive(Debug, Default)]
struct Disk {
    current: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    images: Vec<(Vec<u8>, Promised)>,
    /// Record an image at every sync.
    record: bool,
    /// Operations until everything fails.
    budget: Option<u64>,
    operations: u64,
}

#[derive(Clone, Debug, Default)]
struct Storage {
    disk: Arc<Mutex<Disk>>,
    durable: Arc<AtomicU64>,
    acked: Arc<AtomicU64>,
}

impl Storage {
    fn holding(image: Vec<u8>) -> Self {
        let storage = Self::default();
        {
            let mut disk = storage.disk.lock().unwrap();
            disk.current.clone_from(&image);
            disk.synced = image;
        }
        storage
    }

    fn promised(&self) -> Promised {
        Promised { durable: self.durable.load(Ordering::SeqCst), acked: self.acked.load(Ordering::SeqCst) }
    }

    fn operate<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap();
        disk.operations += 1;
        if let Some(budget) = &mut disk.budget {
            match budget.checked_sub(1) {
                Some(left) => *budget = left,
                None => return Err(io::Error::other("the disk is gone")),
            }
        }
        work(&mut disk)
    }
}

fn place(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.operate(|disk| Ok(u64::try_from(disk.current.len()).unwrap()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.operate(|disk| {
            let offset = usize::try_from(offset).unwrap();
            let from = disk.current.get(offset..offset + out.len());
            out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(|disk| {
            let len = usize::try_from(len).unwrap();
            disk.current.resize(len, 0);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let promised = self.promised();
        self.operate(|disk| {
            if disk.record {
                // The crash comes right before this sync: nothing of what was written since the last one, or a part of it.
                let mut part = disk.synced.clone();
                let mut dice = Dice(0x9E37_79B9 + disk.operations);
                for (offset, data) in &disk.unsynced {
                    if dice.roll(2) == 0 {
                        place(&mut part, *offset, data);
                    }
                }
                disk.images.push((disk.synced.clone(), promised));
                disk.images.push((part, promised));
            }
            disk.synced.clone_from(&disk.current);
            disk.unsynced.clear();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(|disk| {
            let offset = usize::try_from(offset).unwrap();
            place(&mut disk.current, offset, data);
            disk.unsynced.push((offset, data.to_vec()));
            Ok(())
        })
    }
}

fn options() -> Options {
    Options { max_size: 64 << 20, cache_bytes: 256 * 1024 }
}

/// Frames of all groups that were ended, by LSN: payload, whether it ends its group.
type Frames = BTreeMap<u64, (Vec<u8>, bool)>;

/// Appends groups of all kinds, abandons some, acknowledges some. Stops at the first error.
async fn script(storage: &Storage, seed: u64, steps: u64, frames: &mut Frames) -> Result<(), Error> {
    let (wal, mut appender) = Wal::open_with_backend(storage.clone(), options())?;
    let outcome = steps_of(storage, seed, steps, frames, &wal, &mut appender).await;
    if let Err(error) = &outcome {
        // Whatever failed first, everything after it says so.
        for later in [wal.put_state(Vec::new()).await, appender.flush_durable().await, wal.shutdown().await] {
            assert!(matches!(later, Err(Error::Poisoned(_))), "after {error}: {later:?}");
        }
        assert!(wal.reader().read(Lsn::ZERO, 1).is_err());
    }
    outcome
}

async fn steps_of(
    storage: &Storage,
    seed: u64,
    steps: u64,
    frames: &mut Frames,
    wal: &Wal,
    appender: &mut Appender,
) -> Result<(), Error> {
    let mut dice = Dice(seed);
    wal.create_cursor("c", Lsn::ZERO).await?;
    let mut group = 0;
    for _ in 0..steps {
        let fragments = if dice.roll(3) == 0 { 1 + dice.roll(6) } else { 1 };
        let abandoned = dice.roll(5) == 0;
        for fragment in 1..=fragments {
            let size = if dice.roll(6) == 0 { 60_000 } else { dice.roll(500) };
            let mut payload = format!("group {group} fragment {fragment} ").into_bytes();
            payload.resize(payload.len() + usize::try_from(size).unwrap(), b'.');
            let ends = fragment == fragments && !abandoned;
            let lsn = appender.append(&[&payload], if ends { GroupEnd::Ends } else { GroupEnd::More })?;
            appender.put_state(b"end", Some(lsn.to_string().as_bytes()));
            frames.insert(lsn.raw(), (payload, ends));
            if dice.roll(4) == 0 {
                appender.flush().await?;
            }
        }
        if abandoned {
            let kept = appender.next_lsn();
            appender.abort_group().await?;
            assert!(appender.next_lsn() < kept);
            frames.retain(|lsn, _| *lsn < appender.next_lsn().raw());
            continue;
        }
        group += 1;
        if dice.roll(2) == 0 {
            appender.flush_durable().await?;
            let end = appender.next_lsn().prev();
            storage.durable.store(end.raw(), Ordering::SeqCst);
            let token = end.to_string().into_bytes();
            let state = vec![(b"applied".to_vec(), Some(token.clone()))];
            match dice.roll(4) {
                0 => {
                    wal.ack("c", end, &token, state).await?;
                    storage.acked.store(end.raw(), Ordering::SeqCst);
                }
                1 => wal.ack_lazily("c", end, &token, state)?,
                _ => {}
            }
        }
    }
    appender.flush_durable().await?;
    storage.durable.store(appender.next_lsn().prev().raw(), Ordering::SeqCst);
    wal.shutdown().await
}

/// Opens the image and checks that it is the log as of some moment that is not before what was promised.
async fn check(image: Vec<u8>, promised: Promised, frames: &Frames, what: &str) {
    let (wal, mut appender) = Wal::open_with_backend(Storage::holding(image), options())
        .unwrap_or_else(|error| panic!("{what}: {error}: {error:?}"));
    let reader = wal.reader();
    let positions = reader.positions();
    let end = positions.durable.raw();
    assert!(end >= promised.durable, "{what}: {positions:?} after {promised:?}");
    assert_eq!(appender.next_lsn(), positions.durable.next(), "{what}");

    let blocks = reader.read(positions.trimmed, usize::MAX).unwrap();
    let found: Frames = blocks
        .iter()
        .flat_map(wal::Block::frames)
        .map(|frame| {
            let frame = frame.unwrap();
            (frame.lsn.raw(), (frame.payload.to_vec(), frame.end_of_group))
        })
        .collect();
    let expected: Frames = frames
        .range(positions.first.raw()..)
        .take_while(|(lsn, _)| **lsn <= end)
        .map(|(lsn, frame)| (*lsn, frame.clone()))
        .collect();
    assert_eq!(found, expected, "{what}");
    assert!(end == 0 || frames[&end].1, "{what}: ends inside a group at {end}");

    let state = reader.state(b"end").unwrap();
    assert_eq!(state, (end > 0).then(|| end.to_string().into_bytes()), "{what}");
    match wal.cursors().as_slice() {
        [] => assert_eq!((end, promised.acked), (0, 0), "{what}"),
        [cursor] => {
            assert!(cursor.lsn.raw() >= promised.acked && cursor.lsn.raw() <= end, "{what}: {cursor:?}");
            let token = reader.state(b"applied").unwrap().unwrap_or_default();
            assert_eq!(cursor.token, token, "{what}");
            assert!(token.is_empty() || token == cursor.lsn.to_string().into_bytes(), "{what}");
        }
        more => panic!("{what}: {more:?}"),
    }
    let report = reader.verify().unwrap();
    assert_eq!((report.findings, report.unfinished_blocks), (vec![], 0), "{what}");

    // And it goes on.
    appender.append(&[b"after"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    assert_eq!(reader.positions().durable.raw(), end + 1, "{what}");
}

#[tokio::test]
async fn a_crash_at_any_sync_leaves_whole_groups_with_their_state() {
    for seed in [1, 2, 3] {
        let storage = Storage::default();
        // A log in a directory is created under another name and renamed, so its creation has no half.
        let (wal, appender) = Wal::open_with_backend(storage.clone(), options()).unwrap();
        wal.shutdown().await.unwrap();
        drop((wal, appender));
        storage.disk.lock().unwrap().record = true;
        let mut frames = Frames::new();
        let mut all = Frames::new();
        script(&storage, seed, 90, &mut frames).await.unwrap();
        all.append(&mut frames);
        let images = std::mem::take(&mut storage.disk.lock().unwrap().images);
        assert!(images.len() > 80, "{} images", images.len());
        let mut ends = 0;
        for (number, (image, promised)) in images.into_iter().enumerate() {
            ends = ends.max(promised.durable);
            check(image, promised, &all, &format!("seed {seed}, image {number}")).await;
        }
        assert!(ends > 20, "the images cover the script");
    }
}

#[tokio::test]
async fn storage_that_fails_puts_the_log_out_of_service_and_loses_nothing_that_was_durable() {
    let seed = 4;
    let whole = Storage::default();
    let mut frames = Frames::new();
    script(&whole, seed, 60, &mut frames).await.unwrap();
    let operations = whole.disk.lock().unwrap().operations;
    assert!(operations > 250, "{operations} operations");
    let mut failed = 0;
    for budget in (0..operations).step_by(5) {
        let storage = Storage::default();
        storage.disk.lock().unwrap().budget = Some(budget);
        let mut reached = Frames::new();
        let outcome = script(&storage, seed, 60, &mut reached).await;
        let what = format!("seed {seed}, fails after {budget} operations");
        if let Err(error) = outcome {
            failed += 1;
            let cause = match &error {
                Error::Poisoned(cause) => cause,
                other => other,
            };
            assert!(matches!(cause, Error::Storage { .. }), "{what}: {error}: {cause:?}");
        }
        let promised = storage.promised();
        let synced = storage.disk.lock().unwrap().synced.clone();
        check(synced, promised, &frames, &what).await;
    }
    assert!(failed > 30, "{failed} runs failed");
}
