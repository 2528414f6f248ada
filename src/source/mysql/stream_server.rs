//! Which server the stream reads, for the connections beside it.
//!
//! What another connection learns about a table counts only if it comes from the stream's server: an address may move
//! to another server, or lead to several. So every connection for questions and for reads of tables asks on opening
//! whose it is, and one that has reached another server is an error that is tried again; its answers are never taken.
//! The [watch](super::watch) hears of it, and decides whether the stream has to follow.

use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::Conn;
use tokio::sync::Notify;

use super::server::Known;
use crate::error::Failure;
use crate::model::ServerIdentity;

/// The server of the stream. Clones are the same.
#[derive(Clone, Debug)]
pub struct StreamServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    identity: Mutex<ServerIdentity>,
    another_met: Notify,
}

impl StreamServer {
    /// For a stream that is going to read this server.
    pub fn new(identity: ServerIdentity) -> Self {
        Self(Arc::new(Shared { identity: Mutex::new(identity), another_met: Notify::new() }))
    }

    /// The stream reads this server from here on.
    pub fn set(&self, identity: ServerIdentity) {
        *self.0.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// The server that the stream reads, or read last.
    pub fn identity(&self) -> ServerIdentity {
        self.0.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks whose connection it is, and refuses any server but the stream's.
    ///
    /// # Errors
    /// To retry, for another server; else a classified [`Failure`].
    pub async fn require(&self, conn: &mut Conn) -> Result<Known, Failure> {
        let known = Known::ask(conn).await?;
        self.require_identity(&known.identity, &self.identity())?;
        Ok(known)
    }

    /// Refuses a connection to `reached` for what is about `wanted`.
    ///
    /// # Errors
    /// To retry, where they differ.
    pub fn require_identity(&self, reached: &ServerIdentity, wanted: &ServerIdentity) -> Result<(), Failure> {
        if reached == wanted {
            return Ok(());
        }
        self.0.another_met.notify_one();
        Err(another(wanted, reached))
    }

    /// Returns when a connection has reached another server since the last call.
    pub(super) async fn another_met(&self) {
        self.0.another_met.notified().await;
    }
}

/// A connection has reached another server than the stream's. It says nothing about a table.
#[derive(Debug, thiserror::Error)]
#[error("the stream reads {stream}, and a new connection to the same address has reached {reached}")]
pub(super) struct AnotherServer {
    stream: ServerIdentity,
    reached: ServerIdentity,
}

/// The stream is at one server, a new connection at another.
pub(super) fn another(stream: &ServerIdentity, reached: &ServerIdentity) -> Failure {
    Failure::retry("cannot use a connection to the source")
        .hint("the address of source.url has moved, or leads to several servers; it must lead to one")
        .caused_by(AnotherServer { stream: stream.clone(), reached: reached.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    fn server(id: u32) -> ServerIdentity {
        ServerIdentity::MariaDb { server_id: id, domain_id: 0 }
    }

    #[tokio::test]
    async fn a_connection_to_another_server_is_refused_and_the_watch_hears_of_it() {
        let stream = StreamServer::new(server(1));
        stream.require_identity(&server(1), &stream.identity()).unwrap();

        stream.set(server(2));
        let failure = stream.require_identity(&server(1), &stream.identity()).unwrap_err();

        assert_eq!(failure.class, ErrorClass::Retry);
        let said = failure.chain();
        assert!(
            said.contains("reads mariadb server_id=2") && said.contains("has reached mariadb server_id=1"),
            "{said}"
        );
        // It is there although it came before the call.
        stream.another_met().await;
    }
}
