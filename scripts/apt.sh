# Sourced, not run: installing Debian packages as root or through sudo, without starting the services they bring.
# The including script defines say and die.

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo. The command was: $*"
    fi
}

# Installs packages. While it runs, a policy-rc.d forbids package scripts to start services (Debian's own mechanism,
# see policy-rc.d in the invoke-rc.d manual); a machine that has its own policy keeps it. In a subshell, so that the
# policy goes away however the installation ends.
apt_install() {
    command -v apt-get >/dev/null || die "this is not a Debian machine; install by hand: $*"
    (
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap 'as_root rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
            as_root chmod 755 "$policy"
        fi
        # Chained, because bash ignores "set -e" on the left of ||.
        as_root apt-get update -qq &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
    ) >&2 </dev/null || die "apt-get could not install: $*"
}
