//! Connections to the source: how they are opened, what their sessions are set to, and what their errors mean.
//!
//! Every error that leaves here says whether trying again can help and which setting it is about. None holds the password:
//! the driver's errors do not, and nothing here adds it.

mod meaning;
mod open;

pub use meaning::{ACCESS_DENIED, classify, is_about_the_binlog, is_about_the_server};
pub use open::{SESSION, connect, execute, login_without_password, refused};
