#!/usr/bin/env bash
# clang-tidy over every source of the build; prints only findings and fails when there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -f "$build/compile_commands.json" ] || { echo "$build has no compile_commands.json: run make first" >&2; exit 1; }
# One file a process: the analyzer's budget is then the same whatever else is checked. xargs passes failures on.
git ls-files 'src/*.c' | xargs -P "$(nproc)" -n 1 clang-tidy -quiet -p "$build" \
    2> >(grep -v -E '^[0-9]+ warnings? generated\.$' >&2)
