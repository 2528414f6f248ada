//! The asking side of the socket. It blocks: a command has nothing else to do.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::protocol::{Reply, Request};
use super::socket::SocketPath;

/// A daemon answers at once or is stuck; a part of a long answer (a block of the log) takes no longer either.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon is running on this log")]
    NotRunning,
    /// The connection failed.
    #[error("cannot talk to the daemon")]
    Io(#[source] io::Error),
    /// The daemon ended before its answer did.
    #[error("the daemon ended before its answer did")]
    CutShort,
    /// The answer is not understood.
    #[error("the daemon answers in a form that this version does not know")]
    Malformed(#[source] serde_json::Error),
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What the operator can do.
        hint: Option<String>,
    },
}

/// A connection to the daemon of a log.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the daemon of the log in `directory`.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when there is none; [`ClientError::Io`].
    pub fn connect(directory: &Path) -> Result<Self, ClientError> {
        let nobody = |error: io::Error| match error.kind() {
            // No socket, no directory, or one that a killed daemon left behind.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => ClientError::NotRunning,
            _ => ClientError::Io(error),
        };
        let path = SocketPath::of_log(directory).map_err(nobody)?;
        let stream = UnixStream::connect(path.as_path()).map_err(nobody)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(ClientError::Io)?;
        Ok(Self { stream })
    }

    /// Asks, and hands each item of the answer to `take`, which may stop it with `false`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(mut self, request: &Request, mut take: impl FnMut(Value) -> bool) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::Malformed)?;
        line.push(b'\n');
        self.stream.write_all(&line).map_err(ClientError::Io)?;
        for line in BufReader::new(&self.stream).lines() {
            let line = line.map_err(|error| match error.kind() {
                ErrorKind::ConnectionReset => ClientError::CutShort,
                _ => ClientError::Io(error),
            })?;
            match serde_json::from_str(&line).map_err(ClientError::Malformed)? {
                Reply::Item(item) => {
                    if !take(item) {
                        return Ok(());
                    }
                }
                Reply::Done => return Ok(()),
                Reply::Failed { message, hint } => return Err(ClientError::Refused { message, hint }),
            }
        }
        Err(ClientError::CutShort)
    }

    /// Asks for an answer of one item.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask_one<T: DeserializeOwned>(self, request: &Request) -> Result<T, ClientError> {
        let mut answer = None;
        self.ask(request, |item| {
            answer = Some(item);
            true
        })?;
        serde_json::from_value(answer.ok_or(ClientError::CutShort)?).map_err(ClientError::Malformed)
    }
}
