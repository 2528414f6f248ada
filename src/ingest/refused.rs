//! What the stream met that a start does not: the server has the position, and what follows it cannot be read.
//!
//! A file that was made again under its name, a damaged event, a prepared distributed transaction: only a stream comes to them. So the
//! stream that ends at one stores it, with the position that the log has then. An operator who asks for a new position gets it at the
//! next start. A start that is not asked for one tries again to read on, and once the log has another position, what is stored is over.

use serde::{Deserialize, Serialize};

use crate::codec::state::State;
use crate::codec::stored::{self, Entry, Record, SOURCE_REFUSED};
use crate::error::{Failure, Unusable};
use crate::model::{ServerIdentity, SourcePosition};

/// A position from which the stream could not be read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPosition {
    /// The log's position.
    pub position: SourcePosition,
    /// The server that was read.
    pub server: ServerIdentity,
    /// The server has purged what follows, and has everything that was read.
    pub is_purged: bool,
    /// Why, for an operator.
    pub why: String,
}

impl Record for RefusedPosition {
    const ENTRY: &'static Entry = &SOURCE_REFUSED;
}

impl RefusedPosition {
    /// What has to be stored of an error of the stream: only of one that says that the stream cannot continue there.
    pub fn of(failure: &Failure, position: SourcePosition, server: ServerIdentity) -> Option<Self> {
        let is_purged = failure.unusable? == Unusable::Purged;
        Some(Self { position, server, is_purged, why: failure.fact() })
    }

    /// Whether it is about this position at this server.
    pub fn is_about(&self, position: &SourcePosition, server: &ServerIdentity) -> bool {
        self.position == *position && self.server == *server
    }

    /// The error that the stream ended with.
    pub fn failure(&self) -> Failure {
        Failure::fatal(self.why.clone()).unusable(if self.is_purged { Unusable::Purged } else { Unusable::Otherwise })
    }
}

/// The position at which the stream ended, if it did.
///
/// # Errors
/// When the log cannot be read or the record is damaged.
pub fn refused_position(state: &impl State) -> Result<Option<RefusedPosition>, Failure> {
    stored::get(state, SOURCE_REFUSED.key())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::stored::fixture;

    fn position(pos: u64) -> SourcePosition {
        let server = ServerIdentity::MariaDb { server_id: 1, domain_id: 0 };
        SourcePosition { server, file: "binlog.000003".into(), pos, file_created: 1_700_000_000, gtid: "0-1-9".into() }
    }

    #[test]
    fn a_refused_position_is_stored_as_committed() {
        let refused = |is_purged| RefusedPosition {
            position: position(157),
            server: ServerIdentity::MySql { server_uuid: "3e11fa47-71ca-11e1-9e33-c80aa9429562".into() },
            is_purged,
            why: "cannot read the XA_PREPARE event".into(),
        };
        fixture::check(&[("purged", refused(true)), ("otherwise", refused(false))]);
    }

    #[test]
    fn an_error_is_stored_only_if_it_is_about_the_position_and_counts_only_there() {
        let server = ServerIdentity::MariaDb { server_id: 1, domain_id: 0 };
        let of = |failure: &Failure| RefusedPosition::of(failure, position(4), server.clone());
        assert_eq!(of(&Failure::fatal("access denied")), None);
        for unusable in [Unusable::Purged, Unusable::Otherwise] {
            let refused = of(&Failure::fatal("it is gone").unusable(unusable)).unwrap();
            assert_eq!(refused.failure().unusable, Some(unusable));
            assert!(refused.is_about(&position(4), &server));
            assert!(!refused.is_about(&position(5), &server));
            assert!(!refused.is_about(&position(4), &ServerIdentity::MariaDb { server_id: 2, domain_id: 0 }));
        }
    }
}
