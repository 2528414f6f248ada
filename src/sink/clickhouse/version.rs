//! The version of a line in the sink's own tables of tables: which of two lines of a table counts.
//!
//! It is `epoch << 56 | lsn`. LSNs begin low again in every log, and come again in one that was restored from an older copy: the lines of
//! a log that has taken the target over are later than all that were there. What a line of an earlier epoch says of LSNs says nothing of
//! those of this log.

use wal::Lsn;

use crate::codec::version::Epoch;

const LSN_BITS: u32 = 56;

/// The version of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineVersion(u64);

impl LineVersion {
    /// Of a line that is written in an epoch, as of `lsn`.
    pub(super) fn new(epoch: Epoch, lsn: Lsn) -> Self {
        debug_assert!(lsn.raw() >> LSN_BITS == 0, "an LSN has 56 bits");
        Self((u64::from(epoch.number()) << LSN_BITS) | (lsn.raw() & ((1 << LSN_BITS) - 1)))
    }

    /// As it is stored.
    pub(super) fn of(raw: u64) -> Self {
        Self(raw)
    }

    /// As it is stored.
    pub(super) fn raw(self) -> u64 {
        self.0
    }

    /// The LSN, if the line is of this epoch.
    pub(super) fn lsn_in(self, epoch: Epoch) -> Option<Lsn> {
        (self.0 >> LSN_BITS == u64::from(epoch.number())).then(|| Lsn::new(self.0 & ((1 << LSN_BITS) - 1)))
    }

    /// The epoch.
    pub(super) fn epoch(self) -> Option<Epoch> {
        Epoch::of_version(self.0)
    }
}

/// The versions of an epoch, in the server's SQL.
pub(super) fn is_of(epoch: Epoch) -> String {
    format!("bitShiftRight(version, {LSN_BITS}) = {epoch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_later_epoch_is_later_whatever_its_lsn_which_says_nothing_to_another() {
        let second = Epoch::FIRST.next().unwrap();
        let (old, new) = (LineVersion::new(Epoch::FIRST, Lsn::new(900)), LineVersion::new(second, Lsn::ZERO));
        assert!(new > old && LineVersion::new(Epoch::FIRST, Lsn::new(901)) > old);
        assert_eq!((old.lsn_in(Epoch::FIRST), old.lsn_in(second)), (Some(Lsn::new(900)), None));
        assert_eq!((LineVersion::of(new.raw()), new.epoch()), (new, Some(second)));
    }
}
