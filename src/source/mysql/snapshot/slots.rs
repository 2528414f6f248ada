//! The connections that read chunks: so many as chunks are read at once.

use std::sync::{Arc, Mutex, PoisonError};

use mysql_async::Conn;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::session::Sessions;
use crate::error::Failure;

/// A place for one chunk in work, with its connections. Whoever holds it may buffer one chunk.
#[derive(Debug)]
pub(super) struct Slot {
    /// For rows.
    pub(super) reader: Conn,
    /// For everything else.
    pub(super) control: Conn,
    permit: OwnedSemaphorePermit,
}

/// The connections that read chunks.
#[derive(Debug)]
pub(super) struct Slots {
    sessions: Sessions,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<(Conn, Conn)>>,
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
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (reader, control) = match kept {
            Some(connections) => connections,
            None => (self.sessions.reader().await?, self.sessions.control().await?),
        };
        Ok(Slot { reader, control, permit })
    }

    /// Takes a place back with connections that are in order.
    pub(super) fn give_back(&self, slot: Slot) {
        let Slot { reader, control, permit } = slot;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((reader, control));
        drop(permit);
    }

    /// Takes a place back whose connections may be broken, locked, inside a transaction, or have rows pending.
    pub(super) async fn discard(&self, slot: Slot) {
        let Slot { reader, control, permit } = slot;
        close(reader).await;
        close(control).await;
        drop(permit);
    }

    /// Puts a fresh reader into a slot whose old one has rows pending that nobody wants.
    pub(super) async fn renew(&self, slot: &mut Slot) -> Result<(), Failure> {
        let fresh = self.sessions.reader().await?;
        let old = std::mem::replace(&mut slot.reader, fresh);
        close(old).await;
        Ok(())
    }
}

/// Closes a connection at once. Dropping it would first read the rows that are pending to their end.
async fn close(conn: Conn) {
    if let Err(error) = conn.disconnect().await {
        tracing::debug!(%error, "a connection of the snapshot did not close in good order");
    }
}
