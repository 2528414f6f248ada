//! How other commands talk to a running daemon: a unix socket beside the log.
//!
//! The daemon holds the log's lock, so whatever needs the log while it runs is asked through here. Only the user the daemon
//! runs as (and root) is answered. Requests and replies are lines of JSON ([`Request`], [`Reply`]); one request a connection.

mod client;
mod protocol;
mod server;
mod socket;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientError};
pub use protocol::{BackfillJob, BackfillTaken, LettersTaken, Reply, Request, Resync, ResyncTaken, TableTaken};
pub use server::{
    BackfillRequest, ControlServer, Daemon, ResyncRequest, SinkAsk, SinkRequest, TableAsk, TableRequest, forget_sink,
    settle_letters,
};
pub use socket::SOCKET_FILE;
