#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every command, configuration, path and key that a document shows works. docs_commands.txt shortens what takes long.
set -euo pipefail
exec python3 tests/e2e/check_docs.py "$OPSM" "$SCRATCH"
