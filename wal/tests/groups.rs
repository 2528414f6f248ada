//! What readers see of groups, state and cursors, and when.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics with the place")]

use std::os::unix::fs::PermissionsExt;

use wal::{Appender, Error, GroupEnd, Lsn, Options, Reader, Wal};

fn options() -> Options {
    Options::new(64 << 20)
}

fn open(directory: &tempfile::TempDir) -> (Wal, Appender) {
    Wal::open(directory.path(), options()).unwrap()
}

/// All visible frames after `after`: LSN, payload, whether it ends its group.
fn frames(reader: &Reader, after: Lsn) -> Vec<(u64, Vec<u8>, bool)> {
    let blocks = reader.read(after, usize::MAX).unwrap();
    let frames = blocks.iter().flat_map(wal::Block::frames);
    frames
        .map(|frame| {
            let frame = frame.unwrap();
            (frame.lsn.raw(), frame.payload.to_vec(), frame.end_of_group)
        })
        .collect()
}

fn one(lsn: u64, payload: &[u8]) -> (u64, Vec<u8>, bool) {
    (lsn, payload.to_vec(), true)
}

fn part(lsn: u64, payload: &[u8]) -> (u64, Vec<u8>, bool) {
    (lsn, payload.to_vec(), false)
}

#[tokio::test]
async fn a_group_of_fragments_is_seen_only_when_its_end_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let reader = wal.reader();

    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.append(&[b"b", b"1"], GroupEnd::More).unwrap();
    appender.put_state(b"position", Some(b"in b"));
    appender.flush_durable().await.unwrap();
    assert_eq!(frames(&reader, Lsn::ZERO), [one(1, b"a")]);
    assert_eq!(reader.state(b"position").unwrap(), None);

    appender.append(&[b"b2"], GroupEnd::Ends).unwrap();
    appender.append(&[b"c"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    assert_eq!(frames(&reader, Lsn::ZERO), [one(1, b"a"), part(2, b"b1"), one(3, b"b2"), one(4, b"c")]);
    assert_eq!(frames(&reader, Lsn::new(3)), [one(4, b"c")]);
    assert_eq!(reader.state(b"position").unwrap().unwrap(), b"in b");
    assert_eq!(reader.positions().durable, Lsn::new(4));
}

#[tokio::test]
async fn an_abandoned_group_leaves_nothing_and_its_lsns_are_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let reader = wal.reader();
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.append(&[b"gone 1"], GroupEnd::More).unwrap();
    appender.put_state(b"position", Some(b"gone"));
    appender.flush_durable().await.unwrap();
    appender.append(&[b"gone 2"], GroupEnd::More).unwrap();

    appender.abort_group().await.unwrap();
    assert_eq!(appender.next_lsn(), Lsn::new(2));
    appender.append(&[b"b"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();

    assert_eq!(frames(&reader, Lsn::ZERO), [one(1, b"a"), one(2, b"b")]);
    assert_eq!(reader.state_prefix(b"").unwrap(), []);
}

#[tokio::test]
async fn settled_state_becomes_durable_while_a_group_is_open_and_an_abort_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let reader = wal.reader();
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.append(&[b"b1"], GroupEnd::More).unwrap();
    appender.put_state(b"position", Some(b"in b"));
    appender.put_settled(b"position", Some(b"after a"));
    appender.put_settled(b"gone", Some(b"soon"));
    appender.flush_durable().await.unwrap();
    assert_eq!(frames(&reader, Lsn::ZERO), [one(1, b"a")]);
    let after_a = [(b"gone".to_vec(), b"soon".to_vec()), (b"position".to_vec(), b"after a".to_vec())];
    assert_eq!(reader.state_prefix(b"").unwrap(), after_a);

    // Not yet sent when the group is abandoned.
    appender.append(&[b"b2"], GroupEnd::More).unwrap();
    appender.put_settled(b"gone", None);
    appender.abort_group().await.unwrap();
    appender.flush_durable().await.unwrap();
    assert_eq!(frames(&reader, Lsn::ZERO), [one(1, b"a")]);
    assert_eq!(reader.state_prefix(b"").unwrap(), [(b"position".to_vec(), b"after a".to_vec())]);
}

#[tokio::test]
async fn state_of_a_group_replaces_settled_state_when_the_group_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let reader = wal.reader();
    appender.append(&[b"a1"], GroupEnd::More).unwrap();
    appender.put_state(b"position", Some(b"after a"));
    appender.put_settled(b"position", Some(b"before a"));
    appender.flush_durable().await.unwrap();
    assert_eq!(reader.state(b"position").unwrap().unwrap(), b"before a");
    appender.put_settled(b"position", Some(b"still before a"));
    appender.append(&[b"a2"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    assert_eq!(reader.state(b"position").unwrap().unwrap(), b"after a");
}

#[tokio::test]
async fn opening_again_discards_an_unfinished_group_and_keeps_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let id = wal.id();
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.put_state(b"position", Some(b"a"));
    appender.append(&[b"unfinished"], GroupEnd::More).unwrap();
    appender.put_state(b"position", Some(b"unfinished"));
    appender.flush_durable().await.unwrap();
    wal.ack("c", Lsn::new(1), b"token", vec![(b"k".to_vec(), Some(b"v".to_vec()))]).await.unwrap();
    drop((wal, appender));

    let (wal, appender) = open(&directory);
    assert_eq!(wal.id(), id);
    assert_eq!(appender.next_lsn(), Lsn::new(2));
    let reader = wal.reader();
    assert_eq!(frames(&reader, Lsn::new(1)), []);
    let all = reader.state_prefix(b"").unwrap();
    assert_eq!(all, [(b"k".to_vec(), b"v".to_vec()), (b"position".to_vec(), b"a".to_vec())]);
    let cursors = wal.cursors();
    assert_eq!(cursors.len(), 1);
    assert_eq!((cursors[0].lsn, cursors[0].token.as_slice()), (Lsn::new(1), &b"token"[..]));
    assert_eq!(wal.stats().unwrap().live_bytes, 0);
}

#[tokio::test]
async fn the_backlog_of_a_cursor_is_exact_inside_a_block() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    for _ in 0..10 {
        appender.append(&[&[7; 95]], GroupEnd::Ends).unwrap();
    }
    appender.flush_durable().await.unwrap();
    let backlog = |wal: &Wal| {
        let cursor = wal.cursors().remove(0);
        (cursor.lsn.raw(), cursor.backlog_bytes, cursor.backlog_groups)
    };
    assert_eq!(backlog(&wal), (0, 1000, 10));
    wal.ack("c", Lsn::new(4), b"", Vec::new()).await.unwrap();
    assert_eq!(backlog(&wal), (4, 600, 6));
    assert_eq!(wal.positions().borrow().first, Lsn::FIRST);
    wal.ack("c", Lsn::new(10), b"", Vec::new()).await.unwrap();
    assert_eq!(backlog(&wal), (10, 0, 0));
    let positions = *wal.positions().borrow();
    assert_eq!((positions.first, positions.trimmed), (Lsn::new(11), Lsn::new(10)));
    assert!(matches!(
        wal.reader().read(Lsn::new(4), 1),
        Err(Error::Trimmed { first, wanted }) if first == Lsn::new(11) && wanted == Lsn::new(5)
    ));
}

#[tokio::test]
async fn a_cursor_stands_only_at_the_end_of_a_visible_group_and_never_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.append(&[b"b1"], GroupEnd::More).unwrap();
    appender.append(&[b"b2"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.create_cursor("c", Lsn::new(1)).await.unwrap();

    let ack = async |lsn| wal.ack("c", Lsn::new(lsn), b"", vec![(b"k".to_vec(), None)]).await;
    assert!(matches!(ack(2).await, Err(Error::NotGroupEnd(lsn)) if lsn == Lsn::new(2)));
    assert!(matches!(ack(4).await, Err(Error::BeyondDurable { .. })));
    assert!(matches!(ack(0).await, Err(Error::AckBackwards { .. })));
    assert!(matches!(wal.create_cursor("d", Lsn::new(2)).await, Err(Error::NotGroupEnd(_))));
    assert!(matches!(wal.create_cursor("", Lsn::new(1)).await, Err(Error::BadCursorName { .. })));
    ack(1).await.unwrap();
    ack(3).await.unwrap();
    wal.detach_cursor("c").await.unwrap();
    assert!(matches!(ack(3).await, Err(Error::Detached(_))));
    wal.drop_cursor("c").await.unwrap();
    assert!(matches!(ack(3).await, Err(Error::NoSuchCursor(_))));
}

#[tokio::test]
async fn a_lazy_acknowledgement_is_committed_even_when_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.append(&[b"b"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    let mut positions = wal.positions();

    wal.ack_lazily("c", Lsn::new(1), b"1", vec![(b"k".to_vec(), Some(b"1".to_vec()))]).unwrap();
    wal.ack_lazily("c", Lsn::new(2), b"2", vec![(b"l".to_vec(), Some(b"2".to_vec()))]).unwrap();
    positions.wait_for(|positions| positions.trimmed == Lsn::new(2)).await.unwrap();

    assert_eq!(wal.cursors()[0].token, b"2");
    let state = wal.reader().state_prefix(b"").unwrap();
    assert_eq!(state, [(b"k".to_vec(), b"1".to_vec()), (b"l".to_vec(), b"2".to_vec())]);
}

#[tokio::test]
async fn a_lazy_acknowledgement_that_is_refused_puts_the_log_out_of_service() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    wal.create_cursor("c", Lsn::ZERO).await.unwrap();
    wal.ack_lazily("c", Lsn::new(5), b"", Vec::new()).unwrap();
    let error = wal.put_state(Vec::new()).await.and(wal.put_state(Vec::new()).await).unwrap_err();
    let Error::Poisoned(cause) = error else { panic!("{error}") };
    assert!(matches!(*cause, Error::BeyondDurable { .. }), "{cause}");
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    assert!(matches!(appender.flush().await, Err(Error::Poisoned(_))));
    assert!(matches!(wal.reader().read(Lsn::ZERO, 1), Err(Error::Poisoned(_))));
    assert!(matches!(wal.shutdown().await, Err(Error::Poisoned(_))));
}

#[tokio::test]
async fn a_directory_is_made_for_its_owner_alone_and_one_that_is_there_stays_as_it_is() {
    let parent = tempfile::tempdir().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let made = parent.path().join("some").join("log");
    drop(Wal::open(&made, options()).unwrap());
    assert_eq!(mode(&made), 0o700);
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o750)).unwrap();
    drop(Wal::open(&made, options()).unwrap());
    assert_eq!(mode(&made), 0o750);
}

#[tokio::test]
async fn a_second_open_is_refused_and_names_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, appender) = open(&directory);
    let error = Wal::open(directory.path(), options()).unwrap_err();
    let Error::Locked { path, pid } = error else { panic!("{error}") };
    assert_eq!(path, directory.path().join("lock"));
    assert_eq!(pid, Some(std::process::id()));
    wal.shutdown().await.unwrap();
    let (_wal, _appender) = open(&directory);
    drop(appender);
}

#[tokio::test]
async fn after_shutdown_every_call_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let reader = wal.reader();
    appender.append(&[b"a"], GroupEnd::Ends).unwrap();
    appender.flush().await.unwrap();
    wal.shutdown().await.unwrap();
    wal.shutdown().await.unwrap();
    appender.append(&[b"b"], GroupEnd::Ends).unwrap();
    assert!(matches!(appender.flush().await, Err(Error::Closed)));
    assert!(matches!(wal.put_state(Vec::new()).await, Err(Error::Closed)));
    assert!(matches!(reader.read(Lsn::ZERO, 1), Err(Error::Closed)));
    drop((wal, appender));
    let (wal, _appender) = open(&directory);
    assert_eq!(frames(&wal.reader(), Lsn::ZERO), [one(1, b"a")]);
}

#[tokio::test]
async fn frames_of_every_size_come_back_as_they_went_in() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let sizes = [0, 1, 131_000, 131_007, 131_008, 300_000, 5, 131_056, 2_000_000, 0];
    let mut expected = Vec::new();
    for (lsn, size) in (1..).zip(sizes) {
        let payload = vec![u8::try_from(lsn).unwrap(); size];
        let (head, rest) = payload.split_at(size / 3);
        appender.append(&[head, rest], GroupEnd::Ends).unwrap();
        expected.push((lsn, payload, true));
    }
    appender.flush_durable().await.unwrap();
    assert_eq!(frames(&wal.reader(), Lsn::ZERO), expected);
    let one_at_a_time = wal.reader().read(Lsn::new(1), 1).unwrap();
    assert_eq!(one_at_a_time.len(), 1);
    assert_eq!(one_at_a_time[0].first_lsn(), Lsn::new(2));
}

#[tokio::test]
async fn the_position_of_a_frame_is_the_number_of_frame_bytes_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, mut appender) = open(&directory);
    let positions = |reader: &Reader, after| {
        let blocks = reader.read(after, usize::MAX).unwrap();
        let frames = blocks.iter().flat_map(wal::Block::frames).map(|frame| frame.unwrap());
        frames.map(|frame| (frame.lsn.raw(), frame.position)).collect::<Vec<_>>()
    };
    appender.append(&[&[7; 95]], GroupEnd::Ends).unwrap();
    appender.append(&[b"gone"], GroupEnd::More).unwrap();
    appender.flush_durable().await.unwrap();
    appender.abort_group().await.unwrap();
    appender.append(&[b""], GroupEnd::Ends).unwrap();
    appender.append(&[&vec![7; 200_000]], GroupEnd::More).unwrap();
    appender.append(&[b"end"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    let expected = [(1, 0), (2, 100), (3, 105), (4, 200_110)];
    assert_eq!(positions(&wal.reader(), Lsn::ZERO), expected);
    // Also of frames before which others of the same block are skipped, and in a log that was opened again and trimmed.
    assert_eq!(positions(&wal.reader(), Lsn::FIRST), expected[1..]);
    wal.create_cursor("c", Lsn::new(4)).await.unwrap();
    drop((wal, appender));
    let (wal, mut appender) = open(&directory);
    appender.append(&[b"after"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    assert_eq!(wal.reader().positions().first, Lsn::new(5));
    assert_eq!(positions(&wal.reader(), Lsn::new(4)), [(5, 200_118)]);
}
