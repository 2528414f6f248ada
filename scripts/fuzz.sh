#!/usr/bin/env bash
# Runs every fuzz target of fuzz/ for a while, starting from its committed corpus; ends with failure at the first finding.
#
# Without a sanitizer: the code under test has no unsafe line, so what can be found is a panic, an overflow (debug assertions are
# on), a hang or memory without bound, and neither the build nor the inputs pay for a sanitizer. FUZZ_SANITIZER=address asks for one.
#
# Fuzzing needs compiler flags that only a nightly compiler takes by itself; RUSTC_BOOTSTRAP=1 lets the stable one take them.
#
# usage: scripts/fuzz.sh [SECONDS per target] [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true

scripts/install-tools.sh compiler fuzz
export RUSTC_BOOTSTRAP=1
# SQLite's C globals are linked with a daemon that no target calls; an address sanitizer takes them for doubled definitions.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_odr_violation=0

if [ $# -gt 0 ]; then
    targets=("$@")
else
    list=$(cargo fuzz list)
    mapfile -t targets <<<"$list"
fi
[ -n "${targets[0]:-}" ] || { echo "fuzz: fuzz/ has no target" >&2; exit 1; }

for target in "${targets[@]}"; do
    # What a run finds goes to a directory of its own, before the committed corpus: a run changes no committed file.
    found=$(mktemp -d)
    echo "fuzz: $target for $seconds s" >&2
    cargo fuzz run --sanitizer "${FUZZ_SANITIZER:-none}" "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 </dev/null
    rm -rf "$found"
done
