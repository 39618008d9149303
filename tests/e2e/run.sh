#!/usr/bin/env bash
# Runs one end-to-end script in a scratch directory that is removed afterwards.
set -euo pipefail
SCRATCH=$(mktemp -d)
export SCRATCH
trap 'rm -rf "$SCRATCH"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
eval "rows() { python3 '$here/rows.py' \"\$@\"; }" # looks at JSON: rows.py says how
export -f rows
bash "$1"
