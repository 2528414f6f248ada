//! Which of the two servers speaks.

pub use crate::source::mysql::server::Flavour;
