//! Dead letters over failures at every place between their store and the acknowledgement of their round.

use super::counts::keyed;
use super::*;
use crate::dead::letters_of;

impl Log {
    async fn with_key(directory: &std::path::Path) -> Self {
        let log = Self::new(directory).await;
        log.decide(1, SchemaRecord::Known(keyed())).await;
        log
    }

    /// A transaction of one row: its key and its other value.
    fn row(&mut self, id: u8, v: u8) -> Lsn {
        let image = [0, id, v];
        self.appender.append(&[&one_row(&image), &image], GroupEnd::Ends).unwrap()
    }

    /// The LSNs of the letters.
    async fn letters(&self) -> Vec<u64> {
        self.wal.put_state(Vec::new()).await.unwrap();
        letters_of(&self.wal.reader(), "m").unwrap().into_iter().map(|(id, _)| id.lsn.raw()).collect()
    }

    /// Serves the sink, whose rows at `refused` become letters, up to an LSN, with these faults.
    async fn serve(&self, target: &Arc<Mutex<Target>>, refused: &[Lsn], end: Lsn, faults: Vec<Fault>) -> Run {
        target.lock().unwrap().refused = refused.iter().copied().collect();
        Serve::until(end).to(target).in_rounds_of(1).with(faults).run(&self.wal).await
    }
}

fn rows(target: &Arc<Mutex<Target>>) -> Vec<u64> {
    target.lock().unwrap().rows.iter().map(|(lsn, _)| lsn.raw()).collect()
}

#[tokio::test]
async fn a_letter_is_durable_before_the_commit_that_leaves_its_row_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let first = log.row(1, 1);
    log.flush().await;
    let target = Arc::default();

    let run = log.serve(&target, &[first], first, vec![Fault::Commit(Failure::fatal("power"))]).await;

    assert!(run.result.is_err());
    assert_eq!((log.letters().await, rows(&target)), (vec![first.raw()], vec![]));
}

#[tokio::test]
async fn a_letter_of_a_round_that_is_written_after_all_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let (first, second) = (log.row(1, 1), log.row(2, 1));
    log.flush().await;
    let target = Arc::default();
    let run = log.serve(&target, &[first, second], second, vec![Fault::Commit(Failure::fatal("power"))]).await;
    assert!(run.result.is_err());

    let run = log.serve(&target, &[second], second, Vec::new()).await;

    run.result.unwrap();
    assert_eq!((log.letters().await, rows(&target)), (vec![second.raw()], vec![first.raw()]));
    assert_eq!(run.doubts, []);
    let counts = log.at_sink(&table()).await.rows.sink;
    assert_eq!((counts.taken, counts.acknowledged, counts.dead_lettered), (2, 1, 1));
}

#[tokio::test]
async fn a_letter_that_a_round_has_ended_is_gone_also_where_its_acknowledgement_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let (first, second, third) = (log.row(1, 1), log.row(2, 1), log.row(3, 1));
    log.flush().await;
    let target = Arc::default();
    log.serve(&target, &[first, second, third], third, Vec::new()).await.result.unwrap();
    assert_eq!(log.letters().await, [first, second, third].map(Lsn::raw));

    // A row that is written, and one that is refused once more: of both the log hears nothing.
    let (written, refused) = (log.row(1, 2), log.row(2, 2));
    log.flush().await;
    let faults = vec![Fault::AfterCommit(Failure::fatal("power"))];
    assert!(log.serve(&target, &[refused], written, faults).await.result.is_err());
    log.serve(&target, &[refused], refused, Vec::new()).await.result.unwrap();

    assert_eq!(log.letters().await, [third, refused].map(Lsn::raw));
    assert_eq!(rows(&target), [written.raw()]);
}

#[tokio::test]
async fn a_letter_of_a_round_whose_acknowledgement_is_lost_is_counted_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let (first, second) = (log.row(1, 1), log.row(2, 1));
    log.flush().await;
    let target = Arc::default();
    let faults = vec![Fault::AfterCommit(Failure::fatal("power"))];
    assert!(log.serve(&target, &[first], first, faults).await.result.is_err());

    log.serve(&target, &[], second, Vec::new()).await.result.unwrap();

    assert_eq!((log.letters().await, rows(&target)), (vec![first.raw()], vec![second.raw()]));
    let counts = log.at_sink(&table()).await.rows.sink;
    assert_eq!((counts.taken, counts.acknowledged, counts.recovered, counts.dead_lettered), (2, 1, 0, 1));
}

#[tokio::test]
async fn what_ends_letters_counts_also_where_its_acknowledgement_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let first = log.row(1, 1);
    log.flush().await;
    let target = Arc::default();
    log.serve(&target, &[first], first, Vec::new()).await.result.unwrap();
    let end = log.change(TableChange::Truncate { table: table() });
    log.flush().await;
    let faults = vec![Fault::AfterCommit(Failure::fatal("power"))];
    assert!(log.serve(&target, &[], end, faults).await.result.is_err());
    assert_eq!(log.letters().await, [first.raw()]);

    log.serve(&target, &[], end, Vec::new()).await.result.unwrap();

    assert_eq!(log.letters().await, [0; 0]);
}

#[tokio::test]
async fn letters_go_with_their_sink() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::with_key(directory.path()).await;
    let first = log.row(1, 1);
    log.flush().await;
    log.serve(&Arc::default(), &[first], first, Vec::new()).await.result.unwrap();

    let dropped = state_of_dropped_sink(&log.wal.reader(), "m").unwrap();
    log.wal.put_state(dropped).await.unwrap();

    assert_eq!(log.letters().await, [0; 0]);
    assert!(crate::dead::keys_of_sink(&log.wal.reader(), "m").unwrap().is_empty());
}
