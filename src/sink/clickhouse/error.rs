//! What the server says no with, and what it means for the sink.
//!
//! An answer is about the moment (tried again), about one table (that table stops), or about the whole sink. Codes are those of
//! the server's `ErrorCodes.cpp`; a code that is not listed is about the table whose statement it answers.
//!
//! Parts of the server's messages that quote rows are cut off before anybody sees them.

use std::time::Duration;

use super::names::shown;
use crate::config::Password;
use crate::error::Failure;
use crate::tls::{tls_error, tls_hint, tls_may_recover};

/// How far a refusal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It may be gone in a moment.
    Moment,
    /// The table of the statement.
    Table,
    /// Every table.
    Sink,
}

/// A request that did not do what it was to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    /// The server's code, if the server answered.
    pub(super) code: Option<u32>,
    /// How far it reaches.
    pub(super) reach: Reach,
    message: String,
    /// What to do about it, if it is not about a code.
    hint: Option<String>,
    /// Nothing was heard in time.
    is_timeout: bool,
}

/// Codes of what may be gone in a moment: load, network, disk, keeper.
const MOMENT: [u32; 41] = [
    3,    // UNEXPECTED_END_OF_FILE: the body was cut
    23,   // CANNOT_READ_FROM_ISTREAM
    24,   // CANNOT_WRITE_TO_OSTREAM
    33,   // CANNOT_READ_ALL_DATA: the body was cut inside a value
    74,   // CANNOT_READ_FROM_FILE_DESCRIPTOR
    75,   // CANNOT_WRITE_TO_FILE_DESCRIPTOR
    76,   // CANNOT_OPEN_FILE
    95,   // CANNOT_READ_FROM_SOCKET
    96,   // CANNOT_WRITE_TO_SOCKET
    159,  // TIMEOUT_EXCEEDED
    160,  // TOO_SLOW
    172,  // CANNOT_CREATE_DIRECTORY
    173,  // CANNOT_ALLOCATE_MEMORY
    198,  // DNS_ERROR
    201,  // QUOTA_EXCEEDED
    202,  // TOO_MANY_SIMULTANEOUS_QUERIES
    203,  // NO_FREE_CONNECTION
    204,  // CANNOT_FSYNC
    209,  // SOCKET_TIMEOUT
    210,  // NETWORK_ERROR
    225,  // NO_ZOOKEEPER
    236,  // ABORTED
    241,  // MEMORY_LIMIT_EXCEEDED
    242,  // TABLE_IS_READ_ONLY
    243,  // NOT_ENOUGH_SPACE
    252,  // TOO_MANY_PARTS
    285,  // TOO_FEW_LIVE_REPLICAS
    286,  // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319,  // UNKNOWN_STATUS_OF_INSERT
    341,  // UNFINISHED
    384,  // PART_IS_TEMPORARILY_LOCKED
    394,  // QUERY_WAS_CANCELLED
    425,  // SYSTEM_ERROR
    439,  // CANNOT_SCHEDULE_TASK
    473,  // DEADLOCK_AVOIDED
    499,  // S3_ERROR
    517,  // CANNOT_ASSIGN_ALTER
    571,  // DATABASE_REPLICATION_FAILED
    999,  // KEEPER_EXCEPTION
    1000, // POCO_EXCEPTION: what the network library throws
    1001, // STD_EXCEPTION: what the system below throws, a full or read-only disk
];

/// Those of [`MOMENT`] that can be about one table while others are written to: its size, its parts, its replicas. The others are
/// about the network, the disk or the server, whatever table the statement is for.
const OF_ONE_TABLE: [u32; 13] = [159, 160, 241, 242, 243, 252, 285, 286, 319, 341, 384, 473, 517];

/// `TIMEOUT_EXCEEDED` and `MEMORY_LIMIT_EXCEEDED`.
const TOO_MUCH: [u32; 2] = [159, 241];

/// Codes of what can be about a row of an INSERT, and not about its table: what a constraint or a materialized view says of its values.
const OF_ROWS: [u32; 20] = [
    6,   // CANNOT_PARSE_TEXT
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    69,  // ARGUMENT_OUT_OF_BOUND
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    131, // TOO_LARGE_STRING_SIZE
    153, // ILLEGAL_DIVISION
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
    407, // DECIMAL_OVERFLOW
    467, // CANNOT_PARSE_BOOL
    469, // VIOLATED_CONSTRAINT
    675, // CANNOT_PARSE_IPV4
    676, // CANNOT_PARSE_IPV6
    691, // UNKNOWN_ELEMENT_OF_ENUM
];

/// Those of [`OF_ROWS`] whose message quotes what an operator has written, and no value: of `throwIf`, and of a constraint.
const WITHOUT_VALUES: [u32; 2] = [395, 469];

/// Codes of a user or a password that is not accepted, as in [`SINK`].
pub(super) const NOT_LET_IN: [u32; 4] = [192, 193, 194, 516];

/// Codes of what is wrong for every table, and what to do about it.
const SINK: [(u32, &str); 10] = [
    (81, "create the database, or set the sink's `database`"), // UNKNOWN_DATABASE
    (115, "correct the sink's `settings`"),                    // UNKNOWN_SETTING
    (164, "the user's profile must not be `readonly`"),        // READONLY
    (192, "set the sink's `user`, and its password in the environment or `password_file`"), // UNKNOWN_USER
    (193, "set the sink's `user`, and its password in the environment or `password_file`"), // WRONG_PASSWORD
    (194, "set the sink's `user`, and its password in the environment or `password_file`"), // REQUIRED_PASSWORD
    (452, "correct the sink's `settings`, or the constraints of the user's profile"), // SETTING_CONSTRAINT_VIOLATION
    (497, "grant it: replicator check shows the statement"),   // ACCESS_DENIED
    (516, "set the sink's `user`, and its password in the environment or `password_file`"), // AUTHENTICATION_FAILED
    (195, "the server does not let this address in"),          // IP_ADDRESS_NOT_ALLOWED
];

impl Refused {
    fn without_code(reach: Reach, message: String) -> Self {
        Self { code: None, reach, message, hint: None, is_timeout: false }
    }

    /// A request that cannot be made, for any table.
    pub(super) fn impossible(error: &dyn std::error::Error) -> Self {
        Self::without_code(Reach::Sink, format!("the request cannot be made: {error}"))
    }

    /// Where the user was let in with another password of the same file before, a denial passes: an operator is changing it.
    pub(super) fn under(self, password: &Password) -> Self {
        if !self.code.is_some_and(|code| NOT_LET_IN.contains(&code)) || !password.may_change() {
            return self;
        }
        let hint =
            "the sink's password_file holds another password than the server accepts; it is read again at each try";
        Self { reach: Reach::Moment, hint: Some(hint.to_owned()), ..self }
    }

    /// Whether it can be about some of the rows alone.
    pub(super) fn is_of_rows(&self) -> bool {
        self.reach == Reach::Table && self.code.is_some_and(|code| OF_ROWS.contains(&code))
    }

    /// What the server said, instead of doing it.
    pub(super) fn answered(text: &str) -> Self {
        let code = code(text);
        let reach = match code {
            None => Reach::Moment,
            Some(code) if MOMENT.contains(&code) => Reach::Moment,
            Some(code) if SINK.iter().any(|(known, _)| *known == code) => Reach::Sink,
            Some(_) => Reach::Table,
        };
        Self { code, reach, message: without_rows(text), hint: None, is_timeout: false }
    }

    /// There is no answer to be read, or no whole one.
    pub(super) fn from_network(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        clickhouse::error::Error::Network(error).into()
    }

    /// There is no answer to be read. What is wrong with TLS, or with what is spoken at the port, stays so until a person changes it.
    fn of_connection(error: &(dyn std::error::Error + 'static), message: String) -> Self {
        let (reach, hint) = match tls_error(error) {
            Some(error) if tls_may_recover(error) => (Reach::Moment, None),
            Some(error) => (Reach::Sink, Some(tls_hint(error, "the sink's "))),
            None if is_not_http(error) => (
                Reach::Sink,
                Some("check that the port in the sink's url is that of ClickHouse's HTTP interface; if it speaks TLS, write https".to_owned()),
            ),
            None => (Reach::Moment, None),
        };
        Self { code: None, reach, message, hint, is_timeout: false }
    }

    /// Nothing was heard in time: what became of the request is not known.
    pub(super) fn timed_out(limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        let message =
            format!("no answer within {limit}, what became of the request is not known (`timeout` of the sink)");
        Self { is_timeout: true, ..Self::without_code(Reach::Moment, message) }
    }

    /// The task was taken down with its runtime.
    pub(super) fn interrupted(error: &tokio::task::JoinError) -> Self {
        Self::without_code(Reach::Moment, format!("the request was interrupted: {error}"))
    }

    /// Its rows were given up before they were whole.
    pub(super) fn abandoned() -> Self {
        Self::without_code(Reach::Moment, "the batch was given up".to_owned())
    }

    /// The answer is not what the query asks for.
    pub(super) fn unreadable(error: &serde_json::Error) -> Self {
        // The error's text may quote the answer.
        let message =
            format!("the answer cannot be read, at its column {}: is it a ClickHouse server?", error.column());
        Self::without_code(Reach::Moment, message)
    }

    /// A statement that cannot be made, for one table.
    pub(super) fn refused_here(message: String) -> Self {
        Self::without_code(Reach::Table, message)
    }

    /// Whether the server itself said no, for the moment.
    pub(super) fn is_answer_for_now(&self) -> bool {
        self.reach == Reach::Moment && self.code.is_some()
    }

    /// Whether the server has no memory for anybody: then no table is to blame. 26.9 says `(total) memory limit exceeded`, and `Query`
    /// or `User` for the limits that one statement meets; older servers `Memory limit (total) exceeded`.
    pub(super) fn is_of_whole_server(&self) -> bool {
        /// `MEMORY_LIMIT_EXCEEDED`.
        const MEMORY: Option<u32> = Some(241);
        self.code == MEMORY && self.message.contains("(total)")
    }

    /// Whether it may stay so for one table while others are written to.
    pub(super) fn is_of_one_table(&self) -> bool {
        self.is_answer_for_now()
            && self.code.is_some_and(|code| OF_ONE_TABLE.contains(&code))
            && !self.is_of_whole_server()
    }

    /// Whether less at once may be taken: what was asked for needs more memory, or more time, than the server gives.
    pub(super) fn is_too_much(&self) -> bool {
        self.reach == Reach::Moment && self.code.is_some_and(|code| TOO_MUCH.contains(&code))
    }

    /// Whether nothing was heard in time.
    pub(super) fn is_timeout(&self) -> bool {
        self.is_timeout
    }

    /// The refusal that a failure came from.
    pub(super) fn of(failure: &Failure) -> Option<&Self> {
        failure.source.as_deref()?.downcast_ref()
    }

    /// With the statement that was refused, which holds no row.
    pub(super) fn of_statement(mut self, sql: &str) -> Self {
        self.message = format!("`{}`: {}", shown(sql), self.message);
        self
    }

    /// With the statement that a slice is part of, and which slice. The slice's own statement holds values of keys.
    pub(super) fn of_slice(mut self, sql: &str, slice: &str) -> Self {
        self.message = format!("`{}`, {slice}: {}", shown(sql), self.message);
        self
    }

    /// As the failure of `what`.
    pub(super) fn failure(self, what: &str) -> Failure {
        match self.reach {
            Reach::Moment => {
                let hint = self.hint.clone();
                let failure = Failure::retry(format!("cannot {what}")).caused_by(self);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            Reach::Table => Failure::row(format!("cannot {what}")).caused_by(self),
            Reach::Sink => {
                let known = self.code.and_then(|code| SINK.iter().find(|(known, _)| *known == code));
                let hint = self.hint.clone().or_else(|| known.map(|(_, hint)| (*hint).to_owned()));
                let failure = Failure::fatal(format!("cannot {what}")).caused_by(self);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
        }
    }
}

impl From<clickhouse::error::Error> for Refused {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        match error {
            Error::BadResponse(text) => Self::answered(&text),
            Error::TimedOut => {
                let message = "no answer in time, what became of the request is not known (`timeout` of the sink)";
                Self { is_timeout: true, ..Self::without_code(Reach::Moment, message.to_owned()) }
            }
            Error::InvalidParams(error) => Self::impossible(error.as_ref()),
            other => {
                let mut message = other.to_string();
                let mut cause = std::error::Error::source(&other);
                while let Some(error) = cause {
                    let text = error.to_string();
                    if !message.contains(&text) {
                        message.push_str(": ");
                        message.push_str(&text);
                    }
                    cause = error.source();
                }
                Self::of_connection(&other, message)
            }
        }
    }
}

/// Whether the answer is of another protocol. An answer that is cut off is not.
fn is_not_http(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The number in `Code: N. DB::Exception: ...`.
fn code(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("Code: ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The message up to where the server begins to quote rows.
fn without_rows(text: &str) -> String {
    const QUOTES: [&str; 16] = [
        "Column values:",
        " here: ",
        "JSON column:",
        " value: ",
        "Row 1:",
        "\nRow ",
        "ERROR:",
        "Buffer with",
        "Could not print diagnostic",
        ": While executing",
        // What follows quotes the statement, and that of a slice holds values of keys.
        "while executing",
        "hile processing",
        "In scope ",
        "in scope ",
        " Stack trace",
        ": (while reading",
    ];
    /// Nobody reads more in a log line.
    const LONGEST: usize = 1000;
    let end = QUOTES.iter().filter_map(|quote| text.find(quote)).min().unwrap_or(text.len()).min(LONGEST);
    let mut message: String = text.char_indices().take_while(|(at, _)| *at < end).map(|(_, c)| c).collect();
    message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.truncate(message.trim_end_matches([' ', ':', ',', '.']).len());
    if code(text).is_some_and(|code| OF_ROWS.contains(&code) && !WITHOUT_VALUES.contains(&code)) {
        message = without_quoted(&message);
    }
    message
}

/// The message without what stands in quotes in it. A value may have quotes of its own: all between the first and the last one goes.
fn without_quoted(message: &str) -> String {
    match (message.find('\''), message.rfind('\'')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (message.get(..=first).unwrap_or_default(), message.get(last..).unwrap_or_default());
            format!("{before}...{after}")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    fn refused(text: &str) -> Refused {
        clickhouse::error::Error::BadResponse(text.to_owned()).into()
    }

    #[test]
    fn the_code_tells_how_far_a_refusal_reaches() {
        for (text, code, reach) in [
            ("Code: 252. DB::Exception: Too many parts (300)", Some(252), Reach::Moment),
            ("Code: 60. DB::Exception: Table r.t does not exist. (UNKNOWN_TABLE)", Some(60), Reach::Table),
            ("Code: 516. DB::Exception: default: Authentication failed", Some(516), Reach::Sink),
            ("Code: 81. DB::Exception: Database r does not exist", Some(81), Reach::Sink),
            ("502 Bad Gateway", None, Reach::Moment),
        ] {
            let found = refused(text);
            assert_eq!((found.code, found.reach), (code, reach), "{text}");
        }
    }

    #[test]
    fn memory_that_the_whole_server_lacks_is_no_tables_fault() {
        let total = refused("Code: 241. DB::Exception: (total) memory limit exceeded: would use 1.51 GiB");
        assert!(total.is_answer_for_now() && total.is_of_whole_server());
        let query = refused("Code: 241. DB::Exception: Query memory limit exceeded: would use 10.41 MiB");
        assert!(query.is_answer_for_now() && !query.is_of_whole_server());
        assert!(query.is_of_one_table() && !total.is_of_one_table());
        assert!(!refused("Code: 60. DB::Exception: Table r.t does not exist").is_answer_for_now());
    }

    #[test]
    fn only_what_can_be_about_one_table_counts_as_its_refusal() {
        for code in OF_ONE_TABLE {
            assert!(MOMENT.contains(&code) && refused(&format!("Code: {code}. DB::Exception: no")).is_of_one_table());
        }
        for code in [3, 23, 33, 60, 75, 95, 96, 202, 209, 210, 225, 999, 1000, 1001] {
            assert!(!refused(&format!("Code: {code}. DB::Exception: no")).is_of_one_table(), "{code}");
        }
        assert!(!Refused::timed_out(Duration::from_secs(1)).is_of_one_table());
    }

    #[test]
    fn a_statement_that_the_server_quotes_is_cut_off() {
        for text in [
            "Code: 47. DB::Exception: Unknown identifier `a` in scope SELECT a WHERE k >= 'secret'",
            "Code: 70. DB::Exception: Cannot convert: while executing 'FUNCTION _CAST('secret'_String)'",
            "Code: 43. DB::Exception: Illegal type: While processing k >= 'secret'",
        ] {
            assert!(!refused(text).to_string().contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_quotes_rows_is_cut_off() {
        let text = "Code: 469. DB::Exception: Constraint `c` for table r.t is violated at row 1. Expression: (a > 0). \
                    Column values: a = 4242. (VIOLATED_CONSTRAINT)";
        let message = refused(text).to_string();
        assert!(message.ends_with("Expression: (a > 0)"), "{message}");
        let text =
            "Code: 27. DB::Exception: Cannot parse input: expected ',' before: 'secret'\nRow 1:\nColumn 0, secret";
        assert!(!refused(text).to_string().contains("secret"));
        let text = "Code: 6. DB::Exception: Cannot parse string 'it's secret' as UInt32: syntax error at begin";
        assert!(refused(text).to_string().ends_with("string '...' as UInt32: syntax error at begin"));
        let text = "Code: 395. DB::Exception: no row of 'x': while executing 'FUNCTION throwIf('secret')'";
        assert!(refused(text).to_string().ends_with("no row of 'x'"));
    }

    #[test]
    fn a_refusal_for_all_tables_says_what_to_do() {
        let failure = refused("Code: 516. DB::Exception: default: Authentication failed").failure("open the target");
        assert_eq!(failure.message, "cannot open the target");
        assert!(failure.hint.unwrap().contains("password_file"));
    }

    #[test]
    fn a_denial_passes_once_a_password_of_the_same_file_was_accepted() {
        let denied = || Refused::answered("Code: 516. DB::Exception: replicator: Authentication failed");
        let password = Password::of_file("/nonexistent/password");
        assert_eq!(denied().under(&password).failure("write").class, ErrorClass::Fatal);
        assert_eq!(denied().under(&Password::fixed("x")).failure("write").class, ErrorClass::Fatal);
        password.accepted();
        let failure = denied().under(&password).failure("write");
        assert_eq!(failure.class, ErrorClass::Retry);
        assert!(failure.hint.unwrap().contains("read again at each try"));
        let other = Refused::answered("Code: 497. DB::Exception: not enough privileges");
        assert_eq!(other.under(&password).failure("write").class, ErrorClass::Fatal);
    }
}
