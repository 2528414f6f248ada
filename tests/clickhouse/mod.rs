//! What is the ClickHouse sink's alone, against the engine itself. What is asked of every sink is in `tests/scenarios/`.

mod check; // what `check` finds, and with which statement it is mended
mod claims; // two daemons on one target
mod comparison; // the comparison of both sides sees every difference
mod counts; // what became of rows, as the engine says
mod creations; // many tables between two commits
mod definitions; // changes of definitions under the engine's conditions
mod encoding; // every type at its extremes, straight into the engine
mod epochs; // which log a target belongs to, and under which epoch it is written
mod faults; // the server refuses, hangs, is full, cuts off, or says yes and then no
mod fixture; // a database that a version left is continued
mod gaps; // what nobody knows of a table's rows
mod interrupted; // a change of a definition is cut off after each of its requests
mod isolation; // what is wrong with one table is that table's alone
mod letters; // dead letters, killed before the cursor
mod mirror; // names of tables, views, counts of batches
mod refusals; // one table is refused what the server gives the others, for long
mod rig; // the sink alone, driven like the delivery loop
mod server; // the server of the test support starts, restarts, dies and keeps its users
mod targets; // a target that is not the one that was left
mod watch; // what the status says about the sink
