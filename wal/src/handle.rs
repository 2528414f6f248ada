//! The life of the writer thread: who may talk to it, and who waits for its end.
//!
//! Promises: when the last handle goes, the thread commits what it was sent, stops, and is joined; the lock is free
//! afterwards. [`Handle::shutdown`] does the same earlier and without blocking an executor.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::command::Command;
use crate::error::Error;
use crate::tail::Shared;

/// What [`Wal`](crate::Wal) and [`Appender`](crate::Appender) share. The thread itself holds none of this.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    sender: Sender<Command>,
    join: JoinHandle<()>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, sender: Sender<Command>, join: JoinHandle<()>) -> Self {
        Self { shared, thread: Mutex::new(Some(Thread { sender, join })) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn sender(&self) -> Result<Sender<Command>, Error> {
        self.shared.check()?;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().map(|thread| thread.sender.clone()).ok_or_else(|| self.shared.gone())
    }

    fn take(&self) -> Option<Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stops the thread after it has committed what it was sent.
    pub(crate) async fn shutdown(&self) -> Result<(), Error> {
        let Some(Thread { sender, join }) = self.take() else {
            return self.shared.check();
        };
        let (done, finished) = oneshot::channel();
        if sender.send(Command::Shutdown(done)).is_ok() {
            // The channel closes, without a value, as the last thing that the thread does.
            let closed = finished.await;
            debug_assert!(closed.is_err());
        }
        joined(&self.shared, join);
        self.shared.check()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(Thread { sender, join }) = self.take() {
            drop(sender);
            joined(&self.shared, join);
        }
    }
}

/// The thread catches its own panics, so that this is the last line.
fn joined(shared: &Shared, join: JoinHandle<()>) {
    if join.join().is_err() {
        shared.poison(Error::WriterPanicked("outside its loop".to_owned()));
    }
}
