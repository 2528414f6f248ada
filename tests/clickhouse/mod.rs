//! The ClickHouse sink against the engine itself.

mod comparison; // the comparison of both sides sees every difference
mod server; // the server of the test support starts, restarts, dies and keeps its users
