#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# opsm bench: what is measured is what was asked for, and the JSON says what that was.
set -euo pipefail
model=models/tiny.gguf
fail() {
  echo "$1"
  exit 1
}
has() { # JSON, then key=value ...: numbers and words that must be in it
  python3 - "$@" <<'PY' || exit 1
import json, sys
row = json.loads(sys.argv[1])
for word in sys.argv[2:]:
    key, value = word.split("=", 1)
    found = row
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    good = found > 0 if value == "positive" else str(found) == value
    if not good:
        sys.exit(f"{key} is {found!r}, expected {value} in {row}")
PY
}

row=$("$OPSM" bench generate "$model" --prompt 7 --tokens 5 --in-flight 3 --seconds 0.1 --json)
has "$row" bench=generate model="$model" prompt=7 tokens=5 in_flight=3 precision=bf16 tokens_per_second=positive ceiling_gflops=positive
row=$("$OPSM" bench train "$model" --prompt 7 --tokens 5 --groups 2 --group 3 --seconds 0.1 --precision f32 --json)
has "$row" bench=train prompt=7 tokens=5 groups=2 group=3 precision=f32 tokens_per_second=positive share=positive
# The shapes are the model's: 24 x 64 queries and keys, and so on.
row=$("$OPSM" bench gemm "$model" --rows 33 --seconds 0.1 --json)
"$OPSM" info "$model" --tensors >"$SCRATCH/info"
read -r dim vocab < <(sed -n 's/^  output.weight  *[A-Z0-9_]* *\([0-9]*\) x \([0-9]*\)$/\1 \2/p' "$SCRATCH/info")
read -r dim ffn < <(sed -n 's/^  blk.0.ffn_up.weight  *[A-Z0-9_]* *\([0-9]*\) x \([0-9]*\)$/\1 \2/p' "$SCRATCH/info")
has "$row" rows=33 model="$model" products.2.n_out=$((2 * ffn)) products.2.n_in="$dim" products.3.n_in="$ffn" \
  products.4.n_out="$vocab" products.0.forward_gflops=positive products.4.dw_gflops=positive
has "$("$OPSM" bench gemm --seconds 0.1 --json)" bench=gemm ceiling_gflops=positive
has "$("$OPSM" bench objective --sequences 8 --length 16 --repeats 3 --json)" sequences=8 length=16
"$OPSM" bench gemm "$model" --rows 16 --seconds 0.1 | grep -q '^head '

expect() {
  local code=$1 sentence=$2 found=0
  shift 2
  "$OPSM" "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" || found=$?
  [ $found = "$code" ] && grep -q -e "$sentence" "$SCRATCH/err" || fail "opsm $*: exit code $found, $(cat "$SCRATCH/err")"
}
expect 2 "the model's context" bench generate "$model" --prompt 4000
expect 2 "from 1 to" bench generate "$model" --tokens 0
expect 2 "from 1 to" bench train "$model" --group 5x
expect 2 "did you mean '--in-flight'" bench generate "$model" --in-fligth 3
expect 2 "unknown option '--in-flight'" bench train "$model" --in-flight 3
expect 2 "usage: opsm bench" bench generate
expect 2 "f32 or bf16" bench gemm --precision int4
expect 2 "unknown benchmark 'speed'" bench speed
OPSM_MEMORY=100MB expect 1 "lower --in-flight" bench generate "$model" --in-flight 60000
OPSM_MEMORY=100MB expect 1 "lower --groups" bench train "$model" --groups 3000
expect 2 "tokens in one batch" bench train "$model" --groups 65536 --group 4096
OPSM_MEMORY=100MB expect 1 "lower --sequences" bench objective --sequences 100000 --length 1000
expect 2 "did you mean '--repeats'" bench objective --repaets 3
expect 2 "did you mean '--delta'" audit --detla 0.1 x.jsonl
expect 1 "nowhere.gguf" bench gemm nowhere.gguf
