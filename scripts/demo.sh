#!/usr/bin/env bash
# The laboratory on the embedded model: four arms, three seeds, a table and a verdict. Fails when the unmasked arm did not
# fall below half of its best, or OPSM did not hold above 0.9 of it (lab.expect). Usage: demo.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
opsm=${1:-build}/opsm
rm -rf runs/demo # the demo always starts anew

cat <<'TEXT'
A two-layer model that solves 37% of its problems is trained for 480 optimiser steps in four ways, three seeds each:
  on-policy   fresh rollouts for every step
  none        rollouts 8 iterations old, 16 steps on each batch, no mask
  opsm        the same, with Off-Policy Sequence Masking
  negatives   the same, every answer below its group's mean dropped
TEXT
"$opsm" lab examples/lab/demo.yaml
