//! What the tests stand on: real servers, the real daemon, and the comparison of both sides.
//!
//! A test reads arrange, act, assert; whatever takes more than a line of that lives here. Nothing here sleeps to
//! wait for something to be true: every wait polls a condition up to a deadline and then fails with what it saw.
#![allow(dead_code, reason = "support offers more than the tests of a moment use")]

#[macro_use]
mod both_servers;
pub mod cells;
pub mod certificates;
pub mod clickhouse;
pub mod compare;
pub mod copies;
pub mod daemon;
pub mod directory;
pub mod history;
pub mod http;
pub mod locks;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod replica;
pub mod sandbox;
pub mod server;
pub mod status;
pub mod template;
pub mod tls_front;
pub mod workload;
