# Functions of the scripts; sourced by bash.

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf 'celreplay: %s\n' "$*" >&2
    exit 1
}

# The newest Python from 3.11 on.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$name"
            return
        fi
    done
    die "Python 3.11 or newer is needed (Debian 12 has it: apt-get install python3)"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME…: Debian packages, without starting any service.
install_packages() {
    command -v apt-get >/dev/null || die "please install: $* (there is no apt-get here to do it)"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "please run as root: apt-get install $*"
    say "installing $* by apt-get"
    # policy-rc.d is asked by invoke-rc.d before a package starts its service; 101 = not allowed.
    # One that stands here already is somebody's decision and stays.
    local policy=/usr/sbin/policy-rc.d made=no status=0 log
    log=$(mktemp)
    if [ ! -e "$policy" ]; then
        made=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    { as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq \
        && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >"$log" 2>&1 || status=$?
    [ "$made" = no ] || as_root rm -f "$policy"
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    [ "$status" = 0 ] || die "apt-get could not install: $*"
}

# need_program PROGRAM PACKAGE: servers lie in /usr/sbin, which is not on everybody's PATH.
need_program() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || install_packages "$2"
}
