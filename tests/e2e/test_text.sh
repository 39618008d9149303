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

# A fresh model has the characters of its data; another model says what it lacks, once, and works on.
for i in 1 2 3 4 5 6; do
  printf '{"prompt": "%s×%s → été\\t?", "answer": "%s €"}\n' "$i" "$i" "$((i * i))"
done >data.jsonl
cat >sft.yaml <<'YAML'
output: fresh
precision: f32
data: {file: data.jsonl, eval_file: data.jsonl, system: "Réponds."}
rollout: {max_tokens: 12, max_prompt: 60}
optim: {lr: 3.0e-3, warmup: 20}
train: {eval_every: 0, checkpoint_every: 0}
sft: {steps: 1, batch: 4, init: {dim: 16, layers: 1, heads: 2, kv_heads: 2, ffn: 32, context: 96}}
YAML
sed 's/eval_file: data.jsonl, //' sft.yaml >no-eval.yaml
"$OPSM" sft no-eval.yaml >log 2>&1
! grep -q "no token" log
prompt=$(printf 'Réponds.\n2×2 → été\t?')
"$OPSM" generate fresh/model.gguf -p "$prompt" --max-tokens 4 --jsonl >out 2>log
! grep -q "no token" log
n=$(printf '%s' "$prompt" | wc -c)
[ "$(sed 's/.*"prompt_tokens": \[\([^]]*\)\].*/\1/' out | tr , '\n' | wc -l)" = "$n" ] # a token for every byte
"$OPSM" generate "$tiny" -p "$prompt" --max-tokens 4 >out 2>log
grep -q "no token for $(printf '%s' "$prompt" | tr -d '2\n ' | wc -c) bytes of the prompt" log
printf '2×2' | "$OPSM" score "$tiny" >out 2>log
grep -q "no token for 2 bytes of the text" log
sed '/^sft:/d; s/output: fresh/output: lacking/; s/{eval_every/{iterations: 1, eval_every/' no-eval.yaml >train.yaml
sed 's/max_tokens: 12/prompts: 2, group: 2, max_tokens: 12/' train.yaml >lacking.yaml
"$OPSM" train lacking.yaml model="$tiny" schedule.minibatches=1 reward='[{type: exact}]' >log 2>&1
[ "$(grep -c "^warning: .* no token for .* bytes in 6 of 6 problems" log)" = 1 ]
# One begin token, as the template says, though the file says add_bos_token false; the real template of Llama 3.
python3 "$tests/e2e/add_template.py" fresh/model.gguf llama.gguf "$tests/golden/chat/llama3.jinja"
"$OPSM" generate llama.gguf --chat -p "2×2" --max-tokens 1 --jsonl 2>log | rows 'row["prompt_tokens"][0] == 0 != row["prompt_tokens"][1]'
"$OPSM" generate llama.gguf -p "2×2" --max-tokens 1 --jsonl 2>log | rows 'row["prompt_tokens"][0] > 0'
code=0
"$OPSM" generate llama.gguf -p x --system y >out 2>log || code=$?
[ "$code" = 2 ] && grep -q -- "--system is for --chat" log

# Without a template the turns are joined: none is lost on the way to the model.
for i in 1 2 3 4 5 6; do
  echo "{\"messages\": [{\"role\": \"user\", \"content\": \"$i\"}, {\"role\": \"assistant\", \"content\": \"9\"}, {\"role\": \"user\", \"content\": \"7=\"}, {\"role\": \"assistant\", \"content\": \"$i\"}]}"
done >data.jsonl
"$OPSM" -q train lacking.yaml model=fresh/model.gguf output=turns data.system=8 schedule.minibatches=1 >out
rows 'any(r["prompt"] in [f"8\n{i}\n9\n7=" for i in range(1, 7)] for r in rows)' turns/samples.jsonl

echo "text: accuracy $(rows 'row["accuracy"]' normal), whatever the type of a token"
