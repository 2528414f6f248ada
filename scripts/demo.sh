#!/usr/bin/env bash
# Shows the whole thing on a private MariaDB: a shop of 150,000 rows is copied into SQLite while it is written to, the
# daemon is killed with signal 9 in the middle and started again, tables change their definition on the way, and at the
# end both sides are compared, row by row.
#
# REPLICATOR_BINARY     a replicator to use instead of building one
#
# Installs MariaDB, a C compiler and the sqlite3 shell where they are missing (Debian 12, as root or with sudo).
# What it leaves is in target/demo: the copy, the log, the configuration and the daemon's output. Under a minute after the build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

here=$PWD/scripts
demo=$PWD/target/demo
replicator=${REPLICATOR_BINARY:-$PWD/target/release/replicator}

step() { printf '\n== %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# shellcheck source=scripts/apt.sh
. "$here/apt.sh"

step "What is needed"
"$here/install-servers.sh" mariadb
command -v sqlite3 >/dev/null || apt_install sqlite3
if [ -z "${REPLICATOR_BINARY:-}" ]; then
    "$here/install-tools.sh" compiler
    cargo build --release --locked
fi
[ -x "$replicator" ] || die "there is no program at $replicator"
say "using $replicator"

rm -rf "$demo"
mkdir -p "$demo"
private=$(mktemp -d)
server=""
daemon=""
writer=""
cleanup() {
    trap - EXIT INT TERM
    touch "$private/stop"
    local process
    for process in $writer $daemon $server; do
        kill "$process" 2>/dev/null || true
    done
    for process in $writer $daemon $server; do
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$private"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "A private MariaDB, and a shop in it"
mariadbd=${REPLICATOR_MARIADBD:-/usr/sbin/mariadbd}
# A port that nobody has: the kernel's own choice is asked for by trying.
free_port() {
    local port
    for _ in $(seq 50); do
        port=$((20000 + RANDOM % 10000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    die "no free port"
}
port=$(free_port)
as_root_option=""
[ "$(id -u)" != 0 ] || as_root_option=--user=root
mariadb-install-db --no-defaults --datadir="$private/data" --auth-root-authentication-method=normal --skip-test-db \
    $as_root_option >"$private/install.log" 2>&1 || { cat "$private/install.log" >&2; die "mariadb-install-db failed"; }
"$mariadbd" --no-defaults --datadir="$private/data" --tmpdir="$private" --port="$port" --bind-address=127.0.0.1 --socket="$private/socket" \
    --pid-file="$private/pid" --server-id=1 --log-bin=binlog --binlog-format=ROW \
    $as_root_option >"$demo/mariadb.log" 2>&1 &
server=$!
sql() { mariadb --no-defaults --socket="$private/socket" --user=root --default-character-set=utf8mb4 "$@"; }
for try in $(seq 300); do
    sql -e 'SELECT 1' >/dev/null 2>&1 && break
    kill -0 "$server" 2>/dev/null || { tail -n 20 "$demo/mariadb.log" >&2; die "MariaDB ended while it was starting"; }
    [ "$try" -lt 300 ] || die "MariaDB did not start within 30 s; its log is $demo/mariadb.log"
    sleep 0.1
done

sql <<'SQL'
CREATE USER replicator@'127.0.0.1' IDENTIFIED BY 'demo';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO replicator@'127.0.0.1';
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE customers (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) NOT NULL UNIQUE,
    name VARCHAR(60) NOT NULL, balance DECIMAL(12, 2) NOT NULL, created_at DATETIME(6) NOT NULL);
CREATE TABLE products (sku VARCHAR(20) PRIMARY KEY, title VARCHAR(80) NOT NULL, price DECIMAL(8, 2) NOT NULL, stock INT NOT NULL,
    tags SET('new', 'sale', 'gift') NOT NULL);
CREATE TABLE orders (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, customer_id INT UNSIGNED NOT NULL,
    state ENUM('open', 'paid', 'sent') NOT NULL DEFAULT 'open', placed_at TIMESTAMP(3) NOT NULL);
CREATE TABLE order_items (order_id BIGINT UNSIGNED NOT NULL, line SMALLINT NOT NULL, sku VARCHAR(20) NOT NULL, quantity INT NOT NULL,
    note VARCHAR(100) NULL, PRIMARY KEY (order_id, line));
CREATE TABLE marks (id INT PRIMARY KEY, what VARCHAR(40) NOT NULL);
INSERT INTO customers (email, name, balance, created_at)
    SELECT CONCAT('c', seq, '@example.org'), CONCAT('Customer ', seq), seq % 1000 + 0.25, '2026-01-01' + INTERVAL seq SECOND FROM seq_1_to_30000;
INSERT INTO products SELECT CONCAT('SKU-', seq), CONCAT('Product ', seq), seq % 90 + 0.99, seq % 500, seq % 8 FROM seq_1_to_2000;
INSERT INTO orders (customer_id, state, placed_at) SELECT seq % 30000 + 1, seq % 3 + 1, '2026-02-01' + INTERVAL seq SECOND FROM seq_1_to_40000;
INSERT INTO order_items SELECT seq DIV 2 + 1, seq % 2, CONCAT('SKU-', seq % 2000 + 1), seq % 5 + 1, IF(seq % 3, NULL, 'gift wrap') FROM seq_0_to_79999;
SQL
rows=$(sql -N -e 'SELECT (SELECT COUNT(*) FROM shop.customers) + (SELECT COUNT(*) FROM shop.products) + (SELECT COUNT(*) FROM shop.orders) + (SELECT COUNT(*) FROM shop.order_items)')
say "$rows rows in 4 tables, port $port"

cat >"$demo/replicator.yaml" <<YAML
source:
  url: mysql://replicator@127.0.0.1:$port
  server_id: 5400
  startup_mode: initial
  include: ["shop.*"]
  tls: { mode: disabled }
wal:
  path: $demo/log
  max_size: 2GiB
sinks:
  - name: local
    type: sqlite
    path: $demo/replica.db
    table_name: "{table}"
    mode: mirror
http:
  listen: 127.0.0.1:$(free_port)
YAML
export REPLICATOR_SOURCE_PASSWORD=demo
copy() { sqlite3 -batch -cmd '.timeout 10000' -nullvalue NULL -separator $'\t' "$demo/replica.db" "$@"; }

# Waits for a condition of the copy: a query that gives 1.
wait_for() {
    local what=$1 query=$2 try
    for try in $(seq 600); do
        if [ -e "$demo/replica.db" ] && [ "$(copy "$query" 2>/dev/null || true)" = 1 ]; then
            return
        fi
        kill -0 "$daemon" 2>/dev/null || { tail -n 20 "$demo/replicator.log" >&2; die "the daemon ended before this was true: $what"; }
        sleep 0.1
    done
    tail -n 20 "$demo/replicator.log" >&2
    die "not within a minute: $what"
}

step "What the daemon thinks of this server (replicator check)"
"$replicator" check --config "$demo/replicator.yaml"

step "A writer that does not stop: orders with their items, payments, cancellations, moved keys"
touch "$private/writing"
write() {
    local i=0 c
    while [ ! -e "$private/stop" ]; do
        i=$((i + 1)) c=$((i * 7919 % 30000 + 1))
        echo "BEGIN;
INSERT INTO orders (customer_id, placed_at) VALUES ($c, NOW(3)); SET @o = LAST_INSERT_ID();
INSERT INTO order_items VALUES (@o, 1, 'SKU-$((i % 2000 + 1))', 1, 'order $i'), (@o, 2, 'SKU-$((i * 3 % 2000 + 1))', 2, NULL);
UPDATE products SET stock = stock - 1 WHERE sku = 'SKU-$((i % 2000 + 1))';
UPDATE customers SET balance = balance - 1.25 WHERE id = $c;
COMMIT;"
        [ $((i % 5)) != 0 ] || echo "DELETE FROM order_items WHERE order_id = $((i * 13 % 40000 + 1)); UPDATE orders SET state = 'paid' WHERE id = $((i % 40000 + 1));"
        [ $((i % 11)) != 0 ] || echo "BEGIN; DELETE FROM customers WHERE id > 29000; ROLLBACK; UPDATE order_items SET line = line + 10 WHERE order_id = $((i % 40000 + 1)) AND line < 10;"
    done
}
write | sql shop &
writer=$!
say "process $writer"

step "The daemon starts: it copies what is there and what is being written, at once"
"$replicator" start --config "$demo/replicator.yaml" >>"$demo/replicator.log" 2>&1 &
daemon=$!
say "process $daemon, output in target/demo/replicator.log"
wait_for "10,000 items are in the copy" "SELECT COUNT(*) >= 10000 FROM order_items"

step "kill -9, in the middle of it"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
say "killed; the copy has $(copy 'SELECT COUNT(*) FROM order_items') of $(sql -N -e 'SELECT COUNT(*) FROM shop.order_items') items at this moment"

step "Started again: it goes on where its log ends"
"$replicator" start --resume --config "$demo/replicator.yaml" >>"$demo/replicator.log" 2>&1 &
daemon=$!
sql shop -e "INSERT INTO marks VALUES (1, 'after the restart')"
wait_for "what was written after the restart is in the copy" "SELECT COUNT(*) = 1 FROM marks WHERE id = 1"
say "process $daemon has caught up with the writer"
"$replicator" status --config "$demo/replicator.yaml"

step "Tables change under it"
sql shop <<'SQL'
ALTER TABLE customers ADD COLUMN points INT NOT NULL DEFAULT 10 AFTER name;
UPDATE customers SET points = points + id WHERE id <= 1000;
ALTER TABLE products RENAME COLUMN title TO label;
ALTER TABLE products MODIFY COLUMN stock BIGINT NOT NULL, DROP COLUMN tags;
ALTER TABLE orders ADD COLUMN note VARCHAR(20) NULL FIRST;
CREATE TABLE reviews (id INT AUTO_INCREMENT PRIMARY KEY, sku VARCHAR(20) NOT NULL, stars TINYINT UNSIGNED NOT NULL, words TEXT);
INSERT INTO reviews (sku, stars, words) SELECT CONCAT('SKU-', seq), seq % 5 + 1, REPEAT('very ', seq % 7) FROM seq_1_to_500;
DELETE FROM products WHERE sku = 'SKU-2000';
UPDATE products SET sku = 'SKU-RENAMED' WHERE sku = 'SKU-1999';
INSERT INTO marks VALUES (2, 'after the new definitions');
SQL
say "columns added, dropped, renamed and widened; a table created; a key changed"
wait_for "the new definitions are in the copy" "SELECT COUNT(*) = 1 FROM marks WHERE id = 2"

step "The writer stops; both sides, row by row"
touch "$private/stop"
wait "$writer" || die "the writer failed"
writer=""
sql shop -e "INSERT INTO marks VALUES (3, 'the end')"
wait_for "the last write is in the copy" "SELECT COUNT(*) = 1 FROM marks WHERE id = 3"

equal=yes
printf '   %-14s %9s  %-18s %-18s\n' table rows "MariaDB's digest" "SQLite's digest"
for table in $(sql -N -e "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' ORDER BY 1"); do
    columns=$(sql -N -e "SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position SEPARATOR ', ') FROM information_schema.columns
        WHERE table_schema = 'shop' AND table_name = '$table'")
    # Both print one row a line; sorted by bytes, because the two sort text by different rules.
    sql -N -B -e "SET time_zone = '+00:00'; SELECT $columns FROM shop.$table" | LC_ALL=C sort >"$private/source.txt"
    copy "SELECT $columns FROM $table" | LC_ALL=C sort >"$private/copy.txt"
    digest() { sha256sum "$1" | cut -c 1-16; }
    printf '   %-14s %9s  %-18s %-18s\n' "$table" "$(wc -l <"$private/source.txt")" "$(digest "$private/source.txt")" "$(digest "$private/copy.txt")"
    if ! cmp -s "$private/source.txt" "$private/copy.txt"; then
        equal=no
        diff "$private/source.txt" "$private/copy.txt" | head -n 10 || true
    fi
done
[ "$equal" = yes ] || die "the two sides differ"
say "equal"

step "The daemon stops in good order (SIGTERM)"
kill "$daemon"
wait "$daemon" || die "the daemon did not end with success; see $demo/replicator.log"
daemon=""
"$replicator" wal verify --config "$demo/replicator.yaml"

step "Done"
say "the copy:          target/demo/replica.db   (sqlite3 target/demo/replica.db 'SELECT * FROM customers LIMIT 5')"
say "the log:           target/demo/log          (replicator wal inspect --config target/demo/replicator.yaml)"
say "the configuration: target/demo/replicator.yaml"
say "the output:        target/demo/replicator.log"
say "MariaDB is stopped and its files are removed."
