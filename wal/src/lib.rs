//! A durable log of frames with named cursors.
use serde::{Deserialize, Serialize};

/// Place of a frame in the log: dense, the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lsn(u64);
impl Lsn {
    /// Before the first frame.
    pub const ZERO: Self = Self(0);
    /// From its number.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }
    /// As a number.
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
/// Identity of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogId(pub u128);
/// Error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Placeholder.
    #[error("placeholder")]
    Placeholder,
}
/// Reader.
#[derive(Debug, Clone)]
pub struct Reader;
impl Reader {
    /// State.
    ///
    /// # Errors
    /// Never.
    pub fn state(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Err(Error::Placeholder)
    }
    /// States.
    ///
    /// # Errors
    /// Never.
    pub fn state_prefix(&self, _key: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        Err(Error::Placeholder)
    }
}
