#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# generate and eval on the embedded model: formats, seeds, exit codes.
set -euo pipefail
model=$PWD/models/tiny.gguf
cd "$SCRATCH"
digits=123456789012345678901234

# The same seed gives the same text, whatever runs beside it and with however many threads.
"$OPSM" generate "$model" -p "$digits=" -n 6 --seed 4 --jsonl --precision f32 >six
OPSM_THREADS=1 "$OPSM" generate "$model" -p "$digits=" -n 6 --seed 4 --jsonl --precision f32 --in-flight 1 >alone
cmp six alone
[ "$(wc -l <six)" = 6 ]
rows 'list(rows[0]) == ["sample", "text", "prompt_tokens", "tokens", "logp", "finish"] and rows[0]["sample"] == 0' six
rows 'rows[0]["text"].isdigit() and all(type(t) is int for t in rows[0]["prompt_tokens"] + rows[0]["tokens"])' six
rows 'all(type(l) is float and l <= 0 for l in rows[0]["logp"]) and rows[0]["logp"][0] < 0' six
rows 'len(rows[0]["logp"]) == len(rows[0]["tokens"]) and any(r["finish"] == "end" for r in rows)' six
"$OPSM" generate "$model" -p "$digits=" -n 6 --seed 5 --jsonl --precision f32 >other
! cmp -s six other

# Greedy text streams to stdout; a stop string is not part of it; max-tokens holds.
text=$("$OPSM" generate "$model" -p "$digits=" --temperature 0)
[[ $text =~ ^[0-9]{24}$ ]]
stop=${text:6:3}
before=${text%%"$stop"*}
[ "$("$OPSM" generate "$model" -p "$digits=" --temperature 0 --stop "$stop")" = "$before" ]
[ "$("$OPSM" generate "$model" -p "$digits=" --temperature 0 --max-tokens 5)" = "${text:0:5}" ]

# Trained on demonstrations with 4% errors: sampled, about a third is right; the interval holds the estimate.
"$OPSM" eval "$model" --task modsum:24 --temperature 1 -n 200 --max-tokens 28 --json >eval
accuracy=$(sed 's/.*"accuracy": \([0-9.]*\),.*/\1/' eval)
awk -v a="$accuracy" 'BEGIN { exit !(a > 0.2 && a < 0.55) }'
grep -q '"accuracy_ci95": \[0\.[0-9]*, 0\.[0-9]*\]' eval
"$OPSM" eval "$model" --task modsum:24 --temperature 1 -n 20 --samples 4 --max-tokens 28 | grep -q '^pass@4 '

# Wrong usage is 2, failure is 1.
code() {
  local expected=$1 found=0
  shift
  "$OPSM" "$@" >out 2>log || found=$?
  [ "$found" = "$expected" ] && [ -s log ] || { echo "opsm $*: exit code $found, expected $expected"; exit 1; }
}
code 2 generate "$model"
code 2 generate "$model" -p x --temperature hot
code 2 generate "$model" -p x --chat
code 2 generate -p x
code 2 eval "$model"
code 2 eval "$model" --task modsum --samples 4
code 2 eval "$model" --task nonsense
code 2 eval "$model" --task modsum --max-tokens 128
grep -q "leaves no room" log
code 1 eval missing.gguf --task modsum
code 2 train
: >empty.yaml
code 2 train empty.yaml
code 1 train /dev/null
echo "generate and eval: accuracy $accuracy"
