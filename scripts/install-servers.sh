#!/usr/bin/env bash
# Installs the database servers that the tests and the demo start by themselves, on Debian 12.
#
# Promises: does nothing, in well under a second, when nothing is missing; leaves no service running; a run that is
# interrupted leaves nothing half made that a later run would mistake for finished.
# Needs: root or sudo, only when something is missing.
#
# REPLICATOR_CACHE      where downloaded servers live (default ~/.cache/replicator)
# REPLICATOR_MARIADBD   your own mariadbd; then MariaDB is not installed
# REPLICATOR_MYSQLD     your own mysqld (Oracle's, not MariaDB's alias); then MySQL is not installed
# REPLICATOR_CLICKHOUSE your own clickhouse, 26.7 or newer; then, or with one on PATH, ClickHouse is not installed
#
# usage: scripts/install-servers.sh [mariadb] [mysql] [clickhouse]      (default: all)
set -euo pipefail

say() { printf 'install-servers: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/apt.sh
. "$here/apt.sh"

cache=${REPLICATOR_CACHE:-${HOME:?set HOME or REPLICATOR_CACHE}/.cache/replicator}
mkdir -p "$cache"

# Two runs at once (two work trees, one cache) take turns.
exec 9>"$cache/install.lock"
flock 9

install_mariadb() {
    if [ -n "${REPLICATOR_MARIADBD:-}" ]; then
        [ -x "$REPLICATOR_MARIADBD" ] || die "REPLICATOR_MARIADBD is '$REPLICATOR_MARIADBD', which cannot be run"
        return
    fi
    if [ -x /usr/sbin/mariadbd ] && command -v mariadb-install-db mariadb mariadb-binlog >/dev/null; then
        return
    fi
    say "installing MariaDB (package mariadb-server)"
    apt_install mariadb-server
}

# MySQL itself is not in Debian 12. A minimal tree of Debian sid carries it; the binaries run through that tree's own
# loader and libraries, so the machine's own libraries do not matter and nothing outside the cache changes.
install_mysql() {
    if [ -n "${REPLICATOR_MYSQLD:-}" ]; then
        [ -x "$REPLICATOR_MYSQLD" ] || die "REPLICATOR_MYSQLD is '$REPLICATOR_MYSQLD', which cannot be run"
        return
    fi
    local tree="$cache/mysql-sid"
    if [ ! -x "$tree/usr/sbin/mysqld" ]; then
        command -v debootstrap >/dev/null || apt_install debootstrap
        local building
        building=$(mktemp -d "$cache/mysql-sid.building.XXXXXX")
        # debootstrap's own log names the package that failed.
        trap 'as_root rm -rf "$building"' EXIT
        chmod 755 "$building"
        say "making a minimal Debian sid tree with MySQL in $tree (640 MB, about 30 s)"
        if ! as_root debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core \
            sid "$building" >"$cache/mysql-sid.log" 2>&1; then
            tail -n 20 "$cache/mysql-sid.log" >&2
            die "debootstrap failed; its whole output is in $cache/mysql-sid.log"
        fi
        as_root rm -rf "$building/var/cache/apt" "$building/var/lib/apt/lists"
        as_root mv -T "$building" "$tree"
        trap - EXIT
    fi
    local name
    for name in mysqld mysql mysqlbinlog mysqldump; do
        write_wrapper "$tree" "$name"
    done
    "$cache/bin/mysqld" --no-defaults --version >/dev/null || die "the MySQL in $tree does not start; remove that directory and run this again"
}

# A wrapper per program, so that callers need not know about the loader. It ends in exec: the process id that the
# caller sees is the server's.
write_wrapper() {
    local tree=$1 name=$2 program loader libraries defaults=''
    case $(uname -m) in
        x86_64) loader=lib64/ld-linux-x86-64.so.2 libraries=usr/lib/x86_64-linux-gnu ;;
        aarch64) loader=lib/ld-linux-aarch64.so.1 libraries=usr/lib/aarch64-linux-gnu ;;
        *) die "no MySQL server is known for $(uname -m); set REPLICATOR_MYSQLD" ;;
    esac
    program=usr/bin/$name
    if [ "$name" = mysqld ]; then
        program=usr/sbin/mysqld
        # The compiled-in directories belong to a Debian root, or to MariaDB's files on this machine.
        defaults="--basedir=\"$tree/usr\" --lc-messages-dir=\"$tree/usr/share/mysql\" --plugin-dir=\"$tree/usr/lib/mysql/plugin\""
    fi
    mkdir -p "$cache/bin"
    local fresh="$cache/bin/.$name.$$"
    cat >"$fresh" <<WRAPPER
#!/bin/sh
# Written by scripts/install-servers.sh. --no-defaults must come first for the program, so it is taken off and put back.
[ "\${1:-}" = --no-defaults ] && shift
exec "$tree/$loader" --library-path "$tree/$libraries" "$tree/$program" --no-defaults $defaults "\$@"
WRAPPER
    chmod 755 "$fresh"
    if cmp -s "$fresh" "$cache/bin/$name"; then
        rm "$fresh"
    else
        mv "$fresh" "$cache/bin/$name"
    fi
}

# ClickHouse is in no Debian. Its whole engine, HTTP interface included, is in the Python package chdb-core, which
# scripts/clickhouse_server.py turns into a server. Without the packages that only its Python interface needs; numpy is
# for that script's search, which is done here once.
install_clickhouse() {
    if [ -n "${REPLICATOR_CLICKHOUSE:-}" ]; then
        [ -x "$REPLICATOR_CLICKHOUSE" ] || die "REPLICATOR_CLICKHOUSE is '$REPLICATOR_CLICKHOUSE', which cannot be run"
        return
    fi
    if command -v clickhouse >/dev/null; then
        return
    fi
    local version=26.9.0
    local venv="$cache/clickhouse-venv"
    # Written last: a directory without it is half made.
    local made="$venv/made-with-chdb-core-$version"
    if [ -f "$made" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    [ "$(uname -m)" = x86_64 ] || die "no ClickHouse is known for $(uname -m); set REPLICATOR_CLICKHOUSE"
    say "installing ClickHouse (Python package chdb-core $version) in $venv (600 MB, about 20 s)"
    rm -rf "$venv"
    # Debian's python3 can make a venv only with python3-venv, and says so only after it has begun.
    if ! python3 -m venv "$venv" >"$cache/clickhouse-venv.log" 2>&1; then
        rm -rf "$venv"
        apt_install python3 python3-venv
        /usr/bin/python3 -m venv "$venv"
    fi
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        "chdb-core==$version" 'numpy>=2,<3' >"$cache/clickhouse-venv.log" 2>&1; then
        tail -n 20 "$cache/clickhouse-venv.log" >&2
        die "pip failed; its whole output is in $cache/clickhouse-venv.log"
    fi
    "$venv/bin/python" "$here/clickhouse_server.py" --find-entry
    touch "$made"
}

[ $# -gt 0 ] || set -- mariadb mysql clickhouse
for server in "$@"; do
    case $server in
        mariadb) install_mariadb ;;
        mysql) install_mysql ;;
        clickhouse) install_clickhouse ;;
        *) die "unknown server '$server' (known: mariadb, mysql, clickhouse)" ;;
    esac
done
