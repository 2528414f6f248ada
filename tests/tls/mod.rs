//! TLS and authentication against the real servers.

mod accounts; // passwords, and how each plugin has them sent
mod clickhouse; // what a sink's `tls` checks
mod said; // what the program says when it cannot
mod source; // what `source.tls` checks
