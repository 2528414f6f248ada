//! Whether a table exists, and whether the account may read it.
//!
//! `information_schema` shows nothing of a table on which the account has no privilege, and only the granted columns where it has a
//! privilege on columns. Opening the table tells one that is hidden from one that is gone.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Row};

use super::failure::{query_failure, says_broken, says_denied, says_no_such_table};
use super::quote::table_identifier;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::source::mysql::account::Account;

/// What opening a table says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It exists, and the account may read all of its columns. It need not be a base table, and may be a view or a MERGE table of tables
    /// that do not exist.
    Exists,
    /// There is no table of that name.
    NoSuchTable,
    /// The account may not read it. MySQL answers the same where there is no such table, and the account has no privilege that
    /// would let it know.
    Denied {
        /// The statement that grants what is missing.
        grant: String,
    },
    /// The server cannot open it: it is damaged, or what it is made of is not there.
    Broken {
        /// What the server says.
        why: String,
    },
}

impl Existence {
    /// A table that cannot be opened, as an error.
    pub(in crate::source::mysql) fn broken(table: &TableName, why: &str) -> Failure {
        Failure::fatal(format!("the server cannot open table \"{table}\": {why}"))
            .hint("repair the table at the source, or leave it out with source.exclude")
    }
}

/// Opens the table, which waits for a DDL statement of it, and reads nothing. It names every column, so that a privilege on some of
/// them is not enough.
pub(super) fn open_statement(table: &TableName) -> String {
    format!("SELECT * FROM {} LIMIT 0", table_identifier(table))
}

/// Tables that are opened by one packet.
const AT_ONCE: usize = 100;
/// A table that cannot be opened is waited for as long as the session waits for a lock, where another one has it. After
/// so many of them the rest counts as not opened.
const MOST_LOCKED: u32 = 3;
/// A refusal that takes longer is a wait for a lock.
const LONG: Duration = Duration::from_millis(200);

/// Which of the tables can be opened by this account, with all of their columns. Of the others it is not known why.
///
/// # Errors
/// When the server is not there any more.
pub(super) async fn open_those(conn: &mut Conn, tables: &[TableName]) -> Result<Vec<bool>, Failure> {
    let mut opened = Vec::with_capacity(tables.len());
    let mut locked = 0;
    while opened.len() < tables.len() && locked < MOST_LOCKED {
        let mut asked = Instant::now();
        let statements: Vec<String> = tables.iter().skip(opened.len()).take(AT_ONCE).map(open_statement).collect();
        let end = opened.len() + statements.len();
        let mut answers = match conn.query_iter(statements.join("; ")).await {
            Ok(answers) => answers,
            Err(error) => {
                refuse(error)?;
                opened.push(false);
                locked += u32::from(asked.elapsed() >= LONG);
                continue;
            }
        };
        while opened.len() < end {
            // The statements after one that fails are not done.
            if let Err(error) = answers.collect::<Row>().await {
                refuse(error)?;
                opened.push(false);
                locked += u32::from(asked.elapsed() >= LONG);
                break;
            }
            opened.push(true);
            asked = Instant::now();
        }
    }
    opened.resize(tables.len(), false);
    Ok(opened)
}

/// The server's own error is about the table; any other one is about the connection.
fn refuse(error: Error) -> Result<(), Failure> {
    match error {
        Error::Server(_) => Ok(()),
        error => Err(query_failure("open tables", error)),
    }
}

/// Whether the table exists for this account, asked by opening it.
///
/// # Errors
/// The server's.
pub async fn existence(conn: &mut Conn, table: &TableName) -> Result<Existence, Failure> {
    match conn.query_drop(open_statement(table)).await {
        Ok(()) => Ok(Existence::Exists),
        Err(error) if says_broken(&error) => Ok(Existence::Exists),
        Err(error) if says_no_such_table(&error) => Ok(Existence::NoSuchTable),
        Err(error) if says_denied(&error) => {
            let grant = Account::ask(conn).await?.grant("SELECT", &table_identifier(table));
            Ok(Existence::Denied { grant })
        }
        Err(Error::Server(error)) => {
            let failure = query_failure(&format!("open table \"{table}\""), Error::Server(error.clone()));
            // What passes is the server's; anything else is about this table.
            if failure.class == ErrorClass::Fatal {
                Ok(Existence::Broken { why: error.to_string() })
            } else {
                Err(failure)
            }
        }
        Err(error) => Err(query_failure(&format!("open table \"{table}\""), error)),
    }
}
