#!/usr/bin/env bash
# The order of the house: a folder of src/ includes headers of the folders before it only, and no two files of one folder
# include each other in a circle. The order is the list in CONTRIBUTING.md, read from there.
set -euo pipefail
cd "$(dirname "$0")/.."
# The first indented line below the heading: folders parted by blanks and bars.
order=$(awk '/^## The house/ {here = 1} here && /^    [a-z]/ {gsub(/\|/, " "); print; exit}' CONTRIBUTING.md)
[ -n "$order" ] || { echo "CONTRIBUTING.md: no list of folders under 'The house'" >&2; exit 1; }

find src -name '*.[ch]' | LC_ALL=C sort | xargs awk -v order="$order" '
    BEGIN {
        n = split(order, names, " ")
        for (i = 1; i <= n; i++) place[names[i]] = i
    }
    { split(FILENAME, path, "/"); from = path[2] }
    FNR == 1 && !(from in place) { bad = 1; print FILENAME ": folder " from " is not in the list of CONTRIBUTING.md" }
    /^ *# *include "/ {
        split($0, quoted, "\"")
        split(quoted[2], path, "/")
        to = path[1]
        if (!(to in place)) next # opsm/, and what a build generates
        if (place[to] > place[from]) {
            bad = 1
            print FILENAME ":" FNR ": " from " must not include " quoted[2] ": " to " comes after it"
        }
        # A file and its header are one; so are the arrows between them.
        a = FILENAME; sub(/^src\//, "", a); sub(/\.[ch]$/, "", a)
        b = quoted[2]; sub(/\.h$/, "", b)
        if (a != b) arrow[a, b] = FILENAME ":" FNR
    }
    END {
        for (pair in arrow) {
            split(pair, end, SUBSEP)
            if (end[1] < end[2] && ((end[2], end[1]) in arrow)) {
                bad = 1
                print arrow[pair] ": " end[1] " and " end[2] " include each other (" arrow[end[2], end[1]] ")"
            }
        }
        exit bad
    }'
