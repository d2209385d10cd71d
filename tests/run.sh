#!/bin/sh
# Runs the C tests in one variant and counts their cases.
#
#   tests/run.sh VARIANT [NAME...]      NAME without `test_`; none: all of the variant's
#
#   shared          with libsbx.so                     static    with libsbx.a
#   sanitize        the host's side under the address and undefined-behaviour sanitizers
#   valgrind        tests/c/valgrind.list under valgrind: memory errors, leaks, descriptors left open
#   unprivileged    tests/c/unprivileged.list once more as uid 65534, from a place it can read
#
# `make tests VARIANT=...` has built them; `make test-VARIANT` does both. Tests named in serial.list run
# alone, the others side by side. sanitize.skip has lines `NAME why`: tests whose subject and a
# sanitizer's memory exclude each other. Counts are appended to the file $RESULTS, if there is one.
set -u

: "${BUILD:=build}" "${JOBS:=$(nproc)}" "${SECONDS_PER_TEST:=300}"
lists=$(cd "$(dirname "$0")/c" && pwd)
self=$(cd "$(dirname "$0")" && pwd)/run.sh

# The names in a list: one a line, `#` begins a comment.
names_in() {
    sed 's/#.*//; s/[[:space:]].*//; /^$/d; s/^test_//' "$1"
}

# By the sources: a program may be left over from a test that is no more.
every_test() {
    ls "$lists" | sed -n 's/^test_\(.*\)\.c$/\1/p'
}

# Cases in cmocka's report: "passed failed skipped". A case that began and has no result failed: the
# program ended in its middle. Names count once, since the summary repeats them.
count_cases() {
    awk '
        /^\[ RUN      \] / { began[$4] = 1 }
        /^\[       OK \] / { result[$4] = "passed" }
        /^\[  FAILED  \] / && $4 in began { result[$4] = "failed" }
        /^\[  SKIPPED \] / && $4 in began { result[$4] = "skipped" }
        END {
            for (name in began) n[name in result ? result[name] : "failed"]++
            print n["passed"] + 0, n["failed"] + 0, n["skipped"] + 0
        }' "$1"
}

# Descriptors that valgrind found open at the end and that were not there at the start.
left_open() {
    awk '/Open (file descriptor|AF_|.*socket)/ { open = $0; next }
         open != "" { if (!/inherited from parent/) print open; open = "" }' "$1"
}

# Runs one program: NAME of $VARIANT in $DIR. Leaves NAME.log, and the counts in NAME.count.
run_one() {
    name=$1
    program=$DIR/test_$name log=$LOGS/$name.log
    set -- "$program"
    case $VARIANT in
    sanitize)
        export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
        why=$(sed -n "s/^\(test_\)\{0,1\}${name}[[:space:]]\{1,\}//p" "$lists/sanitize.skip" 2>/dev/null)
        if [ -n "$why" ]; then
            echo "SKIP: $why" >"$log"
            set -- sh -c 'exit 77'
        fi
        ;;
    valgrind)
        export SBX_TEST_VALGRIND=1
        set -- valgrind --error-exitcode=99 --leak-check=full --track-fds=yes --child-silent-after-fork=yes \
            --log-file="$LOGS/$name.valgrind" "$@"
        ;;
    unprivileged)
        set -- setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
        ;;
    esac

    began=$(date +%s%N)
    # The shell in between writes what it has to say of a crash into the log, too.
    (cd "$DIR" && sh -c '"$@"; exit $?' sh timeout -k 10 "$SECONDS_PER_TEST" "$@") >>"$log" 2>&1 </dev/null
    code=$?
    took=$((($(date +%s%N) - began) / 1000000))

    note=
    read -r passed failed skipped <<END
$(count_cases "$log")
END
    if [ "$code" = 77 ] && [ "$passed$failed" = 00 ]; then
        skipped=1
    elif [ "$code" != 0 ] && [ "$failed" = 0 ]; then
        failed=1 note=", exit status $code"
        [ "$code" != 124 ] || note=", no end within $SECONDS_PER_TEST s"
    elif [ $((passed + failed + skipped)) = 0 ]; then
        failed=1 note=", no case ran"
    fi
    if [ "$VARIANT" = valgrind ] && [ -n "$(left_open "$LOGS/$name.valgrind")" ]; then
        failed=$((failed + 1)) note="$note, descriptors left open"
    fi
    echo "$passed $failed $skipped" >"$LOGS/$name.count"

    # One write for the whole report, so that reports of parallel tests do not mix.
    {
        word=ok
        [ "$failed" = 0 ] || word=FAILED
        echo "$word $VARIANT/$name: $passed passed, $failed failed, $skipped skipped ($took ms)$note"
        if [ "$failed" != 0 ]; then
            sed 's/^/    /' "$log"
            [ "$VARIANT" != valgrind ] || sed 's/^/    /' "$LOGS/$name.valgrind"
        else
            grep '^SKIP' "$log" | sort -u | sed 's/^/    /'
        fi
    } >"$LOGS/$name.report"
    cat "$LOGS/$name.report"
}

# What the unprivileged user needs, where it can read it (the checkout may be below /root).
copy_for_anybody() {
    DIR=$(mktemp -d "${TMPDIR:-/tmp}/sbx-check.XXXXXX") || exit 1
    trap 'rm -rf "$DIR"' EXIT
    trap 'exit 1' INT TERM
    mkdir -m 1777 "$DIR/tmp" && mkdir "$DIR/lib"
    for name in $all; do
        cp "$BUILD/tests/shared/test_$name" "$DIR" || exit 1
    done
    cp -R "$BUILD/tests/inside" "$DIR" && cp -P "$LD_LIBRARY_PATH"/libsbx.so* "$DIR/lib" || exit 1
    chmod -R go+rX "$DIR"
    export LD_LIBRARY_PATH="$DIR/lib" SBX_TEST_INSIDE="$DIR/inside" TMPDIR="$DIR/tmp"
}

# Tests that run as root start hosts of other users too: what those run has to be where they can read it.
copy_inside() {
    PLACE=$(mktemp -d "${TMPDIR:-/tmp}/sbx-inside.XXXXXX") || exit 1
    trap 'rm -rf "$PLACE"' EXIT
    trap 'exit 1' INT TERM
    cp -R "$BUILD/tests/inside" "$PLACE" && chmod -R go+rX "$PLACE" || exit 1
    export SBX_TEST_INSIDE="$PLACE/inside"
}

if [ "${1-}" = --one ]; then
    run_one "$2"
    exit 0
fi

VARIANT=${1-}
[ $# = 0 ] || shift
BUILD=$(cd "$BUILD" && pwd) || exit 2
DIR=$BUILD/tests/$VARIANT
LOGS=$BUILD/tests/logs/$VARIANT

case $VARIANT in
shared | sanitize) all=$(every_test) ;;
static) all=$(every_test) && unset LD_LIBRARY_PATH ;;
valgrind) all=$(names_in "$lists/valgrind.list") && export LD_LIBRARY_PATH="$VALGRIND_LIBDIR" ;;
unprivileged) all=$(names_in "$lists/unprivileged.list") ;;
*)
    echo "usage: tests/run.sh shared|static|sanitize|valgrind|unprivileged [NAME...]" >&2
    exit 2
    ;;
esac
[ $# = 0 ] || all=$(printf '%s\n' "$@" | sed 's/^test_//')
[ -n "$all" ] || {
    echo "tests/run.sh: no tests in variant $VARIANT" >&2
    exit 1
}
case $VARIANT in
unprivileged) copy_for_anybody ;;
*) copy_inside ;;
esac

rm -rf "$LOGS"
mkdir -p "$LOGS"
names_in "$lists/serial.list" >"$LOGS/serial" 2>/dev/null || : >"$LOGS/serial"
export VARIANT DIR LOGS SECONDS_PER_TEST
echo "$all" | grep -vxF -f "$LOGS/serial" | xargs -r -P "$JOBS" -n 1 "$self" --one
echo "$all" | grep -xF -f "$LOGS/serial" | xargs -r -n 1 "$self" --one

# A program that left no count was never run to its end.
totals=$(for name in $all; do cat "$LOGS/$name.count" 2>/dev/null || echo "0 1 0"; done |
    awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
[ -z "${RESULTS-}" ] || echo "$totals" >>"$RESULTS"
echo "$VARIANT: $(echo "$totals" | awk '{ printf "%d passed, %d failed, %d skipped", $1, $2, $3 }')"
echo "$totals" | awk '{ exit ($2 > 0) }'
