#!/usr/bin/env bash
# Runs one end-to-end script in a scratch directory that is removed afterwards.
set -euo pipefail
SCRATCH=$(mktemp -d)
export SCRATCH
trap 'rm -rf "$SCRATCH"' EXIT
bash "$1"
