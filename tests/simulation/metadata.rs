//! What the server writes of a table's columns beside its rows (`binlog_row_metadata`).

use replicator::model::Lacks;

/// A history's setting.
#[derive(Clone, Copy, Debug)]
pub enum Metadata {
    Always(Lacks),
    /// Somebody changes it now and then.
    Changing,
}

/// Groups that are written under one setting, while it changes.
const GROUPS: usize = 7;

impl Metadata {
    /// Of the history of a seed. Nothing else of the history goes by it.
    pub fn of(seed: u64) -> Self {
        match seed % 4 {
            0 => Self::Always(Lacks::NOTHING),
            1 => Self::Always(Lacks::MINIMAL),
            2 => Self::Always(Lacks::NO_LOG),
            _ => Self::Changing,
        }
    }

    /// What is not said in an entry of the binlog.
    pub fn at(self, entry: usize) -> Lacks {
        match self {
            Self::Always(lacks) => lacks,
            Self::Changing => match entry / GROUPS % 3 {
                0 => Lacks::NOTHING,
                1 => Lacks::MINIMAL,
                _ => Lacks::NO_LOG,
            },
        }
    }
}
