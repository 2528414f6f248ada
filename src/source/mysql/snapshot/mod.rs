//! Snapshots without locks, beside the stream.

pub mod handoff;
