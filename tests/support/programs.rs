//! Where the servers' programs are: the variables that point to one's own come first, then what
//! `scripts/install-servers.sh` installed. A missing one fails the test with the script's name; no test is skipped.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// MariaDB's program that writes tables as statements.
#[allow(dead_code, reason = "the benchmarks alone need it")]
pub fn dumper() -> PathBuf {
    find("REPLICATOR_MARIADB_DUMP", "mariadb-dump", Path::new("/usr/bin/mariadb-dump"))
}

/// The server's own command line client.
pub fn client(kind: Kind) -> PathBuf {
    match kind {
        Kind::MariaDb => find("REPLICATOR_MARIADB", "mariadb", Path::new("/usr/bin/mariadb")),
        Kind::MySql => find("REPLICATOR_MYSQL", "mysql", &cache_directory().join("bin/mysql")),
    }
}

/// The server's own program for dumps.
pub fn dump(kind: Kind) -> PathBuf {
    match kind {
        Kind::MariaDb => find("REPLICATOR_MARIADB_DUMP", "mariadb-dump", Path::new("/usr/bin/mariadb-dump")),
        Kind::MySql => find("REPLICATOR_MYSQLDUMP", "mysqldump", &cache_directory().join("bin/mysqldump")),
    }
}

/// The launcher of ClickHouse servers, with the program that it runs: one's own, that on PATH, or the installed package.
pub fn clickhouse_server() -> Command {
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/clickhouse_server.py");
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|directory| directory.join("clickhouse")).find(|file| file.is_file());
    if env::var_os("REPLICATOR_CLICKHOUSE").is_some() || on_path.is_some() {
        let mut command = Command::new("python3");
        let installed = on_path.unwrap_or_default();
        command.arg(launcher).arg("--program").arg(find("REPLICATOR_CLICKHOUSE", "clickhouse", &installed));
        return command;
    }
    let python = cache_directory().join("clickhouse-venv/bin/python");
    assert!(
        python.is_file(),
        "ClickHouse is not at {}: run scripts/install-servers.sh, or set REPLICATOR_CLICKHOUSE",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(launcher);
    command
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
