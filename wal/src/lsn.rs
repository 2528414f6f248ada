//! Positions in a log and the identity of a log.
//!
//! Promises: an [`Lsn`] is dense (each frame has exactly one, the next frame has the next), the first is 1, and
//! [`Lsn::ZERO`] stands before the first frame. Does not say whether a frame is durable or visible: see
//! [`Positions`](crate::Positions).

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The place of one frame in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lsn(u64);

impl Lsn {
    /// The place before the first frame.
    pub const ZERO: Self = Self(0);
    /// The place of the first frame of a new log.
    pub const FIRST: Self = Self(1);

    /// The position with this number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The number of this position.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The place right after this one. It saturates at the end of `u64`, which a log that appends a million frames a
    /// second reaches after half a million years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The place right before this one; [`Lsn::ZERO`] stays where it is.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Lsn {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The identity of a log: random, made when the log is created, never changed. A sink that remembers it can tell its own
/// log from a new one that begins at LSN 1 again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(u128);

impl LogId {
    /// The identity with these bits.
    pub const fn new(raw: u128) -> Self {
        Self(raw)
    }

    /// The bits of this identity.
    pub const fn raw(self) -> u128 {
        self.0
    }

    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}

impl FromStr for LogId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_back_from_what_they_print() {
        let lsn = Lsn::new(42);
        assert_eq!(lsn.to_string().parse::<Lsn>().unwrap(), lsn);
        let id = LogId::random();
        assert_eq!(id.to_string().parse::<LogId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 32);
    }

    #[test]
    fn nothing_stands_before_zero() {
        assert_eq!(Lsn::ZERO.prev(), Lsn::ZERO);
        assert_eq!(Lsn::ZERO.next(), Lsn::FIRST);
    }
}
