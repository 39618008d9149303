#!/usr/bin/env bash
# The gguf package, an independent reader, finds in the file we write what we put in. PYTHON chooses the interpreter.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import gguf, numpy' 2>/dev/null || { echo "skipped: the Python package gguf is not installed"; exit 77; }
OPSM_GGUF_OUT=$SCRATCH/example.gguf "$(dirname "$OPSM")/tests/test_gguf_write"
"$python" tests/golden/check_gguf.py "$SCRATCH/example.gguf"
