#!/usr/bin/env bash
# Measures the whole program against its references in one run (docs/benchmarks.md). Takes scenario names and `mysql` or
# `mariadb` as arguments; without any, everything is measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/install-servers.sh
cargo bench --locked --bench row_image
cargo bench --locked --bench clickhouse_encode
cargo bench --locked --bench end_to_end -- "$@"
