#!/bin/sh
# Every way of linking a program with the library, by what pkg-config says and nothing else, and each
# program starts a sandbox: what the link left out would be missed at the latest then.
#
#   scripts/check-linking.sh LIBDIR SOURCE VERSION     (CC and pkg-config's variables from the environment)
set -eu

libdir=$1 source=$2 version=$3
: "${CC:=cc}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

said=$(pkg-config --modversion sbx)
[ "$said" = "$version" ] || {
    echo "linking: pkg-config says version $said, the package is $version" >&2
    exit 1
}

# The linker's warnings are findings: nothing in the library needs a shared library at run time.
try() {
    name=$1
    shift
    $CC -std=c11 -Wall -Wextra -Wpedantic -Werror -Wl,--fatal-warnings "$source" -o "$work/$name" "$@"
    "$work/$name"
    echo "linking: $name: good"
}

# Word splitting is meant: pkg-config prints lists of options.
# shellcheck disable=SC2046
{
    LD_LIBRARY_PATH=$libdir try shared $(pkg-config --cflags --libs sbx)
    unset LD_LIBRARY_PATH
    try archive $(pkg-config --cflags --static --libs sbx | sed 's/-lsbx/-l:libsbx.a/')
    try static -static $(pkg-config --cflags --static --libs sbx)
    try static-pie -static-pie -fPIE $(pkg-config --cflags --static --libs sbx)
    # A host that drops what it does not reach must not drop the child's code.
    try collected -Wl,--gc-sections $(pkg-config --cflags --static --libs sbx | sed 's/-lsbx/-l:libsbx.a/')
}

# None of these may lean on the shared library after all.
for program in archive static static-pie collected; do
    if readelf -dW "$work/$program" | grep -q 'libsbx'; then
        echo "linking: $program needs the shared library" >&2
        exit 1
    fi
done
