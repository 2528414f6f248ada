#!/usr/bin/env bash
# Installs what building and testing need besides Rust itself, on Debian 12: a C compiler (SQLite and ring are built
# from C), and the cargo subcommands that `make test` and `make fuzz` call. Does nothing when nothing is missing.
#
# usage: scripts/install-tools.sh [compiler] [nextest] [deny] [fuzz]      (default: compiler nextest deny)
set -euo pipefail

say() { printf 'install-tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/apt.sh
. "$here/apt.sh"

command -v cargo >/dev/null || die "cargo is not on PATH; install Rust from https://rustup.rs"

# Versions are pinned so that two machines judge alike; a newer one that is there already is taken.
install_subcommand() {
    local name=$1 version=$2
    if ! cargo "$name" --version >/dev/null 2>&1; then
        say "building cargo-$name $version"
        # Built without optimisation, which would take longer than it saves: each runs for seconds.
        cargo install --debug --locked --quiet "cargo-$name@$version" </dev/null
    fi
}

[ $# -gt 0 ] || set -- compiler nextest deny
for tool in "$@"; do
    case $tool in
        # The fuzzing runtime is C++; the rest needs C.
        compiler) command -v cc c++ make >/dev/null || apt_install build-essential ;;
        nextest) install_subcommand nextest 0.9.143 ;;
        deny) install_subcommand deny 0.20.2 ;;
        fuzz) install_subcommand fuzz 0.13.2 ;;
        *) die "unknown tool '$tool' (known: compiler, nextest, deny, fuzz)" ;;
    esac
done
