//! The simulator: the core of ingest between models of everything around it, which do no I/O, read no clock, and do the same again
//! from the same seed.
//!
//! A history is what happens in a world from a seed ([`world`]): clients change tables of a server, snapshot readers read them, the
//! stream is read, and at any step it may be cut off, and the daemon stopped or killed. What must hold at every moment is checked
//! whenever something becomes durable ([`audit`]) and after each group that the model sink applies ([`sink`]); at the end everything
//! comes to rest, and the copies are the tables.
//!
//! `REPLICATOR_SIM_SEED=n` replays one history with its trace; `REPLICATOR_SIM_HISTORIES=n` says how many are run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, and clippy's exemption for tests does not reach the helpers beside them"
)]

mod alter; // `ALTER TABLE`
mod audit; // what must hold of the log at every moment
mod binlog; // groups of events, and a connection's stream of them
mod captured; // which tables are captured
mod clock; // what time it is
mod compared; // a definition that changes past the binlog
mod confirmed; // a description that is given far ahead of the stream
mod coordinator; // which tables are read, and how far each is
mod copies; // what a sink holds
mod daemon; // the driver around the core, step by step
mod diverted; // rows that wait, and a definition that is asked for
mod doubting; // what the configuration says of doubts
mod exact; // the read of a whole table at one place
mod first; // what is there at the start
mod frames; // frames as the checks read them
mod gone; // tables that are gone, or not captured any more
mod habits; // what clients are in the habit of doing
mod histories; // many histories, and what is said of one that fails
mod job; // the read of one table
mod keys; // reads of some keys
mod kinds; // kinds of columns, and their values
mod log; // appended, handed over, durable
mod metadata; // what table maps have beside their rows
#[cfg(feature = "mutants")]
mod mutants; // known faults, each of which has to be found
mod passed; // what must hold of an entry that is read
mod questions; // questions about tables, and their answers
mod ranges; // the ranges that a table is read in
mod reader; // one read of a part of a table
mod requests; // what readers and driver say to each other
mod rest; // how a history ends
mod restart; // starts, ends, and what an operator changes in between
mod rng; // random choices from a seed
mod script; // one history, step by step
mod server; // tables, views, places
mod serving; // what the driver does for snapshot readers
mod shape; // how a table is defined
mod sink; // one sink, group by group
mod sinks; // all of them, as they come and go
mod stated; // what is said of each table at each sink
mod statements; // what they do to definitions, and to tables that they lock
mod tables; // names, rows and their images
mod tails; // rows that wait while a table is read whole
mod told; // what a rows event tells of its rows
mod trace; // what happened, line by line
mod truth; // what has to be true of the counters
mod workload; // what the server's clients do
mod world; // one history
mod xa; // two-phase transactions
