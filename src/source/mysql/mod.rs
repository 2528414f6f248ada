//! MySQL and MariaDB: the binlog stream and the snapshot that runs beside it.

pub mod ddl;
pub mod snapshot;
