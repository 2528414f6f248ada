//! `QUERY` events: transaction control told from statements, and a statement's text and session with it.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | connection id |
//! | 4 | seconds it took |
//! | 1 | length of the database name |
//! | 2 | error code |
//! | 2 | length of the status variables |
//! | n | status variables: code and value, the length known by the code |
//! | n + 1 | database name and a zero byte |
//! | rest | the text |

use std::borrow::Cow;

use super::collations::Collations;
use super::compressed::decompress;
use super::cursor::Cursor;
use super::error::BinlogError;
use crate::codec::row_image::shown_text;
use crate::model::Xid;

/// A `QUERY` event.
#[derive(Debug)]
pub(super) struct Query<'a> {
    /// The connection that ran it.
    pub(super) connection: u32,
    pub(super) database: &'a [u8],
    pub(super) error_code: u16,
    pub(super) sql_mode: u64,
    /// Collation id of the text (`character_set_client`); `None`: not told.
    client_charset: Option<u16>,
    pub(super) sql: Cow<'a, [u8]>,
}

impl<'a> Query<'a> {
    pub(super) fn parse(data: &'a [u8], compressed: bool) -> Result<Self, BinlogError> {
        Self::parse_with(data, 0, compressed)
    }

    /// An `EXECUTE_LOAD_QUERY`: 13 bytes more in front of the status variables, about the file.
    pub(super) fn parse_load(data: &'a [u8]) -> Result<Self, BinlogError> {
        Self::parse_with(data, 13, false)
    }

    fn parse_with(data: &'a [u8], more: usize, compressed: bool) -> Result<Self, BinlogError> {
        let mut cursor = Cursor::new(data);
        let part = "query header";
        let connection = cursor.u32(part)?;
        cursor.take(4, part)?;
        let database_len = usize::from(cursor.u8(part)?);
        let error_code = cursor.u16(part)?;
        let status_len = usize::from(cursor.u16(part)?);
        cursor.take(more, part)?;
        let (sql_mode, client_charset) = session(cursor.take(status_len, "status variables")?);
        let database = cursor.take(database_len, "database name")?;
        cursor.u8("database name")?;
        let sql =
            if compressed { Cow::Owned(decompress(cursor.rest(), "statement")?) } else { Cow::Borrowed(cursor.rest()) };
        Ok(Self { connection, database, error_code, sql_mode, client_charset, sql })
    }

    /// The text as UTF-8. It is a hint for the reader of statements, so what is not text of its character set is replaced:
    /// the schema of every row comes from `TABLE_MAP`, never from here.
    pub(super) fn text(sql: Cow<'a, [u8]>, client_charset: Option<u16>, collations: &Collations) -> Cow<'a, str> {
        let charset = client_charset.and_then(|id| collations.charset(u64::from(id)));
        if let Some(charset) = charset
            && !matches!(charset.as_str(), "utf8mb4" | "utf8mb3" | "ascii" | "binary")
            && let Some(text) = shown_text(&sql, charset)
        {
            return Cow::Owned(text);
        }
        match sql {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    pub(super) fn client_charset(&self) -> Option<u16> {
        self.client_charset
    }
}

/// `sql_mode` and the client's character set. The variables come in the order in which the server's code writes them;
/// reading stops at the first one behind these, whose length need not be known then.
fn session(status: &[u8]) -> (u64, Option<u16>) {
    const FLAGS2: u8 = 0;
    const SQL_MODE: u8 = 1;
    const AUTO_INCREMENT: u8 = 3;
    const CHARSET: u8 = 4;
    const CATALOG: u8 = 6;

    let mut cursor = Cursor::new(status);
    let (mut sql_mode, mut charset) = (0, None);
    let part = "status variables";
    let mut read = || -> Result<bool, BinlogError> {
        match cursor.u8(part)? {
            FLAGS2 | AUTO_INCREMENT => cursor.u32(part).map(|_| true),
            SQL_MODE => {
                sql_mode = cursor.u64(part)?;
                Ok(true)
            }
            CATALOG => {
                let len = usize::from(cursor.u8(part)?);
                cursor.take(len, part).map(|_| true)
            }
            CHARSET => {
                charset = Some(cursor.u16(part)?);
                Ok(false)
            }
            _ => Ok(false),
        }
    };
    // Cut variables are as good as absent ones: they only refine a hint.
    while read().unwrap_or(false) {}
    (sql_mode, charset)
}

/// What a `QUERY` does to the transaction it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Begin,
    Commit,
    Rollback,
    /// Sets or releases a savepoint: no row changes.
    Savepoint,
    RollbackToSavepoint,
    XaStart,
    XaEnd,
    /// `XA COMMIT` of what was prepared before: a group of its own.
    XaCommit,
    /// `XA ROLLBACK` of what was prepared before: a group of its own.
    XaRollback,
    /// None of these: a statement.
    Statement,
}

/// Reads the leading words. The server writes control statements itself, in one spelling, so that this need not parse.
pub(super) fn control(sql: &[u8]) -> Control {
    let starts = |words: &str| {
        sql.get(..words.len()).is_some_and(|head| head.eq_ignore_ascii_case(words.as_bytes()))
            && sql.get(words.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
    };
    // The first byte decides for nearly all statements.
    match sql.first().map(u8::to_ascii_uppercase) {
        Some(b'B') if sql.eq_ignore_ascii_case(b"BEGIN") => Control::Begin,
        Some(b'C') if sql.eq_ignore_ascii_case(b"COMMIT") => Control::Commit,
        Some(b'R') if sql.eq_ignore_ascii_case(b"ROLLBACK") => Control::Rollback,
        Some(b'R') if starts("ROLLBACK TO") => Control::RollbackToSavepoint,
        Some(b'R') if starts("RELEASE SAVEPOINT") => Control::Savepoint,
        Some(b'S') if starts("SAVEPOINT") => Control::Savepoint,
        Some(b'S') if starts("START TRANSACTION") => Control::Begin,
        Some(b'X') if starts("XA START") || starts("XA BEGIN") => Control::XaStart,
        Some(b'X') if starts("XA END") => Control::XaEnd,
        Some(b'X') if starts("XA COMMIT") => Control::XaCommit,
        Some(b'X') if starts("XA ROLLBACK") => Control::XaRollback,
        _ => Control::Statement,
    }
}

/// The name in `XA START name`, `XA COMMIT name`, and their kin. One that cannot be read is its text: the server writes the same one each
/// time, and the end of a transaction of another text is that of an unknown one.
pub(super) fn xid(sql: &[u8]) -> Xid {
    let name = sql.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    std::str::from_utf8(name).ok().and_then(Xid::parse).unwrap_or_else(|| Xid::of_text(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_two_phase_transaction_is_read_from_its_statements() {
        let name = Xid { format: 7, gtrid: vec![0, 0xff], bqual: b"b".to_vec() };
        for statement in ["XA START", "XA COMMIT", "xa rollback"] {
            let sql = format!("{statement} X'00ff',X'62',7");
            assert_eq!(xid(sql.as_bytes()), name, "{sql}");
        }
        for (sql, text) in [("XA START", ""), ("XA COMMIT 'a'", "'a'"), ("XA COMMIT X'0',X'62',7", "X'0',X'62',7")] {
            assert_eq!(xid(sql.as_bytes()), Xid::of_text(text.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn control_statements_are_told_from_statements() {
        for (sql, expected) in [
            ("BEGIN", Control::Begin),
            ("COMMIT", Control::Commit),
            ("ROLLBACK", Control::Rollback),
            ("ROLLBACK TO `a`", Control::RollbackToSavepoint),
            ("SAVEPOINT `a`", Control::Savepoint),
            ("XA START X'61',X'',1", Control::XaStart),
            ("XA END X'61',X'',1", Control::XaEnd),
            ("XA COMMIT X'61',X'',1", Control::XaCommit),
            ("XA ROLLBACK X'61',X'',1", Control::XaRollback),
            ("XA RECOVER", Control::Statement),
            ("CREATE TABLE begin (a INT)", Control::Statement),
            ("SAVEPOINTS", Control::Statement),
            ("", Control::Statement),
            ("BEGINNING", Control::Statement),
        ] {
            assert_eq!(control(sql.as_bytes()), expected, "{sql}");
        }
    }

    #[test]
    fn a_query_event_gives_its_session_database_and_text() {
        let status =
            [&[0, 1, 0, 0, 0, 1][..], &4_u64.to_le_bytes(), &[6, 3, b's', b't', b'd', 4, 8, 0, 8, 0, 8, 0, 9]].concat();
        let mut data = vec![0; 8];
        data.push(4);
        data.extend(1146_u16.to_le_bytes());
        data.extend(u16::try_from(status.len()).unwrap().to_le_bytes());
        data.extend(&status);
        data.extend(b"shop\0DROP TABLE a");
        let query = Query::parse(&data, false).unwrap();
        assert_eq!((query.database, query.error_code, query.sql_mode), (&b"shop"[..], 1146, 4));
        assert_eq!(query.client_charset(), Some(8));
        assert_eq!(&*query.sql, b"DROP TABLE a");
        for cut in 0..data.len() - 12 {
            assert!(Query::parse(&data[..cut], false).is_err(), "cut at {cut}");
        }
    }
}
