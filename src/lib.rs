//! Copies MySQL and MariaDB, as they change, through a durable local log into other stores.
