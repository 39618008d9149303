#!/usr/bin/env bash
# Trains the embedded tiny model off-policy twice side by side, with the mask and without it, and prints what each run
# did to held-out accuracy. Usage: demo.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
opsm=${1:-build}/opsm
out=runs/demo
rm -rf "$out" "$out-unmasked" # the demo always starts anew

accuracy() { # MODEL -> "0.3680  [0.3387, 0.3984]"
  OPSM_THREADS=1 "$opsm" -q eval "$1" --task modsum --difficulty 24 -n 1000 --temperature 1 --max-tokens 28 \
    --precision f32 | sed -n 's/^pass@1 *//; s/ *(accuracy)//p'
}

echo "Two runs on one core each: rollouts 8 iterations old, 16 optimiser steps per batch, with OPSM and without."
OPSM_THREADS=1 "$opsm" -q train examples/demo.yaml "output=$out-unmasked" objective.mask.rule=none &
unmasked=$!
trap 'kill "$unmasked" 2>/dev/null || true' EXIT
OPSM_THREADS=1 "$opsm" train examples/demo.yaml "output=$out"
wait "$unmasked"
trap - EXIT

before=$(accuracy models/tiny.gguf)
masked=$(accuracy "$out/model.gguf")
none=$(accuracy "$out-unmasked/model.gguf")
cat <<TABLE

held-out accuracy, 1000 problems, sampled at temperature 1 (95% interval)
  before                   $before
  off-policy with OPSM     $masked
  off-policy without mask  $none

metrics      $out/metrics.jsonl  $out-unmasked/metrics.jsonl
models       $out/model.gguf  $out-unmasked/model.gguf
settings     $out/config.yaml
TABLE
