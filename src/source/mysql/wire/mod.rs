//! The connection of the binlog dump, in the server's protocol: login, a few statements, packets.
//!
//! All other connections are the driver's ([`connect`](super::connect)). It cannot be used for the dump: it copies every event once more,
//! keeps the longest one's room, and unpacks a compressed transaction as a whole, so that memory grows with what a client writes.
//! Here an event is in memory once, in pieces as they come ([`packets`]), and the room of a large one is given back.
//!
//! Errors are the driver's type, so that they mean the same ([`classify`](super::connect::classify)).

mod login;
mod packets;
mod session;
mod socket;

pub use packets::Packets;
pub use session::{Session, server_error};
pub use socket::Socket;
