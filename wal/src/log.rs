//! The handle through which a program holds a log open.
//!
//! Promises: each call that says so has made its change durable when it returns. Only asks: the writer thread does.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::append::Appender;
use crate::command::{Ack, Command, ask};
use crate::cursor::CursorInfo;
use crate::error::Error;
use crate::handle::Handle;
use crate::lsn::{LogId, Lsn};
use crate::open::{self, Options};
use crate::read::Reader;
use crate::stats::Stats;
use crate::tail::Positions;

/// An open log. Clones are the same log; it closes when the last clone and the [`Appender`] are gone, or by [`Wal::shutdown`].
#[derive(Clone, Debug)]
pub struct Wal {
    handle: Arc<Handle>,
}

impl Wal {
    /// Opens the log in `directory`, which is made if it is missing. Discards what a crash left of an unfinished group.
    ///
    /// # Errors
    /// [`Error::Locked`] if the log is open elsewhere, [`Error::NotALog`] or [`Error::UnknownFormat`] if the file is something else,
    /// [`Error::MaxSizeTooSmall`], [`Error::Io`], [`Error::Storage`], [`Error::DamagedRecord`], or [`Error::Thread`].
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Appender), Error> {
        let (handle, appender) = open::open(directory, options)?;
        Ok((Self { handle }, appender))
    }

    /// As [`Wal::open`], on storage that a test provides. There is no lock and no file to measure.
    ///
    /// # Errors
    /// As [`Wal::open`].
    #[doc(hidden)]
    pub fn open_with_backend(backend: impl redb::StorageBackend, options: Options) -> Result<(Self, Appender), Error> {
        let (handle, appender) = open::open_with_backend(backend, options)?;
        Ok((Self { handle }, appender))
    }

    /// The identity of the log.
    pub fn id(&self) -> LogId {
        self.handle.shared().id
    }

    /// A reader of this log.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(self.handle.shared()))
    }

    /// Where the log begins and ends, now and after each commit that changes it.
    pub fn positions(&self) -> watch::Receiver<Positions> {
        self.handle.shared().subscribe()
    }

    /// Numbers about the log.
    ///
    /// # Errors
    /// [`Error::Io`] if the size of the file cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.handle.shared().stats()
    }

    /// The cursors, by name.
    pub fn cursors(&self) -> Vec<CursorInfo> {
        self.handle.shared().cursors()
    }

    /// The failure that put the log out of service, as [`Error::Poisoned`], if one did.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> Result<(), Error> {
        self.handle.shared().check()
    }

    /// The cursor `name`; if there is none, a new one that is done with everything up to `at`, which is the end of a group or
    /// [`Lsn::ZERO`]. From then on the log behind it is kept. An existing cursor stays where it is, detached or not.
    ///
    /// # Errors
    /// For a new cursor: [`Error::Trimmed`], [`Error::BeyondDurable`] or [`Error::NotGroupEnd`] if it cannot stand at `at`,
    /// [`Error::BadCursorName`]. [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub async fn create_cursor(&self, name: &str, at: Lsn) -> Result<CursorInfo, Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::CreateCursor { name, at, reply }).await
    }

    /// Removes the cursor `name` and its claim on the log.
    ///
    /// # Errors
    /// [`Error::NoSuchCursor`]; [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub async fn drop_cursor(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::DropCursor { name, reply }).await
    }

    /// Drops the claim of cursor `name` on the log and marks it: it can no longer be acknowledged. Dropping and creating it makes a
    /// new one. If all cursors are detached, the whole log is trimmed.
    ///
    /// # Errors
    /// As [`Wal::drop_cursor`].
    pub async fn detach_cursor(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::DetachCursor { name, reply }).await
    }

    /// Moves cursor `name`, also one that is detached, to `at`, the end of a group, and attaches it: what it has not read it never reads.
    /// Its token is gone. `state` is stored in the same commit.
    ///
    /// # Errors
    /// [`Error::NoSuchCursor`]; [`Error::Trimmed`], [`Error::BeyondDurable`] or [`Error::NotGroupEnd`] if it cannot be at `at`;
    /// [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub async fn move_cursor(&self, name: &str, at: Lsn, state: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), Error> {
        let name = name.to_owned();
        self.ask(|reply| Command::MoveCursor { name, at, state, reply }).await
    }

    /// Moves the cursor `name` to `lsn`, with `token` and the state changes, in one transaction. Durable on return.
    ///
    /// # Errors
    /// [`Error::AckBackwards`], [`Error::BeyondDurable`] or [`Error::NotGroupEnd`] if it cannot go there, [`Error::NoSuchCursor`],
    /// [`Error::Detached`], [`Error::TokenTooLarge`]; then nothing has changed. [`Error::Poisoned`] or [`Error::Closed`] if the log is out of
    /// service.
    pub async fn ack(
        &self,
        name: &str,
        lsn: Lsn,
        token: &[u8],
        state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), Error> {
        let ack = step(name, lsn, token, state);
        self.ask(|reply| Command::Ack(ack, Some(reply))).await
    }

    /// As [`Wal::ack`], but rides with the next commit, which comes 50 ms later at the latest. Of several for a cursor the last one
    /// counts; their state is merged. A step that is refused puts the log out of service, because nobody waits for the answer; only one
    /// that comes after its cursor was dropped or detached is void.
    ///
    /// # Errors
    /// [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub fn ack_lazily(
        &self,
        name: &str,
        lsn: Lsn,
        token: &[u8],
        state: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), Error> {
        let ack = step(name, lsn, token, state);
        self.handle.sender()?.send(Command::Ack(ack, None)).map_err(|_| self.handle.shared().gone())
    }

    /// Changes state outside of any group. Durable on return.
    ///
    /// # Errors
    /// [`Error::Poisoned`] or [`Error::Closed`] if the log is out of service.
    pub async fn put_state(&self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), Error> {
        self.ask(|reply| Command::PutState(changes, reply)).await
    }

    /// Commits what was sent, stops the writer thread, closes the file and frees the lock. Appends that a full log holds back are
    /// not durable and are dropped.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the log was, or came, out of service. It is closed all the same.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.handle.shutdown().await
    }

    async fn ask<T>(&self, command: impl FnOnce(crate::command::Reply<T>) -> Command) -> Result<T, Error> {
        let sender = self.handle.sender()?;
        ask(self.handle.shared(), &sender, command).await
    }
}

fn step(name: &str, lsn: Lsn, token: &[u8], state: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Ack {
    Ack { cursor: name.to_owned(), lsn, token: token.to_vec(), state }
}
