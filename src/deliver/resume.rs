//! Where a sink goes on.
//!
//! The target's own cursor is the truth about what is applied; the log's cursor is the promise not to trim. They
//! differ after a crash between the two commits, and after somebody has restored, emptied or exchanged one of them.
//! Every case that would lose or repeat a row silently stops the sink and says so.

use wal::{LogId, Lsn, Reader};

use super::open::{CursorStart, Looked};
use crate::codec::stored::{SINK_START, get};
use crate::error::{Failure, sink_reset};
use crate::sink::{Lost, TargetState};

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
    /// It has lost its claim on the log.
    pub(super) is_detached: bool,
    /// Where the cursor was when it was created: nothing has been applied while it is still there.
    pub(super) start: Lsn,
    /// The cursor was created just now, for a target that may know the log from before.
    pub(super) is_new: bool,
    /// A target of the sink has had more of this log than the log itself.
    pub(super) was_behind: bool,
}

/// Where a sink continues, or that it begins again.
#[derive(Debug)]
pub(super) enum Way {
    /// Behind this LSN.
    Continue(Lsn),
    /// Reset; because of this refusal, if nobody has asked for it.
    Reset(Option<Failure>),
}

/// How a sink goes on whose cursor began so, after [`resume`]. `is_asked`: somebody has asked for a reset that was not made yet.
pub(super) fn way(is_asked: bool, looked: Looked, resumed: Result<Lsn, Failure>) -> Result<Way, Failure> {
    match resumed {
        _ if is_asked => Ok(Way::Reset(None)),
        Ok(at) => Ok(Way::Continue(at)),
        Err(refused) if looked.allows_reset() => Ok(Way::Reset(Some(refused))),
        Err(refused) => Err(refused),
    }
}

/// Where a start would continue with a sink whose target is in this state; `None`: it would begin again, as an operator
/// has asked. Nothing is opened.
///
/// # Errors
/// What the start would refuse, in its words; or when the log cannot be read.
pub fn would_resume(reader: &Reader, sink: &str, target: TargetState) -> Result<Option<Lsn>, Failure> {
    let positions = reader.positions();
    let cursor = reader.cursors().into_iter().find(|cursor| cursor.name == sink);
    let (at, is_detached, start) = match &cursor {
        Some(cursor) => {
            let start = get(reader, &SINK_START.of_sink(sink))?;
            let start = start.unwrap_or(CursorStart { at: Lsn::ZERO, looked: Looked::Done });
            (cursor.lsn, cursor.detached, start)
        }
        // Its cursor is made before everything that the log holds.
        None => {
            let at = positions.first.prev();
            (at, false, CursorStart { at, looked: Looked::NotYet })
        }
    };
    let view = LogView {
        id: reader.id(),
        first: positions.first,
        durable: positions.durable,
        cursor: at,
        is_detached,
        start: start.at,
        is_new: start.looked == Looked::NotYet,
        was_behind: start.looked == Looked::Ahead,
    };
    match way(start.looked == Looked::Reset, start.looked, resume(sink, target, view))? {
        Way::Continue(at) => Ok(Some(at)),
        Way::Reset(_) => Ok(None),
    }
}

/// The sink has lost its claim on the log.
pub(super) fn detached(sink: &str, at: Lsn) -> Failure {
    let command = sink_reset(sink);
    Failure::fatal(format!(
        "sink '{sink}' was detached from the full log at lsn {at}, the log does not keep what follows for it"
    ))
    .hint(format!("once it can be written to, run `{command}`: every table is read again for it"))
}

/// The last LSN the sink has applied: it goes on behind it.
pub(super) fn resume(sink: &str, target: TargetState, log: LogView) -> Result<Lsn, Failure> {
    if log.is_detached {
        return Err(detached(sink, log.cursor));
    }
    let reset = sink_reset(sink);
    let again = format!("or run `{reset}`: every table is read again, in place of what the target has");
    let applied = match target {
        TargetState::Fresh if log.cursor == log.start => log.cursor,
        TargetState::Fresh => {
            return Err(Failure::fatal(format!(
                "the target of sink '{sink}' is empty, but lsn {} has been applied to it: it was emptied or exchanged",
                log.cursor
            ))
            .hint(format!("restore the target, or run `{reset}`: every table is read again")));
        }
        TargetState::Lost(Lost::Gone) => {
            return Err(Failure::fatal(format!(
                "the target of sink '{sink}' has tables of the sink, but no cursor: it was emptied in part"
            ))
            .hint(format!("restore the target, {again}")));
        }
        TargetState::Lost(Lost::Unreadable) => {
            return Err(Failure::fatal(format!(
                "the cursor of sink '{sink}' in its target is not readable: something else changed it"
            ))
            .hint(format!("restore the target, {again}")));
        }
        TargetState::At { log: other, .. } if other != log.id => {
            return Err(Failure::fatal(format!(
                "the target of sink '{sink}' belongs to log {other}, this is log {}",
                log.id
            ))
            .hint(format!("point wal.path to the log it belongs to, or the sink to the target of this log; {again}")));
        }
        TargetState::At { applied, .. } => applied,
    };
    if log.was_behind && applied <= log.durable {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, and was ahead of the log before, which was restored from an older copy: \
             the two have not the same changes"
        ))
        .hint(format!("restore the newer log, {again}")));
    }
    if applied > log.durable {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, but the log ends at {}: the log was restored from an older copy",
            log.durable
        ))
        .hint(format!("restore the newer log, {again}")));
    }
    if applied.next() < log.first && log.is_new {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, and what follows it was trimmed from the log while the sink had no cursor: the log begins at {}",
            log.first
        ))
        .hint(format!("run `{reset}`: every table is read again, in place of what the target has")));
    }
    if applied.next() < log.first {
        return Err(Failure::fatal(format!(
            "the target of sink '{sink}' has applied lsn {applied}, but the log begins at {}: the target was restored from an older copy",
            log.first
        ))
        .hint(format!("restore the newer target, {again}")));
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
            is_detached: false,
            start,
            is_new: false,
            was_behind: false,
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

    #[test]
    fn a_target_that_was_ahead_of_a_restored_log_is_refused_when_the_log_has_grown_as_well() {
        let grown = LogView { was_behind: true, ..log(3, 12, 7) };
        for (target, log) in [(at(9), grown), (at(13), grown)] {
            let refused = resume("s", target, log).unwrap_err();
            assert!(refused.message.contains("restored from an older copy"), "{refused}");
        }
    }

    #[test]
    fn a_sink_whose_cursor_was_detached_does_not_go_on_and_says_how_it_comes_back() {
        let refused = resume("s", at(9), LogView { is_detached: true, ..log(3, 12, 9) }).unwrap_err();
        assert!(refused.message.contains("detached from the full log at lsn 9"), "{refused}");
        assert!(refused.hint.unwrap().contains("replicator sink reset s"));
    }

    #[test]
    fn every_refusal_names_the_reset_of_the_sink() {
        let other = TargetState::At { log: LogId::new(2), epoch: Epoch::FIRST, applied: Lsn::new(4) };
        let again = LogView { is_new: true, ..log(3, 12, 2) };
        for (target, log) in [
            (TargetState::Fresh, log(3, 12, 7)),
            (TargetState::Lost(Lost::Gone), log(3, 12, 7)),
            (TargetState::Lost(Lost::Unreadable), log(3, 12, 7)),
            (other, log(3, 12, 7)),
            (at(13), log(3, 12, 7)),
            (at(1), log(3, 12, 7)),
            (at(1), again),
        ] {
            let hint = resume("s", target, log).unwrap_err().hint.unwrap();
            assert!(hint.contains("`replicator sink reset s`"), "{target:?}: {hint}");
        }
    }

    #[test]
    fn a_refused_target_is_taken_over_where_an_operator_allows_it_and_an_accepted_one_is_not() {
        let refused = || Err(Failure::fatal("no"));
        let accepted = || Ok(Lsn::new(7));
        for looked in [Looked::Done, Looked::NotYet, Looked::Wishes, Looked::Ahead] {
            assert!(way(false, looked, refused()).is_err(), "{looked:?}");
        }
        assert!(matches!(way(false, Looked::TakeOver, refused()), Ok(Way::Reset(Some(_)))));
        // One that was reset in this run, and emptied since.
        assert!(matches!(way(false, Looked::Reset, refused()), Ok(Way::Reset(Some(_)))));
        for looked in [Looked::Done, Looked::NotYet, Looked::Wishes, Looked::TakeOver, Looked::Reset] {
            assert!(matches!(way(false, looked, accepted()), Ok(Way::Continue(at)) if at == Lsn::new(7)), "{looked:?}");
        }
        assert!(matches!(way(true, Looked::Reset, accepted()), Ok(Way::Reset(None))));
        assert!(matches!(way(true, Looked::Reset, refused()), Ok(Way::Reset(None))));
    }
}
