//! The connections that read chunks: so many as chunks are read at once. They outlive a session of the stream, so each
//! knows whose server it is to: what is read for a stream of another server is refused, and the connections with it.

use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::Conn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::session::{Server, Sessions};
use crate::error::Failure;
use crate::model::ServerIdentity;
use crate::source::mysql::stream_server::another;

/// A place for one chunk in work, with its connections. Whoever holds it may buffer one chunk.
#[derive(Debug)]
pub(super) struct Slot {
    /// For rows.
    pub(super) reader: Conn,
    /// For everything else.
    pub(super) control: Conn,
    /// What both are to.
    pub(super) server: Server,
    identity: ServerIdentity,
    permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Refuses to read for a stream of another server. Asked once the stream has said where it is: before that, it may
    /// move.
    pub(super) fn require(&self, stream: &ServerIdentity) -> Result<(), Failure> {
        if self.identity == *stream { Ok(()) } else { Err(another(stream, &self.identity)) }
    }
}

/// The connections of a place, while nobody holds it.
#[derive(Debug)]
struct Kept {
    reader: Conn,
    control: Conn,
    server: Server,
    identity: ServerIdentity,
}

/// The connections that read chunks.
#[derive(Debug)]
pub(super) struct Slots {
    sessions: Sessions,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Kept>>,
}

impl Slots {
    pub(super) fn new(sessions: Sessions, count: usize) -> Self {
        Self { sessions, places: Arc::new(Semaphore::new(count)), idle: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn take(&self) -> Result<Slot, Failure> {
        let permit = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| Failure::fatal("the snapshot's readers are closed"))?;
        let identity = self.sessions.stream_identity();
        let kept = loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match kept {
                // The stream has gone to another server since.
                Some(kept) if kept.identity != identity => {
                    close(kept.reader).await;
                    close(kept.control).await;
                }
                kept => break kept,
            }
        };
        let Kept { reader, control, server, identity } = match kept {
            Some(kept) => kept,
            None => {
                let reader = self.sessions.reader_of(&identity).await?;
                let (control, server) = self.sessions.control_of(&identity).await?;
                Kept { reader, control, server, identity }
            }
        };
        Ok(Slot { reader, control, server, identity, permit })
    }

    /// Takes a place back with connections that are in order.
    pub(super) fn give_back(&self, slot: Slot) {
        let Slot { reader, control, server, identity, permit } = slot;
        let kept = Kept { reader, control, server, identity };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        drop(permit);
    }

    /// Takes a place back whose connections may be broken, locked, inside a transaction, or have rows pending.
    pub(super) async fn discard(&self, slot: Slot) {
        let Slot { reader, control, permit, .. } = slot;
        close(reader).await;
        close(control).await;
        drop(permit);
    }

    /// Puts a fresh reader into a slot whose old one has rows pending that nobody wants.
    pub(super) async fn renew(&self, slot: &mut Slot) -> Result<(), Failure> {
        let fresh = self.reader_like(slot).await?;
        let old = std::mem::replace(&mut slot.reader, fresh);
        close(old).await;
        Ok(())
    }

    /// Another connection for rows, to the slot's server.
    pub(super) async fn reader_like(&self, slot: &Slot) -> Result<Conn, Failure> {
        self.sessions.reader_of(&slot.identity).await
    }
}

/// Closes a connection at once. Dropping it would first read the rows that are pending to their end.
async fn close(conn: Conn) {
    if let Err(error) = conn.disconnect().await {
        tracing::debug!(%error, "a connection of the snapshot did not close in good order");
    }
}
