//! The ClickHouse sink against the engine itself.

mod server; // the server of the test support starts, restarts, dies and keeps its users
