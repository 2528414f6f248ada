//! Every integration test, in one binary: one link, and one place that lists what is proven.
//!
//! A test that needs a database server starts its own (see [`support::server`]); `scripts/install-servers.sh` installs them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails by panicking, and clippy's exemption for tests does not reach the helpers beside them"
)]

#[macro_use]
mod support; // servers, the daemon, comparing both sides, random writers: no test of the product itself

mod addresses; // MariaDB's UUID, INET6 and INET4, which the binlog does not tell from bytes
mod adopted; // tables at a target that replicator did not make: taken over as they are, or refused by name
mod architecture; // the import rules between the modules of src/
mod backfill; // tables that are read again on request: the copy equals the source
mod by_hand; // what operators do by hand: tables, sinks, reads, passwords, a configuration that is read again
mod captured; // which tables are captured, which cannot be, and which names of the configuration are no table
mod charsets; // values and labels in every character set of a server, and vectors beside them
mod checks; // what fits alone and not together: log, source and targets beside each other
mod churn; // a table that is created and dropped again and again
mod cli; // the program as a shell meets it, without a server
mod clickhouse; // what is the ClickHouse sink's alone, against the engine itself
mod comparison; // the comparison of both sides sees every difference
mod connections; // the proxy of the test support cuts what it says
mod copying; // what is at the source is at the sink, whenever it was written
mod damaged_log; // a damaged log is named, whichever byte of it is another
mod definitions; // definitions that changed while nobody was reading
mod doubted; // where it is not known what a table's rows are: read again, paced, or left out by name
mod doubts; // copies that are not what the counts say: found, and read again
mod failover; // another server takes the place of the source
mod full_disk; // a disk without room for a second copy of a table
mod full_log; // a full log holds up neither a stop nor an error nor the end of a run
mod groups; // what a transaction, a savepoint or a stop took back leaves no trace
mod gtid_order; // MariaDB's GTIDs where a domain goes back in its sequence
mod handoff; // a copy that another tool made, and the stream from its place on
mod held_commits; // a transaction that the stream has and no read sees
mod hidden_columns; // columns that the binlog has and the catalogue may hide
mod huge; // what a huge row and a compressed transaction take of memory
mod large; // one transaction of 1 GB in bounded memory; a log whose file stops growing
mod lives; // a captured table's whole life, at every kind of sink: denied, excluded, interrupted, gone, back
mod many_tables; // small tables that are read together; a source that has nothing for the log
mod mirror; // the copy equals the source, whatever happens to the source on the way
mod names; // names of databases and tables, in whatever case a server, a statement or an operator writes them
mod natures; // views, sequences, MERGE tables, temporary tables, renames: what is no table, and what only seems to change one
mod partial_images; // rows events without every column, and table maps without their metadata
mod predicted; // what statements make of a table by their text alone is what the servers make of it
mod refused_delete; // a row that a SQLite copy does not let go
mod removed_file; // a SQLite file that is removed, moved away or replaced under the daemon
mod resets; // sinks that get every table again: where log and target do not fit, and after a full log
mod retyped; // what the server makes of rows when their columns are defined otherwise
mod rules; // what the configuration of each sink says of its tables, columns and rows
mod scenarios; // what is asked of every sink: mirror, history, keyless, definitions, kills, faults, types
mod servers; // the servers of the test support start, restart, die and leave nothing behind
mod snapshot; // the snapshot's readers, with an ingest loop that only keeps what it is given
mod source; // where a start is allowed, what the stream gives from there, what `check` finds
mod status; // status, health and metrics say one thing
mod stored_format; // what is stored, in committed bytes: records, frames, a whole log, a target
mod tls; // encryption, certificates and passwords, as each server asks for them
mod told_types; // what statements say, and only seem to say, of types that the binlog does not tell
mod unlogged; // definitions that change without a statement in the binlog
mod untold_types; // types that nobody tells any more: the stream goes on with the bytes
mod values; // what becomes of values that a target does not hold as they are, by policy
mod waiting; // a table that cannot be asked about holds up no other
mod watched; // what happens to the binlog or the address while the stream lives on: named, or followed
mod whole_reads; // tables that are read in one piece, beside the stream
mod writers; // the random writers write what they say, and the same again from the same seed
mod xa; // two-phase transactions: nothing of them before their XA COMMIT, and all of it after
