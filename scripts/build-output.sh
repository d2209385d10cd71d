#!/bin/sh
# Writes one file of the library's build script to standard output.
#
#   scripts/build-output.sh NAME <cargo.json
#
# Cargo chooses the directory in which a build script leaves its files (OUT_DIR) and says so in its
# messages; the first such directory that holds NAME is ours.
set -eu

sed -n '/"reason":"build-script-executed"/s/.*"out_dir":"\([^"]*\)".*/\1/p' | while read -r dir; do
    if [ -f "$dir/$1" ]; then
        cat "$dir/$1"
        exit 10
    fi
done && {
    echo "build-output: the build script left no $1" >&2
    exit 1
}
[ $? = 10 ]
