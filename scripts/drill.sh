#!/usr/bin/env bash
# The long tests. First the matrix of types (tests/retyped/matrix.rs), all of it, in parts: each type made into each other, on both servers.
# Then the long kills: every kill test (tests/scenarios/kills.rs) of both servers and every sink by itself, with DRILL_KILLS (200) kills, under every
# row metadata of DRILL_METADATA ("full minimal no_log"; MySQL has no NO_LOG). The result of each is in a table at the end; one that fails fails
# the drill, after the others have run.
#
# The seeds in the table make the same moments and the same writers again:
#   REPLICATOR_KILL_SEED=K REPLICATOR_SEED=W DRILL_METADATA=M scripts/drill.sh NAME
#
# An hour of writers with a doubt about some table every 10 s (tests/doubted/random.rs), for SQLite and for ClickHouse; DRILL_DOUBTS is how many
# seconds.
#
# DRILL_RETYPES is how many parts the matrix has (9); REPLICATOR_RETYPES=P/N runs the P-th of N by itself.
#
# usage: scripts/drill.sh [NAME...]    only the tests whose path contains every NAME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kills=${DRILL_KILLS:-200}
export REPLICATOR_KILLS=$kills REPLICATOR_CLICKHOUSE_KILLS=$kills REPLICATOR_DOUBTS=${DRILL_DOUBTS:-3600}
parts=${DRILL_RETYPES:-9}
read -ra metadata_of_all <<<"${DRILL_METADATA:-full minimal no_log}"
logs=target/drill
mkdir -p "$logs"

list=$(cargo nextest list --locked --run-ignored all --message-format oneline -E 'test(/^scenarios::kills::|^retyped::matrix::|^doubted::random::/)' | sed 's/^[^ ]* //')
for name in "$@"; do
    list=$(grep -F -- "$name" <<<"$list" || true)
done
[ -n "$list" ] || { echo "drill: no long test has all of these in its path: $*" >&2; exit 1; }
mapfile -t tests <<<"$list"

# The seed that a test has printed, by the variable that replays it.
seed() {
    sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" "$2" | tail -n 1
}

# How a test is run, one word for each run: the kills under each row metadata, the matrix in parts.
ways() {
    case $1 in
        retyped::*) seq -f "%g/$parts" 0 $((parts - 1)) ;;
        doubted::*) echo full ;;
        *on_mysql*) printf '%s\n' "${metadata_of_all[@]}" | grep -v no_log || true ;;
        *) printf '%s\n' "${metadata_of_all[@]}" ;;
    esac
}

rows=()
failed=0
number=0
for test in "${tests[@]}"; do
    for way in $(ways "$test"); do
        number=$((number + 1))
        metadata=full
        part=0/$parts
        case $way in
            */*) part=$way ;;
            *) metadata=$way ;;
        esac
        log=$logs/${test//::/.}.${way//\//_of_}.log
        echo "drill: run $number: $test, $way" >&2
        start=$SECONDS
        result=passed
        if ! REPLICATOR_ROW_METADATA=$metadata REPLICATOR_RETYPES=$part \
            cargo nextest run --locked --profile drill --run-ignored all --no-capture -E "test(=$test)" >"$log" 2>&1 </dev/null; then
            result=FAILED
            failed=$((failed + 1))
            tail -n 40 "$log" >&2
        fi
        rows+=("$(printf '%-96s %-8s %5s  %-7s %7s  %s %s' "$test" "$way" "$kills" "$result" "$((SECONDS - start))" \
            "$(seed REPLICATOR_KILL_SEED "$log")" "$(seed REPLICATOR_SEED "$log")")")
    done
done

printf '%-96s %-8s %5s  %-7s %7s  %s\n' test way kills result seconds 'REPLICATOR_KILL_SEED REPLICATOR_SEED'
printf '%s\n' "${rows[@]}"
if [ "$failed" -gt 0 ]; then
    echo "drill: $failed of $number runs failed; their output is in $logs" >&2
    exit 1
fi
