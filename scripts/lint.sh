#!/usr/bin/env bash
# clang-tidy over every source of the build; prints only findings.
set -uo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
git ls-files 'src/*.c' | xargs -P "$(nproc)" -n 1 clang-tidy -quiet -p "$build" 2>/dev/null
