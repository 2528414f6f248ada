//! Whether a table exists, and whether the account may read it.
//!
//! `information_schema` shows nothing of a table on which the account has no privilege, and only the granted columns where it has a
//! privilege on columns. Opening the table tells one that is hidden from one that is gone.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error};

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
