#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A function of ours that has the name of one in a library takes its place, inside of that library too (libjose asks
# jansson for json_string, say). No compiler warns of it; this does: tests/lint/symbols.sh PROGRAM

set -eu
program=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

nm --defined-only --extern-only "$program" | awk 'NF == 3 { print $3 }' | sort -u >"$scratch/ours"
ldd "$program" | awk '$3 ~ /^\// { print $3 }' | while read -r library; do
    nm --dynamic --defined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }'
done | sort -u >"$scratch/theirs"
[ -s "$scratch/ours" ] && [ -s "$scratch/theirs" ]

comm -12 "$scratch/ours" "$scratch/theirs" | grep -v -e '^_' -e '^data_start$' >"$scratch/both" || exit 0
printf 'These are names of functions in the libraries, too:\n' >&2
cat "$scratch/both" >&2
exit 1
