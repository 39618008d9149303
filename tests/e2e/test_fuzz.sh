#!/usr/bin/env bash
# Every fuzz target builds and survives a few seconds from its seeds; `make fuzz SECONDS=600` is the long run.
set -euo pipefail
FUZZ_DIR=$SCRATCH exec scripts/fuzz.sh 5
