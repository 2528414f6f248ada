//! A sink that is reset, or may take its target over.

use wal::LogId;

use super::*;
use crate::codec::stored::{SINK_ROUND, SINK_START, get};
use crate::telemetry::SinkPhase;

fn looked(log: &Log) -> Looked {
    let start: Option<CursorStart> = get(&log.wal.reader(), &SINK_START.of_sink("m")).unwrap();
    start.map_or(Looked::Done, |start| start.looked)
}

fn cursor(log: &Log) -> (Lsn, bool) {
    let cursor = log.wal.cursors().into_iter().find(|cursor| cursor.name == "m").unwrap();
    (cursor.lsn, cursor.detached)
}

fn reset(until: Lsn, target: &Arc<Mutex<Target>>) -> Serve {
    Serve { is_reset: true, ..Serve::until(until).to(target) }
}

async fn served(directory: &std::path::Path) -> (Log, Lsn, Arc<Mutex<Target>>) {
    let mut log = Log::new(directory).await;
    let end = log.rows(&[(1, 3)]);
    log.flush().await;
    let run = Serve::until(end).run(&log.wal).await;
    run.result.unwrap();
    (log, end, run.target)
}

#[tokio::test]
async fn a_sink_that_is_reset_begins_at_the_end_until_the_log_has_its_wish_however_often_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _, target) = served(directory.path()).await;
    let last = log.rows(&[(1, 2)]);
    log.flush().await;
    let bounds = encode(&RoundBounds { start: last, end: last }).unwrap();
    log.wal.put_state(vec![(SINK_ROUND.of_sink("m"), Some(bounds))]).await.unwrap();
    ask_for_reset(&log.wal, "m").await.unwrap();

    let killed = reset(last, &target).run(&log.wal).await;
    killed.result.unwrap();
    assert_eq!((killed.asked.len(), looked(&log), cursor(&log)), (1, Looked::Reset, (last, false)));
    assert_eq!(target.lock().unwrap().taken_over, [last]);
    assert_eq!(log.wal.reader().state(&SINK_ROUND.of_sink("m")).unwrap(), None);
    let later = log.rows(&[(1, 4)]);
    log.flush().await;
    let again = reset(later, &target).run(&log.wal).await;
    again.result.unwrap();
    assert_eq!(target.lock().unwrap().taken_over, [last, later]);
    assert_eq!(target.lock().unwrap().rows.len(), 1, "what was in the log does not reach it");

    for asked in again.asked {
        asked.send(()).unwrap();
    }
    while looked(&log) != Looked::Done {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let end = log.rows(&[(1, 1)]);
    log.flush().await;
    Serve::until(end).to(&target).run(&log.wal).await.result.unwrap();
    assert_eq!(target.lock().unwrap().taken_over.len(), 2);
    log.wal.put_state(Vec::new()).await.unwrap();
    assert_eq!(cursor(&log), (end, false));
}

#[tokio::test]
async fn the_counts_of_a_sink_that_is_reset_begin_again_and_balance() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _, target) = served(directory.path()).await;
    let last = log.rows(&[(1, 2), (2, 1)]);
    log.flush().await;
    ask_for_reset(&log.wal, "m").await.unwrap();
    let sink = Box::new(Memory::new(&target, VecDeque::new(), (HandOver::TargetTransaction, RoundLimits::default())));
    let (wishes, _told) = mpsc::unbounded_channel();
    let (_keep, goal) = watch::channel(Goal::Reach(last));
    let live = Arc::new(SinkLive::new("m", "memory"));
    let shutdown = CancellationToken::new();
    let wiring = Wiring {
        wal: log.wal.clone(),
        live,
        shutdown,
        goal,
        dead: crate::dead::Hub::new(log.wal.clone(), u64::MAX),
        wishes,
        looking: None,
    };
    let appended = move |reader: &Reader| Ok((vec![(table(), 5), (other_table(), 1)], reader.positions().durable));
    Delivery::new(sink, wiring).counting(Box::new(appended)).run().await.unwrap();

    for (table, before) in [(table(), 5), (other_table(), 1)] {
        let rows = SinkRows { before, ..SinkRows::default() };
        assert_eq!(log.at_sink(&table).await, TableAtSink { rows, ..TableAtSink::default() });
    }
}

#[tokio::test]
async fn a_target_is_taken_over_only_where_it_does_not_fit_the_log_and_that_is_allowed() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["fits", "emptied", "of_another_log", "ahead"] {
        let (log, end, target) = served(&directory.path().join(name)).await;
        let is_taken = name != "fits";
        let cursor = match name {
            "emptied" => None,
            "of_another_log" => Some((LogId::new(1), end)),
            "ahead" => Some((log.wal.id(), end.next())),
            _ => target.lock().unwrap().cursor,
        };
        target.lock().unwrap().cursor = cursor;
        if is_taken {
            let refused = Serve::until(end).to(&target).run(&log.wal).await.result.unwrap_err();
            assert!(refused.hint.unwrap().contains("replicator sink reset m"), "{name}");
        }
        allow_take_over(&log.wal, "m").await.unwrap();

        // Killed before the log has the wish, it is not taken for one that fits.
        for _ in 0..2 {
            let run = reset(end, &target).run(&log.wal).await;
            run.result.unwrap();
            let state = if is_taken { Looked::Reset } else { Looked::Done };
            assert_eq!((run.asked.len(), looked(&log)), (usize::from(is_taken), state), "{name}");
        }
        assert_eq!(target.lock().unwrap().taken_over.is_empty(), !is_taken, "{name}");
    }
}

#[tokio::test]
async fn a_sink_whose_cursor_was_detached_is_shown_as_such_and_comes_back_by_a_reset() {
    let directory = tempfile::tempdir().unwrap();
    let (mut log, _, target) = served(directory.path()).await;
    let last = log.rows(&[(1, 2)]);
    log.flush().await;
    log.wal.detach_cursor("m").await.unwrap();
    let opened = target.lock().unwrap().opened;

    let run = Serve::until(last).to(&target).run(&log.wal).await;

    let refused = run.result.unwrap_err();
    assert!(refused.message.contains("detached") && refused.hint.unwrap().contains("sink reset m"));
    assert_eq!((run.live.state().0, target.lock().unwrap().opened), (SinkPhase::Detached, opened));
    ask_for_reset(&log.wal, "m").await.unwrap();
    let run = reset(last, &target).run(&log.wal).await;
    run.result.unwrap();
    assert_eq!((run.asked.len(), cursor(&log)), (1, (last, false)));
}
