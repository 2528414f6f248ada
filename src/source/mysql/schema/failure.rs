//! What an error of a query means: try again, or stop.

use mysql_async::Error;

use crate::error::{ErrorClass, Failure};
use crate::source::mysql::connect;

/// `ER_NO_SUCH_TABLE`.
const NO_SUCH_TABLE: u16 = 1146;
/// `ER_BAD_DB_ERROR`.
const NO_SUCH_DATABASE: u16 = 1049;
/// `ER_VIEW_INVALID`: a view of something that is not there.
pub(super) const VIEW_INVALID: u16 = 1356;
/// `ER_WRONG_MRG_TABLE`: a MERGE table of something that is not there.
pub(super) const WRONG_MERGE: u16 = 1168;

/// Errors that say that the table may exist, and is not for this account.
const DENIED: [u16; 3] = [
    1044, // ER_DBACCESS_DENIED_ERROR
    1142, // ER_TABLEACCESS_DENIED_ERROR
    1143, // ER_COLUMNACCESS_DENIED_ERROR
];

/// Errors that pass besides those that pass for every connection ([`connect::classify`]).
const PASSING: [u16; 7] = [
    1037, // ER_OUTOFMEMORY
    1206, // ER_LOCK_TABLE_FULL
    1412, // ER_TABLE_DEF_CHANGED: the table was rebuilt after the read view was opened
    1461, // ER_MAX_PREPARED_STMT_COUNT_REACHED
    1615, // ER_NEED_REPREPARE
    1684, // ER_WARN_I_S_SKIPPED_TABLE: a DDL statement of the table is running
    1969, // MariaDB's ER_STATEMENT_TIMEOUT
];

/// Errors of a statement that was written for another state of the table: gone with the next description, or a mistake.
const OUTDATED: [u16; 4] = [
    1054, // ER_BAD_FIELD_ERROR
    NO_SUCH_TABLE,
    1176,         // ER_KEY_DOES_NOT_EXITS
    VIEW_INVALID, // the table was replaced by a view
];

/// The error of a query, with the class that its cause has. `purpose` is "verb + object".
pub(in crate::source::mysql) fn query_failure(purpose: &str, error: Error) -> Failure {
    let class = match &error {
        Error::Server(server) if PASSING.contains(&server.code) => Some(ErrorClass::Retry),
        Error::Server(server) if OUTDATED.contains(&server.code) => Some(ErrorClass::Row),
        // What the client library finds wrong with a connection is mended by a new one.
        Error::Driver(_) => Some(ErrorClass::Retry),
        Error::Server(_) | Error::Io(_) | Error::Url(_) | Error::Other(_) => None,
    };
    let failure = connect::classify(error, purpose);
    Failure { class: class.unwrap_or(failure.class), ..failure }
}

/// Whether the error says that the table, or its database, does not exist.
pub(in crate::source::mysql) fn says_no_such_table(error: &Error) -> bool {
    matches!(error, Error::Server(server) if matches!(server.code, NO_SUCH_TABLE | NO_SUCH_DATABASE))
}

/// Whether the error says that what is there is a view or a MERGE table of tables that do not exist.
pub(in crate::source::mysql) fn says_broken(error: &Error) -> bool {
    matches!(error, Error::Server(server) if matches!(server.code, VIEW_INVALID | WRONG_MERGE))
}

/// Whether the error says that the table is not for this account. MySQL also says so of tables that do not exist to an account that
/// has no privilege which would let it know.
pub(in crate::source::mysql) fn says_denied(error: &Error) -> bool {
    matches!(error, Error::Server(server) if DENIED.contains(&server.code))
}
