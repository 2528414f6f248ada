//! Collation ids to character sets, as the server itself lists them.

use std::collections::HashMap;

use crate::model::Charset;

/// Id of the collation `binary`: bytes, not text.
pub(super) const BINARY: u64 = 63;

/// Character sets by collation id.
#[derive(Clone, Debug, Default)]
pub struct Collations {
    charsets: HashMap<u64, Charset>,
}

impl Collations {
    /// From (collation id, character set name) pairs.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (u64, &'a str)>) -> Self {
        Self { charsets: pairs.into_iter().map(|(id, name)| (id, Charset::new(name))).collect() }
    }

    /// The character set of a collation.
    pub fn charset(&self, id: u64) -> Option<&Charset> {
        self.charsets.get(&id)
    }
}
