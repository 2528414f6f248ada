//! A session on the wire: statements without a result, one value of one row, and the commands of a replica.

use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use mysql_async::{Error, IoError, ServerError};
use mysql_common::packets::ComRegisterSlave;
use mysql_common::packets::binlog_request::BinlogRequest;
use mysql_common::proto::MySerialize;

use super::login::{self, login};
use super::packets::Packets;
use super::socket::Socket;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::source::mysql::connect::{SESSION, classify, refused};

/// Time for TCP, TLS and login together, as for the driver's connections.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

const COM_QUERY: u8 = 3;

/// A connection that is logged in, with nothing under way on it.
#[derive(Debug)]
pub struct Session {
    packets: Packets<Socket>,
}

impl Session {
    /// Connects, and sets the session as all others are.
    ///
    /// # Errors
    /// A classified [`Failure`].
    pub async fn open(source: &SourcePlan) -> Result<Self, Failure> {
        let server = format!("{}:{}", source.host, source.port);
        let purpose = format!("connect to the source \"{server}\" for the binlog dump");
        let config = login::tls(source)?;
        // The code that encrypts a password panics at a server's key that is none.
        let password = source.password.read()?;
        let attempt = AssertUnwindSafe(Box::pin(login(source, &password, config))).catch_unwind();
        let packets = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(opened)) => opened.map_err(|error| refused(error, &server, source))?,
            Ok(Err(_panic)) => {
                return Err(Failure::fatal(format!(
                    "cannot {purpose}: what it answers to the login cannot be understood"
                )));
            }
            Err(_) => {
                return Err(Failure::retry(format!("cannot {purpose}: no answer in {} s", CONNECT_TIMEOUT.as_secs()))
                    .caused_by(std::io::Error::from(ErrorKind::TimedOut)));
            }
        };
        source.password.accepted();
        let mut session = Self { packets };
        session.execute(SESSION, "set up the binlog dump").await?;
        Ok(session)
    }

    /// Runs a statement without a result.
    ///
    /// # Errors
    /// A classified [`Failure`] that says what the statement was for.
    pub async fn execute(&mut self, sql: &str, purpose: &str) -> Result<(), Failure> {
        self.query(sql).await.map_err(|error| classify(error, purpose)).map(drop)
    }

    /// The texts of the first row of an answer; none if it has no row.
    ///
    /// # Errors
    /// A classified [`Failure`] that says what the statement was for.
    pub async fn row(&mut self, sql: &str, purpose: &str) -> Result<Vec<String>, Failure> {
        self.query(sql).await.map_err(|error| classify(error, purpose))
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<String>, Error> {
        let mut command = vec![COM_QUERY];
        command.extend_from_slice(sql.as_bytes());
        self.packets.command(&command).await.map_err(io)?;
        let head = self.packets.read().await.map_err(io)?;
        let columns = match head {
            [0, ..] => return Ok(Vec::new()),
            [0xff, ..] => return Err(server_error(head)),
            [columns, ..] => usize::from(*columns),
            [] => return Err(unexpected()),
        };
        for _ in 0..columns {
            self.packets.read().await.map_err(io)?;
        }
        let mut first = Vec::new();
        let mut ends = 0;
        // The definitions end with one packet of this kind, the rows with another.
        while ends < 2 {
            let packet = self.packets.read().await.map_err(io)?;
            match packet {
                [0xff, ..] => return Err(server_error(packet)),
                [0xfe, ..] if packet.len() < 9 => ends += 1,
                row if first.is_empty() => first = texts(row, columns).ok_or_else(unexpected)?,
                _ => {}
            }
        }
        Ok(first)
    }

    /// Becomes a dump. Its packets are events from here on.
    ///
    /// # Errors
    /// A classified [`Failure`].
    pub async fn dump(mut self, request: &BinlogRequest<'_>, purpose: &str) -> Result<Packets<Socket>, Failure> {
        let asked = async {
            let mut command = Vec::new();
            ComRegisterSlave::new(request.server_id()).with_hostname(b"replicator").serialize(&mut command);
            self.packets.command(&command).await.map_err(io)?;
            let answer = self.packets.read().await.map_err(io)?;
            if answer.first() != Some(&0) {
                return Err(server_error(answer));
            }
            command.clear();
            request.as_cmd().serialize(&mut command);
            self.packets.command(&command).await.map_err(io)
        };
        asked.await.map_err(|error| classify(error, purpose))?;
        Ok(self.packets)
    }
}

/// The length-encoded texts of a row.
fn texts(row: &[u8], columns: usize) -> Option<Vec<String>> {
    let mut rest = row;
    let mut found = Vec::new();
    for _ in 0..columns {
        let (length, after) = match rest {
            // NULL has no text.
            [0xfb, after @ ..] => (0, after),
            [0xfc, a, b, after @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), after),
            [length @ 0..=0xfa, after @ ..] => (usize::from(*length), after),
            _ => return None,
        };
        let (text, after) = after.split_at_checked(length)?;
        found.push(String::from_utf8(text.to_vec()).ok()?);
        rest = after;
    }
    Some(found)
}

pub(super) fn io(error: std::io::Error) -> Error {
    Error::Io(IoError::Io(error))
}

pub(super) fn unexpected() -> Error {
    io(std::io::Error::new(ErrorKind::InvalidData, "the server sent a packet that has no place here"))
}

/// The error of an ERR packet: `0xff`, the code, and after the login `#` and a state of 5 bytes, then the message.
pub fn server_error(packet: &[u8]) -> Error {
    let [0xff, low, high, rest @ ..] = packet else { return unexpected() };
    let (state, message) = match rest {
        [b'#', a, b, c, d, e, message @ ..] => (String::from_utf8_lossy(&[*a, *b, *c, *d, *e]).into_owned(), message),
        message => ("HY000".to_owned(), message),
    };
    Error::Server(ServerError {
        code: u16::from_le_bytes([*low, *high]),
        message: String::from_utf8_lossy(message).into_owned(),
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_with_and_without_its_state() {
        for packet in [&b"\xff\x15\x04#28000Access denied"[..], b"\xff\x15\x04Access denied"] {
            let Error::Server(error) = server_error(packet) else { panic!("{packet:?}") };
            assert_eq!((error.code, error.message.as_str()), (1045, "Access denied"));
        }
        assert!(matches!(server_error(b"\xff\x15"), Error::Io(_)));
    }

    #[test]
    fn the_texts_of_a_row_are_read() {
        assert_eq!(texts(b"\x02ab\xfb\x01c", 3).unwrap(), ["ab", "", "c"]);
        assert_eq!(texts(b"\x02a", 1), None);
        assert_eq!(texts(b"", 1), None);
    }
}
