//! Every event type that either server writes, in one table with what is done about it. A type that is not in it stops
//! the stream: an event that nobody understands may carry rows.

/// `QUERY_EVENT`.
pub const QUERY: u8 = 2;
/// `STOP_EVENT`.
pub const STOP: u8 = 3;
/// `ROTATE_EVENT`.
pub const ROTATE: u8 = 4;
/// `FORMAT_DESCRIPTION_EVENT`.
pub const FORMAT_DESCRIPTION: u8 = 15;
/// `XID_EVENT`.
pub const XID: u8 = 16;
/// `TABLE_MAP_EVENT`.
pub const TABLE_MAP: u8 = 19;
/// `WRITE_ROWS_EVENT_V1`.
pub const WRITE_ROWS_V1: u8 = 23;
/// `UPDATE_ROWS_EVENT_V1`.
pub const UPDATE_ROWS_V1: u8 = 24;
/// `DELETE_ROWS_EVENT_V1`.
pub const DELETE_ROWS_V1: u8 = 25;
/// `HEARTBEAT_LOG_EVENT`.
pub const HEARTBEAT: u8 = 27;
/// `WRITE_ROWS_EVENT`.
pub const WRITE_ROWS: u8 = 30;
/// `UPDATE_ROWS_EVENT`.
pub const UPDATE_ROWS: u8 = 31;
/// `DELETE_ROWS_EVENT`.
pub const DELETE_ROWS: u8 = 32;
/// `GTID_LOG_EVENT`.
pub const GTID: u8 = 33;
/// `ANONYMOUS_GTID_LOG_EVENT`.
pub const ANONYMOUS_GTID: u8 = 34;
/// `PREVIOUS_GTIDS_LOG_EVENT`.
pub const PREVIOUS_GTIDS: u8 = 35;
/// `XA_PREPARE_LOG_EVENT`.
pub const XA_PREPARE: u8 = 38;
/// `EXECUTE_LOAD_QUERY_EVENT`.
pub const EXECUTE_LOAD_QUERY: u8 = 18;
/// `PARTIAL_UPDATE_ROWS_EVENT`.
pub const PARTIAL_UPDATE_ROWS: u8 = 39;
/// `TRANSACTION_PAYLOAD_EVENT`.
pub const TRANSACTION_PAYLOAD: u8 = 40;
/// `HEARTBEAT_LOG_EVENT_V2`.
pub const HEARTBEAT_V2: u8 = 41;
/// `GTID_TAGGED_LOG_EVENT`.
pub const GTID_TAGGED: u8 = 42;
/// MariaDB `GTID_EVENT`.
pub const MARIADB_GTID: u8 = 162;
/// MariaDB `QUERY_COMPRESSED_EVENT`.
pub const QUERY_COMPRESSED: u8 = 165;
/// MariaDB `WRITE_ROWS_COMPRESSED_EVENT_V1`.
pub const WRITE_ROWS_COMPRESSED_V1: u8 = 166;
/// MariaDB `UPDATE_ROWS_COMPRESSED_EVENT_V1`.
pub const UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
/// MariaDB `DELETE_ROWS_COMPRESSED_EVENT_V1`.
pub const DELETE_ROWS_COMPRESSED_V1: u8 = 168;
/// MariaDB `WRITE_ROWS_COMPRESSED_EVENT`.
pub const WRITE_ROWS_COMPRESSED: u8 = 169;
/// MariaDB `UPDATE_ROWS_COMPRESSED_EVENT`.
pub const UPDATE_ROWS_COMPRESSED: u8 = 170;
/// MariaDB `DELETE_ROWS_COMPRESSED_EVENT`.
pub const DELETE_ROWS_COMPRESSED: u8 = 171;

/// What is done about a type of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The decoder reads it.
    Decoded,
    /// It is known to carry neither rows nor a change of a table, and is passed over.
    WithoutRows,
    /// It carries changes that this version does not read: the stream stops, and the text says the way out.
    Refused(&'static str),
    /// Nobody knows what it is: the stream stops.
    Unknown,
}

const OLD_SERVER: &str = "written only by servers older than MySQL 5.1";

/// Name of the type and its treatment.
pub fn describe(kind: u8) -> (&'static str, Treatment) {
    use Treatment::{Decoded, Refused, Unknown, WithoutRows};
    match kind {
        QUERY => ("QUERY", Decoded),
        STOP => ("STOP", WithoutRows),
        ROTATE => ("ROTATE", Decoded),
        // A statement's context; the statement itself follows as QUERY and is judged there.
        5 => ("INTVAR", WithoutRows),
        13 => ("RAND", WithoutRows),
        14 => ("USER_VAR", WithoutRows),
        FORMAT_DESCRIPTION => ("FORMAT_DESCRIPTION", Decoded),
        XID => ("XID", Decoded),
        1 => ("START_V3", Refused(OLD_SERVER)),
        6 => ("LOAD", Refused(OLD_SERVER)),
        8 => ("CREATE_FILE", Refused(OLD_SERVER)),
        10 => ("EXEC_LOAD", Refused(OLD_SERVER)),
        12 => ("NEW_LOAD", Refused(OLD_SERVER)),
        // The file of a LOAD DATA in statement format; the statement itself follows as EXECUTE_LOAD_QUERY and is judged there.
        9 => ("APPEND_BLOCK", WithoutRows),
        11 => ("DELETE_FILE", WithoutRows),
        17 => ("BEGIN_LOAD_QUERY", WithoutRows),
        EXECUTE_LOAD_QUERY => ("EXECUTE_LOAD_QUERY", Decoded),
        TABLE_MAP => ("TABLE_MAP", Decoded),
        20 => ("PRE_GA_WRITE_ROWS", Refused(OLD_SERVER)),
        21 => ("PRE_GA_UPDATE_ROWS", Refused(OLD_SERVER)),
        22 => ("PRE_GA_DELETE_ROWS", Refused(OLD_SERVER)),
        WRITE_ROWS_V1 => ("WRITE_ROWS_V1", Decoded),
        UPDATE_ROWS_V1 => ("UPDATE_ROWS_V1", Decoded),
        DELETE_ROWS_V1 => ("DELETE_ROWS_V1", Decoded),
        26 => (
            "INCIDENT",
            Refused(
                "the source lost events (see its error log); `replicator start --resync` continues after that and reads every table again",
            ),
        ),
        HEARTBEAT => ("HEARTBEAT", Decoded),
        28 => ("IGNORABLE", WithoutRows),
        29 => ("ROWS_QUERY", WithoutRows),
        WRITE_ROWS => ("WRITE_ROWS", Decoded),
        UPDATE_ROWS => ("UPDATE_ROWS", Decoded),
        DELETE_ROWS => ("DELETE_ROWS", Decoded),
        GTID => ("GTID", Decoded),
        ANONYMOUS_GTID => ("ANONYMOUS_GTID", Decoded),
        PREVIOUS_GTIDS => ("PREVIOUS_GTIDS", WithoutRows),
        // Group Replication's certification data and membership changes.
        36 => ("TRANSACTION_CONTEXT", WithoutRows),
        37 => ("VIEW_CHANGE", WithoutRows),
        XA_PREPARE => ("XA_PREPARE", Decoded),
        PARTIAL_UPDATE_ROWS => ("PARTIAL_UPDATE_ROWS", Decoded),
        TRANSACTION_PAYLOAD => ("TRANSACTION_PAYLOAD", Decoded),
        HEARTBEAT_V2 => ("HEARTBEAT_V2", Decoded),
        GTID_TAGGED => ("GTID_TAGGED", Decoded),
        160 => ("ANNOTATE_ROWS", WithoutRows),
        161 => ("BINLOG_CHECKPOINT", WithoutRows),
        MARIADB_GTID => ("GTID", Decoded),
        163 => ("GTID_LIST", WithoutRows),
        // The server decrypts its files before it sends them.
        164 => ("START_ENCRYPTION", WithoutRows),
        QUERY_COMPRESSED => ("QUERY_COMPRESSED", Decoded),
        WRITE_ROWS_COMPRESSED_V1 => ("WRITE_ROWS_COMPRESSED_V1", Decoded),
        UPDATE_ROWS_COMPRESSED_V1 => ("UPDATE_ROWS_COMPRESSED_V1", Decoded),
        DELETE_ROWS_COMPRESSED_V1 => ("DELETE_ROWS_COMPRESSED_V1", Decoded),
        WRITE_ROWS_COMPRESSED => ("WRITE_ROWS_COMPRESSED", Decoded),
        UPDATE_ROWS_COMPRESSED => ("UPDATE_ROWS_COMPRESSED", Decoded),
        DELETE_ROWS_COMPRESSED => ("DELETE_ROWS_COMPRESSED", Decoded),
        _ => ("unknown", Unknown),
    }
}
