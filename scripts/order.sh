#!/usr/bin/env bash
# The order of the house. A folder of src/ includes headers of the folders before it only; the order is the list in
# CONTRIBUTING.md, read from there. And no file calls another that calls it, not even through others: looked up in the
# symbols of a build.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
bad=0

# The first indented line below the heading: folders parted by blanks and bars.
order=$(awk '/^## The house/ {here = 1} here && /^    [a-z]/ {gsub(/\|/, " "); print; exit}' CONTRIBUTING.md)
[ -n "$order" ] || { echo "CONTRIBUTING.md: no list of folders under 'The house'" >&2; exit 1; }
find src -name '*.[ch]' | LC_ALL=C sort | xargs awk -v order="$order" '
    BEGIN {
        n = split(order, names, " ")
        for (i = 1; i <= n; i++) place[names[i]] = i
    }
    FNR == 1 {
        split(FILENAME, path, "/")
        from = path[2]
        if (!(from in place)) { bad = 1; print FILENAME ": folder " from " is not in the list of CONTRIBUTING.md" }
    }
    /^ *# *include "/ {
        split($0, quoted, "\"")
        split(quoted[2], path, "/")
        to = path[1]
        if (to in place && place[to] > place[from]) {
            bad = 1
            print FILENAME ":" FNR ": " from " must not include " quoted[2] ": " to " comes after it"
        }
    }
    END { exit bad }' || bad=1

# Object files by the name of their source; the library is built twice from the same ones.
[ -f "$build/build.ninja" ] || { echo "$build is not a build: run make first" >&2; exit 1; }
symbols() {
    find "$build" -name '*.c.o' -path '*/src/*' ! -path '*opsm_shared*' ! -path '*/tests/*' | LC_ALL=C sort |
        while read -r object; do
            name=$(sed "s,.*/src/,,; s,CMakeFiles/[^/]*\.dir/,," <<<"$object")
            [ -f "src/${name%.o}" ] || continue # left over from a source that has gone
            nm "$object" | awk -v name="${name%.c.o}" '{print name, $(NF - 1), $NF}'
        done
}
circles=$(symbols | awk '
    $2 ~ /^[TDRBVW]$/ { home[$3] = $1 }
    $2 == "U" { n++; caller[n] = $1; symbol[n] = $3 }
    END {
        for (i = 1; i <= n; i++)
            if (symbol[i] in home && home[symbol[i]] != caller[i]) print caller[i], home[symbol[i]]
    }' | LC_ALL=C sort -u | { tsort 2>&1 >/dev/null || true; })
if [ -n "$circles" ]; then
    bad=1
    echo "files that call each other in a circle:"
    echo "$circles" | sed 's/^tsort: -: input contains a loop:/circle:/; s/^tsort: /    /'
fi
exit $bad
