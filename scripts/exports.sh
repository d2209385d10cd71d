#!/bin/sh
# Prints the functions that a C header declares, sorted, one per line.
#
#   scripts/exports.sh include/sbx.h
#
# The preprocessor takes away comments and macros; what is left of our namespace and directly before
# an opening parenthesis is a function. (A typedef of a function pointer has its name in parentheses.)
set -eu

names=$("${CC:-cc}" -E -P "$1" | grep -oE '\<sbx_[a-z0-9_]+[[:space:]]*\(' | tr -d '( \t' | LC_ALL=C sort -u)
[ -n "$names" ] || {
    echo "exports: $1 declares no sbx_ function" >&2
    exit 1
}
echo "$names"
