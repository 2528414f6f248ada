#!/usr/bin/env bash
# Hands a copy over to replicator without a gap, as docs/handoff.md says: a dump with its place in the binlog, its rows into the tables of a
# sink, and the lines of the configuration with which the stream continues from that place. It writes to the target, and only in `load`.
#
# usage: scripts/handoff.sh dump --out FILE [--host H] [--port P] [--user U] DATABASE [TABLE...]
#            a dump of one database, or of tables of it, consistent, with its place; writers go on meanwhile
#        scripts/handoff.sh position --dump FILE
#            the lines of the configuration that begin the stream where the dump ends
#        scripts/handoff.sh load --dump FILE --config FILE --sink NAME (--sqlite FILE | --clickhouse URL --database D [--user U])
#            makes the tables that `replicator check` names as missing, and fills them from the dump, each in one transaction (SQLite)
#            or one after the other (ClickHouse)
#
# MYSQL_PWD             the password for `dump`; the account needs SELECT, RELOAD, LOCK TABLES, SHOW VIEW and what reads the place
#                       (REPLICATION CLIENT, at MariaDB BINLOG MONITOR)
# CLICKHOUSE_PASSWORD   the password of the ClickHouse user
# REPLICATOR            the program (default: replicator)
# MYSQL, MYSQLDUMP      the client programs; MySQL servers need MySQL's own (default: mysql, and mysqldump or mariadb-dump)
#
# Needs bash, python3, the client programs, and the replicator that will run. Exits 0 when the step is done, 1 when it is not, 2 for usage.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
step() { printf '== %s\n' "$*" >&2; }
say() { printf '   %s\n' "$*" >&2; }
die() { printf 'handoff: %s\n' "$*" >&2; exit 1; }
usage() { sed -n "5,12s/^# \{0,1\}//p" "${BASH_SOURCE[0]}" >&2; [ $# -eq 0 ] || printf 'handoff: %s\n' "$*" >&2; exit 2; }

mysql=${MYSQL:-mysql}
replicator=${REPLICATOR:-replicator}

verb=${1:-}
[ -n "$verb" ] || usage
shift
host=127.0.0.1 port=3306 user='' out='' dump='' config='' sink='' sqlite='' clickhouse='' database=''
names=()
while [ $# -gt 0 ]; do
    case $1 in
        --host | --port | --user | --out | --dump | --config | --sink | --sqlite | --clickhouse | --database)
            [ $# -ge 2 ] || usage "$1 needs a value"
            printf -v "${1#--}" '%s' "$2"
            shift 2
            ;;
        -*) usage "there is no option $1" ;;
        *) names+=("$1"); shift ;;
    esac
done
user=${user:-$([ "$verb" = dump ] && printf root || printf default)}

dump_source() {
    [ -n "$out" ] || usage "--out names the file of the dump"
    [ ${#names[@]} -ge 1 ] || usage "name the database"
    [ ! -e "$out" ] || die "\"$out\" is there already; remove it, or name another file"
    local server=(--host="$host" --port="$port" --user="$user" --protocol=TCP) version program
    version=$("$mysql" --no-defaults "${server[@]}" --batch --skip-column-names --execute='SELECT VERSION()') ||
        die "the server at $host:$port does not let \"$user\" in: check --host, --port, --user and MYSQL_PWD"
    # Rows after the dump have to say their columns: a description of the server holds for the end of its binlog alone.
    local metadata
    metadata=$("$mysql" --no-defaults "${server[@]}" --batch --skip-column-names --execute='SELECT @@GLOBAL.binlog_row_metadata')
    [ "$metadata" = FULL ] ||
        die "binlog_row_metadata is $metadata: run SET GLOBAL binlog_row_metadata = 'FULL' at the server (and put it into its configuration) first"
    step "Dump of ${names[*]} at $host:$port, $version"
    local options=(
        --single-transaction --quick --hex-blob --complete-insert --tz-utc --default-character-set=utf8mb4 --max-allowed-packet=1G
        --skip-triggers --skip-add-locks --skip-add-drop-table --skip-disable-keys
    )
    case $version in
        *MariaDB*)
            program=${MYSQLDUMP:-mariadb-dump}
            options+=(--master-data=2 --gtid)
            ;;
        *)
            program=${MYSQLDUMP:-mysqldump}
            options+=(--source-data=2 --no-tablespaces --column-statistics=0)
            local gtids
            gtids=$("$mysql" --no-defaults "${server[@]}" --batch --skip-column-names --execute='SELECT @@GLOBAL.gtid_mode')
            if [ "$gtids" = ON ]; then options+=(--set-gtid-purged=COMMENTED); else options+=(--set-gtid-purged=OFF); fi
            ;;
    esac
    # A dump that was cut short never has the name of a whole one.
    "$program" --no-defaults "${server[@]}" "${options[@]}" "${names[@]}" >"$out.part" || die "the dump failed; what there is of it is in \"$out.part\""
    tail -c 200 "$out.part" | grep -q '^-- Dump completed' || die "the dump was cut short; what there is of it is in \"$out.part\""
    mv "$out.part" "$out"
    say "$(wc -c <"$out") bytes in \"$out\""
    position "$out"
}

position() {
    step "Where the stream continues: put these lines into the source section of the configuration, and \`adopt: true\` into the sink's"
    python3 "$here/handoff_dump.py" position "$1" || die "\"$1\" does not say its place: make it with \`handoff.sh dump\`, or as docs/handoff.md says"
}

load() {
    local file
    for file in "$dump" "$config"; do [ -f "$file" ] || usage "--dump and --config name files; \"$file\" is none"; done
    [ -n "$sink" ] || usage "--sink names the sink"
    local target=()
    if [ -n "$sqlite" ]; then
        target=(--sqlite "$sqlite")
    else
        [ -n "$clickhouse" ] && [ -n "$database" ] || usage "--sqlite FILE, or --clickhouse URL and --database D, say where the tables are"
        target=(--clickhouse "$clickhouse" --database "$database" --user "$user")
    fi
    local found
    found=$(mktemp)
    # shellcheck disable=SC2064 # the name as it is now
    trap "rm -f '$found'" EXIT
    step "What replicator would make (replicator check)"
    check "$found"
    python3 "$here/handoff_dump.py" load "$dump" --check "$found" --sink "$sink" "${target[@]}" || die "the tables are not loaded"
    step "Whether replicator takes them over (replicator check)"
    check "$found"
    python3 "$here/handoff_dump.py" adopted --check "$found" --sink "$sink" || die "the tables would not be taken over"
    step "Done: \`replicator start\` continues from the dump's place"
}

# A finding of another part is shown, and stops nothing here.
check() {
    "$replicator" check --json --config "$config" >"$1" || [ -s "$1" ] || die "\`$replicator check\` does not run"
}

case $verb in
    dump) dump_source ;;
    position) [ -f "$dump" ] || usage "--dump names the file"; position "$dump" ;;
    load) load ;;
    *) usage "there is no step \"$verb\"" ;;
esac
