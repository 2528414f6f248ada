//! Where a sink goes on.
//!
//! The target's own cursor is the truth about what is applied; the log's cursor is the promise not to trim. They
//! differ after a crash between the two commits, and after somebody has restored, emptied or exchanged one of them.
//! Every case that would lose or repeat a row silently stops the sink and says so.

use wal::{LogId, Lsn};

use crate::error::Failure;
use crate::sink::TargetState;

/// What the log says when a sink is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogView {
    /// This log.
    pub(super) id: LogId,
    /// First LSN it still holds.
    pub(super) first: Lsn,
    /// Last LSN that is durable.
    pub(super) durable: Lsn,
    /// The sink's cursor.
    pub(super) cursor: Lsn,
    /// Where the cursor was when it was created: nothing has been applied while it is still there.
    pub(super) start: Lsn,
    /// The cursor was created just now, for a target that may know the log from before.
    pub(super) is_new: bool,
}

/// The last LSN the sink has applied: it goes on behind it.
pub(super) fn resume(sink: &str, target: TargetState, log: LogView) -> Result<Lsn, Failure> {
    let applied = match target {
        TargetState::Fresh if log.cursor == log.start => log.cursor,
        TargetState::Fresh => {
            return Err(Failure::fatal(format!(
                "the target of sink '{sink}' is empty, but lsn {} has been applied to it: it was emptied or exchanged",
                log.cursor
            ))
            .hint("restore the target, or give the sink a new name: it then starts afresh, with a new snapshot"));
        }
        TargetState::At { log: other, .. } if other != log.id => {
            return Err(Failure::fatal(format!(
                "the target of sink '{sink}' belongs to log {other}, this is log {}",
                log.id
            ))
            .hint("point wal.path to the log it belongs to, or the sink to a new target"));
        }
        TargetState::At { applied, .. } => applied,
    };
    if applied > log.durable {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, but the log ends at {}: the log was restored from an older copy",
            log.durable
        ))
        .hint("restore the newer log, or start with a new log and a new target"));
    }
    if applied.next() < log.first && log.is_new {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, and what follows it was trimmed from the log while the sink had no cursor: the log begins at {}",
            log.first
        ))
        .hint("give the sink an empty target: then every table is read again for it"));
    }
    if applied.next() < log.first {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, but the log begins at {}: the target was restored from an older copy",
            log.first
        ))
        .hint("restore the newer target, or give the sink a new name and target: it then starts with a new snapshot"));
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::version::Epoch;

    fn log(first: u64, durable: u64, cursor: u64) -> LogView {
        let start = Lsn::ZERO;
        LogView {
            id: LogId::new(1),
            first: Lsn::new(first),
            durable: Lsn::new(durable),
            cursor: Lsn::new(cursor),
            start,
            is_new: false,
        }
    }

    fn at(applied: u64) -> TargetState {
        TargetState::At { log: LogId::new(1), epoch: Epoch::FIRST, applied: Lsn::new(applied) }
    }

    #[test]
    fn a_target_ahead_of_the_cursor_is_believed() {
        assert_eq!(resume("s", at(9), log(3, 12, 7)).unwrap(), Lsn::new(9));
    }

    #[test]
    fn a_target_behind_the_cursor_goes_on_while_the_log_still_holds_what_it_misses() {
        assert_eq!(resume("s", at(5), log(3, 12, 7)).unwrap(), Lsn::new(5));
        let error = resume("s", at(1), log(3, 12, 7)).unwrap_err();
        assert!(error.message.contains("restored from an older copy"), "{error}");
        let again = LogView { start: Lsn::new(2), is_new: true, ..log(3, 12, 2) };
        assert_eq!(resume("s", at(5), again).unwrap(), Lsn::new(5));
        let error = resume("s", at(1), again).unwrap_err();
        assert!(error.message.contains("while the sink had no cursor"), "{error}");
    }

    #[test]
    fn an_emptied_target_is_not_written_to() {
        assert_eq!(resume("s", TargetState::Fresh, log(1, 12, 0)).unwrap(), Lsn::ZERO);
        let new_on_a_trimmed_log = LogView { start: Lsn::new(7), ..log(8, 12, 7) };
        assert_eq!(resume("s", TargetState::Fresh, new_on_a_trimmed_log).unwrap(), Lsn::new(7));
        let all_applied_and_trimmed = resume("s", TargetState::Fresh, log(8, 7, 7));
        assert!(all_applied_and_trimmed.unwrap_err().message.contains("emptied"));
        assert!(resume("s", TargetState::Fresh, log(3, 12, 7)).unwrap_err().message.contains("emptied"));
    }

    #[test]
    fn a_target_of_another_log_or_beyond_this_one_is_not_written_to() {
        let other = TargetState::At { log: LogId::new(2), epoch: Epoch::FIRST, applied: Lsn::new(4) };
        assert!(resume("s", other, log(1, 12, 4)).unwrap_err().message.contains("belongs to log"));
        assert!(resume("s", at(13), log(1, 12, 4)).unwrap_err().message.contains("older copy"));
    }
}
