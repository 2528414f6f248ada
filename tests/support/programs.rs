//! Where the servers' programs are: the variables that point to one's own come first, then what
//! `scripts/install-servers.sh` installed. A missing one fails the test with the script's name; no test is skipped.

use std::env;
use std::path::{Path, PathBuf};

use super::server::Kind;

/// What outlives a test run: installed servers and initialised data directories.
pub fn cache_directory() -> PathBuf {
    env::var_os("REPLICATOR_CACHE").map_or_else(
        || {
            let home = env::var_os("HOME").expect("HOME or REPLICATOR_CACHE is set");
            Path::new(&home).join(".cache/replicator")
        },
        PathBuf::from,
    )
}

/// The server program of a kind.
pub fn server(kind: Kind) -> PathBuf {
    match kind {
        Kind::MariaDb => find("REPLICATOR_MARIADBD", "mariadbd", Path::new("/usr/sbin/mariadbd")),
        Kind::MySql => find("REPLICATOR_MYSQLD", "mysqld", &cache_directory().join("bin/mysqld")),
    }
}

/// The program that makes a new MariaDB data directory (MySQL's server does that itself).
pub fn mariadb_install_db() -> PathBuf {
    find("REPLICATOR_MARIADB_INSTALL_DB", "mariadb-install-db", Path::new("/usr/bin/mariadb-install-db"))
}

/// The program that copies a server's binary logs byte by byte: the speed limit of every reader.
pub fn binlog_reader(kind: Kind) -> PathBuf {
    match kind {
        Kind::MariaDb => find("REPLICATOR_MARIADB_BINLOG", "mariadb-binlog", Path::new("/usr/bin/mariadb-binlog")),
        Kind::MySql => find("REPLICATOR_MYSQLBINLOG", "mysqlbinlog", &cache_directory().join("bin/mysqlbinlog")),
    }
}

/// The server's own command line client.
pub fn client(kind: Kind) -> PathBuf {
    match kind {
        Kind::MariaDb => find("REPLICATOR_MARIADB", "mariadb", Path::new("/usr/bin/mariadb")),
        Kind::MySql => find("REPLICATOR_MYSQL", "mysql", &cache_directory().join("bin/mysql")),
    }
}

fn find(variable: &str, name: &str, installed: &Path) -> PathBuf {
    if let Some(own) = env::var_os(variable) {
        let own = PathBuf::from(own);
        assert!(own.is_file(), "{variable} is '{}', which is no file", own.display());
        return own;
    }
    assert!(
        installed.is_file(),
        "{name} is not at {}: run scripts/install-servers.sh, or set {variable}",
        installed.display()
    );
    installed.to_owned()
}
