//! What an error of a query means: try again, or stop.

use mysql_async::Error;

use crate::error::{ErrorClass, Failure};

/// `ER_NO_SUCH_TABLE`.
const NO_SUCH_TABLE: u16 = 1146;
/// `ER_BAD_DB_ERROR`.
const NO_SUCH_DATABASE: u16 = 1049;

/// Errors of the server that pass: the reason of each is its name.
const PASSING: [u16; 26] = [
    1037, // ER_OUTOFMEMORY
    1038, // ER_OUT_OF_SORTMEMORY
    1040, // ER_CON_COUNT_ERROR
    1041, // ER_OUT_OF_RESOURCES
    1053, // ER_SERVER_SHUTDOWN
    1077, // ER_NORMAL_SHUTDOWN
    1079, // ER_SHUTDOWN_COMPLETE
    1152, // ER_ABORTING_CONNECTION
    1158, // ER_NET_READ_ERROR
    1159, // ER_NET_READ_INTERRUPTED
    1160, // ER_NET_ERROR_ON_WRITE
    1161, // ER_NET_WRITE_INTERRUPTED
    1184, // ER_NEW_ABORTING_CONNECTION
    1203, // ER_TOO_MANY_USER_CONNECTIONS
    1205, // ER_LOCK_WAIT_TIMEOUT
    1206, // ER_LOCK_TABLE_FULL
    1213, // ER_LOCK_DEADLOCK
    1226, // ER_USER_LIMIT_REACHED
    1317, // ER_QUERY_INTERRUPTED
    1412, // ER_TABLE_DEF_CHANGED: the table was rebuilt after the read view was opened
    1461, // ER_MAX_PREPARED_STMT_COUNT_REACHED
    1615, // ER_NEED_REPREPARE
    1684, // ER_WARN_I_S_SKIPPED_TABLE: a DDL statement of the table is running
    1969, // MariaDB's ER_STATEMENT_TIMEOUT
    3024, // MySQL's ER_QUERY_TIMEOUT
    3572, // MySQL's ER_LOCK_NOWAIT
];

/// The error of a query, with the class that its cause has.
pub(in crate::source::mysql) fn query_failure(message: impl Into<String>, error: Error) -> Failure {
    let class = match &error {
        Error::Server(server) if PASSING.contains(&server.code) => ErrorClass::Retry,
        Error::Io(_) => ErrorClass::Retry,
        // What the client library finds wrong with a connection is mended by a new one.
        Error::Driver(_) => ErrorClass::Retry,
        Error::Server(_) | Error::Url(_) | Error::Other(_) => ErrorClass::Fatal,
    };
    Failure { class, message: message.into(), hint: None, source: Some(Box::new(error)) }
}

/// Whether the error says that the table, or its database, does not exist.
pub(in crate::source::mysql) fn says_no_such_table(error: &Error) -> bool {
    matches!(error, Error::Server(server) if matches!(server.code, NO_SUCH_TABLE | NO_SUCH_DATABASE))
}
