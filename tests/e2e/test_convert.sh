#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# opsm convert: the same model in both formats scores the same to the bit; types; nothing that is there is written over;
# a Hugging Face directory is taken wherever a GGUF file is.
set -euo pipefail
golden=$PWD/tests/golden
cd "$SCRATCH"
text="the cat sat, then 12 hats."

fail() {
    echo "$1"
    exit 1
}
refused() { # CODE SENTENCE WORDS...
    local code=0 wanted=$1 sentence=$2
    shift 2
    "$OPSM" "$@" >out 2>log </dev/null || code=$?
    [ "$code" = "$wanted" ] && [ ! -s out ] && grep -q "$sentence" log || fail "$*: $code, $(cat log), expected $sentence"
}

for name in llama qwen2 qwen3; do
    gguf=$golden/model-$name.gguf
    [ "$("$OPSM" convert "$gguf" "$name/")" = "$name" ]
    [ "$(ls "$name" | tr '\n' ' ')" = "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json " ]
    "$OPSM" convert "$name" "$name.gguf" >/dev/null
    for precision in f32 bf16; do
        "$OPSM" score "$gguf" --precision $precision --jsonl <<<"$text" >expected
        "$OPSM" score "$name" --precision $precision --jsonl <<<"$text" | cmp - expected
        "$OPSM" score "$name.gguf" --precision $precision --jsonl <<<"$text" | cmp - expected
    done
    "$OPSM" -q generate "$name" -p a --max-tokens 8 --jsonl >a
    "$OPSM" -q generate "$gguf" -p a --max-tokens 8 --jsonl | cmp - a
done
"$OPSM" info llama | grep -q "4 heads of 12 over 2 key heads"
for type in f32 f16 bf16 q8_0 q4_k_m; do
    "$OPSM" convert llama "llama-$type.gguf" --type $type >/dev/null
    "$OPSM" score "llama-$type.gguf" <<<"$text" >/dev/null
done
"$OPSM" convert llama-q8_0.gguf from-blocks >/dev/null
grep -q float16 from-blocks/config.json

# Training, and its evaluation, from a directory; the run's model goes back to one.
cat >run.yaml <<'YAML'
model: qwen3
output: run
precision: f32
task: {name: addition, difficulty: 1}
rollout: {prompts: 2, group: 2, max_tokens: 4, max_prompt: 60}
schedule: {minibatches: 2}
train: {iterations: 1, eval_every: 0}
YAML
"$OPSM" -q train run.yaml >/dev/null 2>&1
"$OPSM" convert run run-hf >/dev/null
"$OPSM" score run <<<"$text" >a 2>/dev/null
"$OPSM" score run-hf <<<"$text" | cmp - a
"$OPSM" eval qwen3 --task addition -n 2 --max-tokens 2 >/dev/null 2>&1

# What is refused, and leaves nothing.
ls >before
cp -r llama kept
refused 1 "is there already" convert llama qwen2
refused 1 "is there already" convert llama qwen2.gguf
refused 2 "give --type" convert llama.gguf other.gguf
refused 2 "not as Q8_0" convert llama other --type q8_0
refused 2 "none of f32" convert llama other --type q5
refused 2 "what to write" convert llama
refused 1 "nowhere" convert nowhere other
refused 1 "nowhere" convert llama nowhere/other
refused 1 "nowhere" convert llama nowhere/other.gguf
mkdir empty
refused 2 "neither" score empty
sed -i 's/"silu"/"gelu"/' kept/config.json
refused 1 "hidden_act" convert kept other
refused 1 "hidden_act" info kept
rm -r kept empty out log
ls | cmp - <(grep -v "^out$\|^log$" before)
