#!/bin/sh
# Everything there is to check, in the order in which a failure tells most. `make check` calls it.
#
# Each step's output goes to build/check/STEP.log and is shown when the step fails; then the next step
# is taken all the same, unless there is nothing to test without this one. The last line is
# `N passed, N failed, N skipped`: test cases where a step counts them, else the step itself.
set -u

: "${MAKE:=make}" "${BUILD:=build}"
logs=$(pwd)/$BUILD/check
counts=$logs/counts
rm -rf "$logs"
mkdir -p "$logs"
: >"$counts"
began_at=$(date +%s)

summary() {
    awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s }' "$counts"
}

finish() {
    echo "check: took $(($(date +%s) - began_at)) s; logs in $BUILD/check"
    summary
    awk '$2 > 0 { bad = 1 } END { exit bad }' "$counts"
    exit $?
}

# The counts of the tools that report their cases; nothing where the log has none.
count_cargo() {
    awk '/^test result:/ { p += $4; f += $6; s += $8; n++ } END { if (n) print p, f, s }' "$1"
}
count_go() {
    awk '/^ *--- PASS/ { p++ } /^ *--- FAIL/ { f++ } /^ *--- SKIP/ { s++ } END { if (p + f + s) print p + 0, f + 0, s + 0 }' "$1"
}

# step NAME HOW COMMAND...   HOW: `one` (the step is the case), `cargo`, `go`, or `own` (the command
# appends its counts to $RESULTS).
step() {
    name=$1 how=$2
    shift 2
    log=$logs/$name.log
    RESULTS=$logs/$name.counts
    rm -f "$RESULTS"
    export RESULTS
    started=$(date +%s)
    "$@" >"$log" 2>&1 </dev/null
    code=$?
    case $how in
    cargo | go) "count_$how" "$log" >"$RESULTS" ;;
    esac
    # A step without cases is one. A command that failed has a failure, also where its cases did not
    # see it; and a step that ran no case at all has shown nothing.
    [ -s "$RESULTS" ] || [ $code != 0 ] || [ "$how" != one ] || echo "1 0 0" >"$RESULTS"
    touch "$RESULTS"
    ran=$(awk '{ p += $1 + $3; f += $2 } END { print f ? "bad" : p ? "good" : "none" }' "$RESULTS")
    case $code:$ran in
    0:good | *:bad) ;;
    0:none) code=1 && echo "check: no case ran" >>"$log" && echo "0 1 0" >>"$RESULTS" ;;
    *) echo "0 1 0" >>"$RESULTS" ;;
    esac
    cat "$RESULTS" >>"$counts"
    cases=$(awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped", p, f, s }' "$RESULTS")
    if [ $code = 0 ]; then
        echo "ok     $name: $cases ($(($(date +%s) - started)) s)"
        grep -hE '^(child-code|libraries): ' "$log" | sed 's/^/    /'
    else
        echo "FAILED $name: $cases ($(($(date +%s) - started)) s)"
        case $how in
        # Of a long report only what failed: each failing test with all it said.
        own) awk '/^ok / { shown = 0 } /^FAILED / { shown = 1 } !/^(ok|FAILED|    )/ { shown = 1 } shown' "$log" ;;
        *) cat "$log" ;;
        esac
    fi
    # What was skipped is said aloud, with its reason.
    grep -hE '^ *(SKIP|--- SKIP)' "$log" | sort | uniq -c
    return $code
}

variable() {
    $MAKE --no-print-directory -s "print-$1"
}

test_cxx() {
    passed=0 failed=0 skipped=0
    for source in tests/cxx/*.cpp; do
        program=$BUILD/tests/cxx/$(basename "$source" .cpp)
        mkdir -p "$BUILD/tests/cxx"
        # shellcheck disable=SC2046
        if ! ${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Werror -O1 -g "$source" -o "$program" \
            $(pkg-config --cflags --libs sbx) -lpthread; then
            failed=$((failed + 1))
            continue
        fi
        timeout -k 10 300 "$program"
        case $? in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
        esac
    done
    echo "$passed $failed $skipped" >"$RESULTS"
    [ "$failed" = 0 ]
}

test_go() (
    cd tests/go && go vet ./... && timeout -k 10 300 go test -count=1 -v ./...
)

cargo=${CARGO:-cargo} flags=${CARGOFLAGS-}
version=$(variable VERSION)
libdir=$(variable STAGE_LIBDIR)

# Word splitting is meant: $flags is a list of options.
# shellcheck disable=SC2086
{
    step format one $cargo fmt --all --check -- --color=never
    step build one "$MAKE" stage || finish
    step clippy one $cargo clippy $flags --workspace --all-targets -- -D warnings
    step unit-tests cargo $cargo test $flags --release
}

eval "export $(variable STAGE_ENV)"
step header one scripts/check-header.sh "$version"
step manual one scripts/man-pages --check "$BUILD/check/man"
step docs one scripts/check-docs
step libraries one scripts/check-libraries.sh "$libdir" "$(variable NAMES)" "$(variable RUST_LIB)" "$version"
step linking one scripts/check-linking.sh "$libdir" tests/link/start.c "$version"
step child-code-self-test one scripts/check-child-code --self-test
step child-code one scripts/check-child-code --library "$(variable UNSTRIPPED)" --program "$BUILD/sbx-init"

# The other variants and the unprivileged run use what `shared` shows to be sound.
for variant in shared unprivileged static sanitize valgrind; do
    # Without root the whole of `shared` has been the unprivileged run.
    [ "$variant" != unprivileged ] || [ "$(id -u)" = 0 ] || continue
    step "tests-$variant" own "$MAKE" --no-print-directory -j "$(nproc)" "test-$variant"
done
step cxx own test_cxx
step go go test_go
step bench-smoke one "$MAKE" --no-print-directory bench BENCHFLAGS=--quick
step hello one sh -c '$1 --no-print-directory -s examples && $2/examples/hello | grep "hello from the sandbox"' sh "$MAKE" "$BUILD"
step run one "$MAKE" --no-print-directory run
finish
