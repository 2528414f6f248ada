//! A full log that one sink holds: the sink is detached after a while, if it may be, and the log goes on without it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wal::{CursorInfo, Lsn, Wal};

use super::reload::OnFulls;
use super::supervisor::{Order, Orders};
use crate::config::OnFull;

/// How often it is looked who holds a full log.
const LOOK: Duration = Duration::from_millis(250);

/// How long the end of a sink that is detached is waited for before another one is looked at.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where sinks hold the log, and since when they have held it there while it was full, without a break.
type Holding = BTreeMap<String, (Lsn, Instant)>;

/// Who holds the log at `now`, if it is full: the attached cursors with the smallest LSN, unless that is its end. Since when, by who has held it
/// there before: one that goes on is slow, and lets the log go on.
fn holding(before: &Holding, (full, durable): (bool, Lsn), cursors: &[CursorInfo], now: Instant) -> Holding {
    let attached = || cursors.iter().filter(|cursor| !cursor.detached);
    let Some(least) = attached().map(|cursor| cursor.lsn).min().filter(|least| full && *least < durable) else {
        return Holding::new();
    };
    let since = |cursor: &CursorInfo| {
        let before = before.get(&cursor.name).filter(|(lsn, _)| *lsn == cursor.lsn);
        (cursor.name.clone(), before.copied().unwrap_or((cursor.lsn, now)))
    };
    attached().filter(|cursor| cursor.lsn == least).map(since).collect()
}

/// Which of them is to be detached: one that may be and has held the log for so long, where no other one holds it as well that may not be.
fn to_detach<'h>(holding: &'h Holding, limits: &BTreeMap<String, Duration>, now: Instant) -> Option<&'h str> {
    if holding.keys().any(|sink| !limits.contains_key(sink)) {
        return None;
    }
    let is_over = |(sink, (_, since)): &(&String, &(Lsn, Instant))| {
        limits.get(*sink).is_some_and(|limit| now.saturating_duration_since(*since) >= *limit)
    };
    holding.iter().find(is_over).map(|(sink, _)| sink.as_str())
}

/// Detaches sinks from a log that is full for as long as their configuration says.
pub(super) async fn detach_from_full_log(
    wal: Wal,
    mut on_fulls: watch::Receiver<OnFulls>,
    orders: Orders,
    stop: CancellationToken,
) {
    let limit = |(sink, on_full): &(String, OnFull)| match on_full {
        OnFull::Wait => None,
        OnFull::Detach { after } => Some((sink.clone(), *after)),
    };
    let mut positions = wal.positions();
    let mut held = Holding::new();
    loop {
        let limits: BTreeMap<String, Duration> = on_fulls.borrow_and_update().iter().filter_map(limit).collect();
        if limits.is_empty() {
            tokio::select! {
                changed = on_fulls.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            continue;
        }
        let (full, durable) = {
            let positions = positions.borrow_and_update();
            (positions.full, positions.durable)
        };
        let now = Instant::now();
        held = holding(&held, (full, durable), &wal.cursors(), now);
        if let Some(sink) = to_detach(&held, &limits, now).map(str::to_owned) {
            warn!(%sink, "the log is full, and the sink has held it for too long: it is detached");
            let order = orders.lock().await.get(&sink).cloned();
            let (done, is_done) = oneshot::channel();
            if let Some(order) = order
                && order.send(Order::Detach(done)).await.is_ok()
            {
                // Dropped once it is done. A sink whose target does not answer has lost its place by then, and ends later.
                drop(tokio::time::timeout(PATIENCE, is_done).await);
            }
            held.remove(&sink);
        }
        tokio::select! {
            changed = positions.changed() => if changed.is_err() { return },
            // Without a sender they stay as they are.
            Ok(()) = on_fulls.changed() => {}
            () = tokio::time::sleep(LOOK), if !held.is_empty() => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(name: &str, lsn: u64, detached: bool) -> CursorInfo {
        let (token, backlog_bytes, backlog_groups) = (Vec::new(), 0, 0);
        CursorInfo { name: name.into(), lsn: Lsn::new(lsn), token, backlog_bytes, backlog_groups, detached }
    }

    const FULL: (bool, Lsn) = (true, Lsn::new(9));

    #[test]
    fn those_at_the_smallest_lsn_hold_a_full_log_since_it_was_full_and_they_held_it() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(5));
        let cursors = [cursor("a", 3, false), cursor("b", 3, false), cursor("c", 5, false), cursor("d", 1, true)];
        let held = holding(&Holding::new(), FULL, &cursors, now);
        assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b"]);
        let held = holding(&held, FULL, &cursors, later);
        assert_eq!(held["a"], (Lsn::new(3), now));
        let moved = [cursor("a", 4, false), cursor("c", 4, false)];
        let held = holding(&held, FULL, &moved, later);
        let at = (Lsn::new(4), later);
        assert_eq!(held, [("a".to_owned(), at), ("c".to_owned(), at)].into(), "it goes on");
        assert_eq!(holding(&held, (false, Lsn::new(9)), &moved, later), Holding::new(), "it has room again");
        assert_eq!(holding(&held, FULL, &[cursor("a", 9, false)], later), Holding::new(), "it has everything");
    }

    #[test]
    fn a_sink_is_detached_after_its_limit_and_not_while_another_that_may_not_be_holds_the_log_too() {
        let now = Instant::now();
        let limits = |sinks: &[(&str, u64)]| -> BTreeMap<String, Duration> {
            sinks.iter().map(|(sink, seconds)| ((*sink).to_owned(), Duration::from_secs(*seconds))).collect()
        };
        let after = |seconds| now + Duration::from_secs(seconds);
        let at = (Lsn::new(3), now);
        let held: Holding = [("a".to_owned(), at), ("b".to_owned(), at)].into();
        assert_eq!(to_detach(&held, &limits(&[("a", 9), ("b", 5)]), after(4)), None);
        assert_eq!(to_detach(&held, &limits(&[("a", 9), ("b", 5)]), after(5)), Some("b"));
        assert_eq!(to_detach(&held, &limits(&[("b", 5)]), after(60)), None, "a waits");
        assert_eq!(to_detach(&Holding::new(), &limits(&[("b", 5)]), after(60)), None);
    }
}
