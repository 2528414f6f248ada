//! The epoch under which a log writes to a target: the one rule of every sink.
//!
//! A row's [version](crate::codec::version) begins with the epoch of its target, and positions begin at 0 in every
//! log. So the log that wrote the target keeps its epoch, and one that takes the target over writes under the next
//! one: its first row is newer than every row that is there. So does a log that takes its own target over: it may have been restored
//! from an older copy, and its positions come again.
//!
//! Whether a log may take a target over is not decided here.

use wal::LogId;

use crate::codec::version::Epoch;
use crate::error::Failure;

/// Whose rows a target holds: a log, and the epoch that it writes under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) log: LogId,
    pub(super) epoch: Epoch,
}

impl Owner {
    /// `log` at a target of `stored`: the same log keeps its epoch, another one takes the next.
    ///
    /// # Errors
    /// Fatal, when there is no next one.
    pub(super) fn of(sink: &str, stored: Option<Self>, log: LogId) -> Result<Self, Failure> {
        match stored {
            Some(owner) if owner.log == log => Ok(owner),
            stored => Self::taking_over(sink, stored.map(|owner| owner.epoch), log),
        }
    }

    /// `log` at a target that it takes over, whose newest rows are of the epoch `found`.
    ///
    /// # Errors
    /// As [`Owner::of`].
    pub(super) fn taking_over(sink: &str, found: Option<Epoch>, log: LogId) -> Result<Self, Failure> {
        let Some(found) = found else { return Ok(Self { log, epoch: Epoch::FIRST }) };
        let Some(epoch) = found.next() else {
            return Err(Failure::fatal(format!(
                "the target of sink \"{sink}\" was taken over {} times: it is in epoch {found}, and there is no later one for log {log}",
                found.number() - Epoch::FIRST.number()
            ))
            .hint("set another, empty target for the sink: it begins at epoch 1 again"));
        };
        Ok(Self { log, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    const MINE: LogId = LogId::new(7);
    const OTHER: LogId = LogId::new(8);

    fn owner(log: LogId, epoch: u64) -> Owner {
        Owner { log, epoch: Epoch::new(epoch).unwrap() }
    }

    #[test]
    fn a_target_that_no_log_wrote_to_begins_at_the_first_epoch() {
        assert_eq!(Owner::of("s", None, MINE).unwrap(), owner(MINE, 1));
        assert_eq!(Owner::taking_over("s", None, MINE).unwrap(), owner(MINE, 1));
    }

    #[test]
    fn a_log_keeps_its_epoch_however_often_it_opens_the_target() {
        for epoch in [1, 9, 127] {
            assert_eq!(Owner::of("s", Some(owner(MINE, epoch)), MINE).unwrap(), owner(MINE, epoch));
        }
    }

    #[test]
    fn a_log_that_takes_a_target_over_writes_under_the_next_epoch() {
        // Also the first log again: its earlier rows are older than those of the log between.
        assert_eq!(Owner::of("s", Some(owner(OTHER, 2)), MINE).unwrap(), owner(MINE, 3));
        let mut epoch = Epoch::FIRST;
        while epoch != Epoch::LAST {
            let next = Owner::taking_over("s", Some(epoch), MINE).unwrap().epoch;
            assert_eq!(next.number(), epoch.number() + 1);
            epoch = next;
        }
    }

    #[test]
    fn a_target_that_was_taken_over_too_often_is_refused_by_name() {
        let failure = Owner::of("local", Some(owner(OTHER, 127)), MINE).unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("sink \"local\" was taken over 126 times"), "{failure}");
        assert!(failure.hint.unwrap().contains("empty target"));
    }
}
