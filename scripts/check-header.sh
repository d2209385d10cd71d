#!/bin/sh
# The header by itself: in step with the Rust sources, and accepted alone, and twice, by C11 and C++17
# compilers that are asked to be strict. Its version is the package's.
#
#   scripts/check-header.sh VERSION       (CC, CXX, CARGO, CARGOFLAGS from the environment)
set -eu

version=$1
warnings='-Wall -Wextra -Wpedantic -Werror -Wshadow -Wundef -fsyntax-only'

# Word splitting is meant, here and below: these variables are lists of options.
# shellcheck disable=SC2086
${CARGO:-cargo} run ${CARGOFLAGS-} -q -p sbx-header -- --check

accepted() {
    language=$1
    shift
    for times in once twice; do
        echo '#include "sbx.h"'
        [ $times = once ] || echo '#include "sbx.h"'
        echo 'extern int not_empty;'
    done | "$@" -Iinclude -x "$language" -
    echo "header: accepted as $language by $1"
}

# shellcheck disable=SC2086
accepted c "${CC:-cc}" -std=c11 -Wstrict-prototypes -Wc++-compat $warnings
# shellcheck disable=SC2086
accepted c++ "${CXX:-c++}" -std=c++17 $warnings
if command -v clang >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    accepted c clang -std=c11 $warnings
    # shellcheck disable=SC2086
    accepted c++ clang++ -std=c++17 $warnings
fi

said=$(printf '#include "sbx.h"\nversion: SBX_VERSION_MAJOR.SBX_VERSION_MINOR.SBX_VERSION_PATCH\n' |
    ${CC:-cc} -E -P -Iinclude -x c - | sed -n 's/^version: //p' | tr -d ' ')
if [ "$said" != "$version" ]; then
    echo "header: says version $said, the package is $version" >&2
    exit 1
fi
