#!/bin/sh
# The two libraries by themselves: what they show, what they need, and how they are laid out.
#
#   scripts/check-libraries.sh LIBDIR NAMES RUST_LIB VERSION
#
# LIBDIR holds the installed libraries, NAMES the header's functions, RUST_LIB is cargo's static library.
set -u
export LC_ALL=C

libdir=$1 names=$2 rust_lib=$3 version=$4
shared=$libdir/libsbx.so.$version static=$libdir/libsbx.a
soname=libsbx.so.${version%%.*}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0

fail() {
    echo "libraries: $*" >&2
    bad=1
}

# Both files sorted, one name per line; the difference is the message.
same() {
    diff "$2" "$3" >"$work/diff" || fail "$1 (<: missing, >: too many)
$(grep '^[<>]' "$work/diff")"
}

sort "$names" >"$work/names"
for name in sbx_runner_new sbx_set_bpf sbx_add_mount sbx_start; do
    grep -qx "$name" "$work/names" || fail "the header does not declare $name"
done

# The shared library: our functions under our version, and the version's own name.
nm -D --defined-only "$shared" | awk '$2 == "T" { print $3 }' | sort >"$work/exported"
sed 's/$/@@SBX_0/' "$work/names" >"$work/versioned"
same "exported by $shared" "$work/versioned" "$work/exported"
nm -D --defined-only "$shared" | awk '$2 != "T" && !($2 == "A" && $3 == "SBX_0")' >"$work/others"
[ ! -s "$work/others" ] || fail "exported by $shared, and no function: $(cat "$work/others")"

readelf -dW "$shared" >"$work/dynamic"
grep -q "SONAME.*\[$soname\]" "$work/dynamic" || fail "$shared: its soname is not $soname"
grep -q 'TEXTREL' "$work/dynamic" && fail "$shared: relocates its text"
grep -Eq 'BIND_NOW|FLAGS.*NOW' "$work/dynamic" || fail "$shared: binds lazily"
grep -Eq 'RPATH|RUNPATH' "$work/dynamic" && fail "$shared: carries a search path"
for needed in $(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' "$work/dynamic"); do
    case $needed in
    libc.so.6 | libgcc_s.so.1 | ld-linux*) ;;
    libpthread.so.0 | libdl.so.2) ;; # part of libc since glibc 2.34
    *) fail "$shared: needs $needed" ;;
    esac
done

readelf -lW "$shared" >"$work/segments"
grep -q 'GNU_RELRO' "$work/segments" || fail "$shared: no read-only relocations"
grep 'GNU_STACK' "$work/segments" | grep -q 'RW ' || fail "$shared: its stack is executable, or it does not say"
grep 'LOAD' "$work/segments" | grep -q 'RWE' && fail "$shared: a segment is writable and executable"
for link in "$libdir/libsbx.so" "$libdir/$soname"; do
    [ "$(readlink -f "$link")" = "$(readlink -f "$shared")" ] || fail "$link does not lead to $shared"
done

# The static library: nothing else is visible to the program that it is linked into.
nm -g --defined-only "$static" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort >"$work/globals"
same "global in $static" "$work/names" "$work/globals"
readelf -SW "$static" | grep -q 'note.GNU-stack' || fail "$static: would make its program's stack executable"

# The reverse: a function that Rust exports under our prefix and that the header does not know. The
# child's entry points are the library's own. (readelf, since nm would try LLVM's plugin on bitcode.)
readelf -sW "$rust_lib" 2>/dev/null |
    awk '$4 == "FUNC" && $5 == "GLOBAL" && $7 != "UND" && $8 ~ /^sbx_/ && $8 !~ /^sbx_child_/ { print $8 }' |
    sort -u >"$work/rust"
same "exported by the Rust sources" "$work/names" "$work/rust"

[ "$bad" = 0 ] || exit 1
echo "libraries: $(wc -l <"$work/names") functions, all in the header, the shared and the static library"
echo "libraries: $soname needs$(sed -n 's/.*NEEDED.*\[\(.*\)\]/ \1/p' "$work/dynamic" | tr -d '\n')"
