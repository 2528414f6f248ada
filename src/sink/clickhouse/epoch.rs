//! Under which epoch a log writes to a target.
//!
//! The epoch is the highest part of every row's version, so that the rows of a log that takes a target over are newer than all that are
//! there, whatever their places in the two logs.

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
    /// When there is no next one.
    pub(super) fn of(sink: &str, stored: Option<Self>, log: LogId) -> Result<Self, Failure> {
        match stored {
            None => Ok(Self { log, epoch: Epoch::FIRST }),
            Some(owner) if owner.log == log => Ok(owner),
            Some(Self { log: other, epoch }) => match epoch.next() {
                Some(epoch) => Ok(Self { log, epoch }),
                None => Err(Failure::fatal(format!(
                    "the target of sink '{sink}' belongs to log {other} in epoch {epoch}, and there is no later epoch for log {log}"
                ))
                .hint("give the sink a new, empty database")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(log: u128, epoch: u64) -> Owner {
        Owner { log: LogId::new(log), epoch: Epoch::new(epoch).unwrap() }
    }

    #[test]
    fn a_log_keeps_its_epoch_however_often_it_opens_the_target() {
        let first = Owner::of("ch", None, LogId::new(1)).unwrap();
        assert_eq!(first, owner(1, 1));
        assert_eq!(Owner::of("ch", Some(first), LogId::new(1)).unwrap(), first);
        assert_eq!(Owner::of("ch", Some(owner(1, 9)), LogId::new(1)).unwrap(), owner(1, 9));
        assert_eq!(Owner::of("ch", Some(owner(1, 127)), LogId::new(1)).unwrap(), owner(1, 127));
    }

    #[test]
    fn another_log_writes_under_the_next_epoch_and_the_last_one_is_refused_by_name() {
        assert_eq!(Owner::of("ch", Some(owner(1, 1)), LogId::new(2)).unwrap(), owner(2, 2));
        // Also the first log again: its rows of before are older than those of the log between.
        assert_eq!(Owner::of("ch", Some(owner(2, 2)), LogId::new(1)).unwrap(), owner(1, 3));
        let refused = Owner::of("ch", Some(owner(1, 127)), LogId::new(2)).unwrap_err();
        assert!(refused.message.contains("'ch'") && refused.message.contains("epoch 127"), "{refused}");
        assert!(refused.hint.is_some());
    }
}
