#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The text that is judged, matched and printed is the text of the tokens, whatever type the model's file gives them.
set -euo pipefail
tests=$PWD/tests
tiny=$PWD/models/tiny.gguf
qwen=$tests/golden/model-qwen3.gguf
cd "$SCRATCH"
retype() { python3 "$tests/e2e/retype.py" "$@"; }
same() { cmp "$1" "$2" || { echo "$3: the same weights, another result"; diff "$1" "$2" | head; exit 1; }; }

# The same weights have the same accuracy, whatever type a digit has.
evaluate() { "$OPSM" eval "$1" --task modsum:24 -n 60 --max-tokens 28 --json | sed 's/"seconds": [^,]*, //'; }
evaluate "$tiny" >normal
for type in 4 6 0 99; do
  retype "$tiny" typed.gguf $type 3 7 =
  evaluate typed.gguf >typed
  same normal typed "token type $type"
done
awk 'match($0, /"accuracy": [0-9.]+/) && substr($0, RSTART + 12, RLENGTH - 12) > 0.5 { good = 1 } END { exit !good }' normal

# Printed at once, printed as JSON and streamed; a stop string of a user-defined token fires.
retype "$tiny" typed.gguf 4 1 2 3
for options in "-n 3 --jsonl" "-n 3" "-n 1" "-n 1 --stop 3" "-n 2 --stop 12 --stop 23 --jsonl"; do
  for model in "$tiny" typed.gguf; do
    # shellcheck disable=SC2086
    "$OPSM" generate "$model" -p 123456789012345678901234= --seed 5 $options >"text-$(basename "$model")"
  done
  same text-tiny.gguf text-typed.gguf "generate $options"
done
text=$("$OPSM" generate typed.gguf -p 123456789012345678901234= --temperature 0)
[[ $text == *3* ]] && [ "$("$OPSM" generate typed.gguf -p 123456789012345678901234= --temperature 0 --stop 3)" = "${text%%3*}" ]

# A model with Qwen's architecture, half of whose letters are user-defined.
retype "$qwen" typed.gguf 4 a c e g i k m o q s u w y
for model in "$qwen" typed.gguf; do
  "$OPSM" generate "$model" -p "a" -n 8 --max-tokens 60 --temperature 1.5 --jsonl | sed 's/"prompt_tokens.*//' >"text-$(basename "$model")"
done
same text-model-qwen3.gguf text-typed.gguf "a Qwen model"
echo "text: $(grep -o '"accuracy": [0-9.]*' normal), whatever the type of a token"
