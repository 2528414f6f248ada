//! MySQL and MariaDB: the binlog stream and the snapshot that runs beside it.

pub mod account;
pub mod binlog;
pub mod connect;
pub mod ddl;
pub mod follow;
pub mod gtid;
pub mod meet;
pub mod names;
pub mod places;
pub mod preflight;
pub mod question;
pub mod schema;
pub mod server;
pub mod snapshot;
pub mod start;
pub mod stream_server;
pub mod watch;
pub mod wire;
pub mod xa;
