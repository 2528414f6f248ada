//! GTID positions of both servers: text form, membership, and what one set says about another.
//!
//! A MySQL set ([`GtidSet`]) is kept whole, with its gaps and tags: flattening it to its maximum skips transactions that
//! committed out of order. A MariaDB position ([`GtidList`]) is one GTID for each domain, because within a domain the
//! binlog is a single ordered stream.

mod list;
mod set;

pub use list::{GtidList, Last};
pub use set::GtidSet;

/// A GTID text that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {expected}")]
pub struct GtidTextError {
    /// The piece that cannot be read.
    pub text: String,
    /// What should stand there.
    pub expected: &'static str,
}

impl GtidTextError {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.to_owned(), expected }
    }
}
