//! Who writes to a target: at most one daemon, however many are started.
//!
//! Each opening of a target leaves a *claim* there: the number of the one before it and one more, with the identity of the daemon's
//! sink and of its log. A later opening counts, because it is what an operator wants who starts a daemon. The earlier one finds the claim
//! of another when it writes its next cursor, and fails permanently.
//!
//! A log's identity is not enough: two daemons with copies of one log directory have the same one. Nor is a process's own memory: a sink
//! that opens its target again after an error must not take it back from a daemon that was started since.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use wal::LogId;

use crate::error::Failure;

/// One sink of one run of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WriterId(u128);

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for WriterId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

/// One opening of a target. Of two with one number, made at the same moment, the greater writer's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) number: u64,
    pub(super) writer: WriterId,
}

/// A sink of a daemon, over all its openings of its target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opener {
    writer: WriterId,
    held: Option<Claim>,
}

impl Opener {
    /// One that has opened nothing yet.
    pub(super) fn new() -> Self {
        Self { writer: WriterId(rand::random()), held: None }
    }

    /// The claim of its next opening, where the last one is `found`; `None` if another daemon has opened the target since this one did.
    /// A target that was restored from an older copy has an older claim.
    pub(super) fn next(&self, found: Option<Claim>) -> Option<Claim> {
        let is_taken = |(held, found): (Claim, Claim)| found.writer != self.writer && found > held;
        if self.held.zip(found).is_some_and(is_taken) {
            return None;
        }
        let number = found.map_or(0, |found| found.number).checked_add(1)?;
        Some(Claim { number, writer: self.writer })
    }

    /// The target is open under this claim.
    pub(super) fn holds(&mut self, claim: Claim) {
        self.held = Some(claim);
    }
}

/// Another daemon has opened the target of a sink. `place`: the key of the configuration that says where the target is.
pub(super) fn taken(sink: &str, place: &str, (ours, theirs): (LogId, LogId)) -> Failure {
    if ours == theirs {
        return Failure::fatal(format!(
            "another daemon with a copy of log {ours} has opened the target of sink \"{sink}\" since this one did"
        ))
        .hint(format!(
            "stop one of the two daemons; one that is to go on beside the other needs a `wal.path` and a `{place}` of its own, both empty"
        ));
    }
    Failure::fatal(format!(
        "a daemon with log {theirs} has opened the target of sink \"{sink}\" since this one did, which has log {ours}"
    ))
    .hint(format!("two daemons were given one target: set another `{place}` for this one, and an empty `wal.path`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_opening_counts_and_the_earlier_daemon_does_not_take_the_target_back() {
        let (mut first, mut second) = (Opener::new(), Opener::new());
        let one = first.next(None).unwrap();
        first.holds(one);
        let again = first.next(Some(one)).unwrap();
        assert!(again > one && again.number == 2);
        first.holds(again);
        let other = second.next(Some(again)).unwrap();
        assert!(other > again);
        second.holds(other);
        assert_eq!(first.next(Some(other)), None);
        assert!(second.next(Some(other)).is_some());
        // A new run of the first daemon is a later opening.
        assert!(Opener::new().next(Some(other)).unwrap() > other);
    }

    #[test]
    fn a_target_that_was_restored_from_an_older_copy_is_claimed_again() {
        let (mut opener, other) = (Opener::new(), Opener::new());
        let old = other.next(None).unwrap();
        let mine = opener.next(Some(old)).unwrap();
        opener.holds(mine);
        assert_eq!(opener.next(Some(old)).map(|claim| claim.number), Some(2));
        assert_eq!(opener.next(None).map(|claim| claim.number), Some(1));
    }

    #[test]
    fn of_two_claims_made_at_once_one_counts() {
        let (mut first, mut second) = (Opener::new(), Opener::new());
        let (one, two) = (first.next(None).unwrap(), second.next(None).unwrap());
        first.holds(one);
        second.holds(two);
        let last = one.max(two);
        assert_eq!([first.next(Some(last)), second.next(Some(last))].into_iter().flatten().count(), 1);
    }

    #[test]
    fn a_writer_reads_back() {
        let writer = Opener::new().writer;
        assert_eq!(writer.to_string().parse(), Ok(writer));
    }

    #[test]
    fn what_is_refused_names_the_logs() {
        let (ours, theirs) = (LogId::new(7), LogId::new(8));
        let failure = taken("ch", "database", (ours, theirs));
        assert!(failure.message.contains(&theirs.to_string()) && failure.message.contains(&ours.to_string()));
        assert!(failure.hint.unwrap().contains("`database`"));
        assert!(taken("ch", "path", (ours, ours)).message.contains("another daemon with a copy of log"));
    }
}
