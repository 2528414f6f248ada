#!/usr/bin/env bash
# The long kills: every kill test of both servers and both sinks by itself, with DRILL_KILLS (200) kills. What became of each stands
# in a table at the end; one that fails fails the drill, after the others have run.
#
# The seeds in the table make the same moments and the same writers again:
#   REPLICATOR_KILL_SEED=K REPLICATOR_SEED=W scripts/drill.sh NAME
#
# usage: scripts/drill.sh [NAME...]    only the tests whose path contains every NAME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kills=${DRILL_KILLS:-200}
export REPLICATOR_KILLS=$kills REPLICATOR_CLICKHOUSE_KILLS=$kills
logs=target/drill
mkdir -p "$logs"

list=$(cargo nextest list --locked --message-format oneline -E 'test(/^(clickhouse::)?kills::/)' | sed 's/^[^ ]* //')
for name in "$@"; do
    list=$(grep -F -- "$name" <<<"$list" || true)
done
[ -n "$list" ] || { echo "drill: no kill test has all of these in its path: $*" >&2; exit 1; }
mapfile -t tests <<<"$list"

# The seed that a test has printed, by the variable that replays it.
seed() {
    sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" "$2" | tail -n 1
}

rows=()
failed=0
for number in "${!tests[@]}"; do
    test=${tests[$number]}
    log=$logs/${test//::/.}.log
    echo "drill: $((number + 1)) of ${#tests[@]}: $test" >&2
    start=$SECONDS
    result=passed
    if ! cargo nextest run --locked --profile drill --no-capture -E "test(=$test)" >"$log" 2>&1 </dev/null; then
        result=FAILED
        failed=$((failed + 1))
        tail -n 40 "$log" >&2
    fi
    rows+=("$(printf '%-96s %5s  %-6s %7s  %s %s' "$test" "$kills" "$result" "$((SECONDS - start))" \
        "$(seed REPLICATOR_KILL_SEED "$log")" "$(seed REPLICATOR_SEED "$log")")")
done

printf '%-96s %5s  %-6s %7s  %s\n' test kills result seconds 'REPLICATOR_KILL_SEED REPLICATOR_SEED'
printf '%s\n' "${rows[@]}"
if [ "$failed" -gt 0 ]; then
    echo "drill: $failed of ${#tests[@]} tests failed; their output is in $logs" >&2
    exit 1
fi
