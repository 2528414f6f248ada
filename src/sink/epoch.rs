//! The epoch under which a log writes to a target: the one rule of every sink.
//!
//! A row's [version](crate::codec::version) begins with the epoch of its target, and positions begin at 0 in every
//! log. So the log that wrote the target keeps its epoch, and a log that takes the target over writes under the next
//! one: its first row is newer than every row that is there.
//!
//! Whether a log may take a target over is not decided here.

use wal::LogId;

use super::TargetState;
use crate::codec::version::Epoch;
use crate::error::Failure;

/// The epoch under which `log` writes to a target in this state.
///
/// # Errors
/// Fatal, when another log wrote to it under the last epoch.
pub(super) fn epoch_for(sink: &str, state: TargetState, log: LogId) -> Result<Epoch, Failure> {
    match state {
        TargetState::Fresh => Ok(Epoch::FIRST),
        TargetState::At { log: holder, epoch, .. } if holder == log => Ok(epoch),
        TargetState::At { epoch, .. } => epoch.next().ok_or_else(|| {
            Failure::fatal(format!(
                "the target of sink \"{sink}\" was taken over by another log {} times, its row versions end here",
                epoch.number() - Epoch::FIRST.number()
            ))
            .hint("set another, empty target for the sink: it begins at epoch 1 again")
        }),
    }
}

#[cfg(test)]
mod tests {
    use wal::Lsn;

    use super::*;
    use crate::error::ErrorClass;

    const MINE: LogId = LogId::new(7);
    const OTHER: LogId = LogId::new(8);

    fn at(log: LogId, epoch: Epoch) -> TargetState {
        TargetState::At { log, epoch, applied: Lsn::new(5) }
    }

    #[test]
    fn a_target_that_no_log_wrote_to_begins_at_the_first_epoch() {
        assert_eq!(epoch_for("s", TargetState::Fresh, MINE).unwrap(), Epoch::FIRST);
    }

    #[test]
    fn the_log_that_wrote_a_target_keeps_its_epoch() {
        for epoch in [Epoch::FIRST, Epoch::new(9).unwrap(), Epoch::LAST] {
            assert_eq!(epoch_for("s", at(MINE, epoch), MINE).unwrap(), epoch);
        }
    }

    #[test]
    fn a_log_that_takes_a_target_over_writes_under_the_next_epoch() {
        let mut epoch = Epoch::FIRST;
        while epoch != Epoch::LAST {
            let next = epoch_for("s", at(OTHER, epoch), MINE).unwrap();
            assert_eq!(next.number(), epoch.number() + 1);
            epoch = next;
        }
    }

    #[test]
    fn a_target_that_was_taken_over_too_often_is_refused_by_name() {
        let failure = epoch_for("local", at(OTHER, Epoch::LAST), MINE).unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("sink \"local\" was taken over by another log 126 times"), "{failure}");
        assert!(failure.hint.unwrap().contains("empty target"));
    }
}
