#!/bin/sh
# Sees to what `make run` and `make check` need beyond Rust, a C compiler and make.
#
#   scripts/deps.sh run|check
#
# Looks first and installs only what is missing; a machine that has everything is left alone and needs
# no network. Root on a Debian-like system: apt-get. Anybody else is told what to install.
set -eu

usage() {
    echo "usage: scripts/deps.sh run|check" >&2
    exit 2
}

# One line per need: the Debian package, and how to see whether it is there: a command, a library as
# pkg-config knows it (pc:NAME), or a file that the compiler finds (lib:NAME).
needs_run='
    gcc             cc
    libc6-dev       lib:libc.a
    binutils        ld
    pkg-config      pkg-config
    libseccomp-dev  pc:libseccomp
    python3         python3
'
needs_check="$needs_run"'
    g++             g++
    groff-base      groff
    util-linux      setpriv
    strace          strace
    valgrind        valgrind
    libcmocka-dev   pc:cmocka
    golang-go       go
'

has() {
    case $1 in
    pc:*) pkg-config --exists "${1#pc:}" 2>/dev/null ;;
    # The compiler prints a path, or the bare name back when it does not find the file.
    lib:*) cc -print-file-name="${1#lib:}" 2>/dev/null | grep -q / ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# The packages of a list that are not there.
missing() {
    echo "$1" | while read -r package probe; do
        [ -z "$package" ] || has "$probe" || printf '%s ' "$package"
    done
}

# Somebody else (another build, unattended upgrades) may hold the package system's lock: wait for it.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q -y "$@"
}

# Two tries: what fails first is most often the list lock, for which apt-get has no timeout, or a
# list older than the archive.
install_packages() {
    # Word splitting is meant: one word per package.
    # shellcheck disable=SC2086
    apt install --no-install-recommends $1 && return
    for pause in 1 10 30; do
        apt update && break
        sleep "$pause"
    done
    # shellcheck disable=SC2086
    apt install --no-install-recommends $1
}

rust() {
    if ! command -v cargo >/dev/null 2>&1; then
        echo "deps: cargo is missing: install Rust (1.85 or later), with rustup or from your distribution" >&2
        exit 1
    fi
    [ "$1" = check ] || return 0
    for component in rustfmt clippy; do
        case $component in rustfmt) tool=fmt ;; *) tool=$component ;; esac
        cargo "$tool" --version >/dev/null 2>&1 && continue
        if command -v rustup >/dev/null 2>&1; then
            rustup component add "$component"
        else
            echo "deps: cargo $tool is missing: install $component of your Rust distribution" >&2
            exit 1
        fi
    done
}

case ${1-} in
run) needs=$needs_run ;;
check) needs=$needs_check ;;
*) usage ;;
esac

rust "$1"
packages=$(missing "$needs")
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: please install (Debian's names): $packages" >&2
    exit 1
fi
echo "deps: installing $packages"
install_packages "$packages"
packages=$(missing "$needs")
if [ -n "$packages" ]; then
    echo "deps: still missing after the installation: $packages" >&2
    exit 1
fi
