#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `opsm eval`: all rows of a file, a run by its own configuration, options before the configuration.
set -euo pipefail
base=$PWD/tests/e2e/base.sh
cd "$SCRATCH"
. "$base"
fail() {
  echo "$1"
  cat log
  exit 1
}
number() { rows "float(row['$1'])"; }
evaluate() { "$OPSM" eval "$@" --json 2>log || fail "eval $*"; }

# All rows of a file, a slice on request only, and the first rows then.
for ((i = 1; i <= 300; i++)); do
  n=$((1000 + i * 13))
  echo "{\"q\": \"$n=\", \"a\": $(((n / 1000 + n / 100 % 10 + n / 10 % 10 + n % 10) % 10))}"
done >rows.jsonl
of_file=(base/model.gguf --data rows.jsonl --prompt q --answer a --precision f32 --verifier contains)
evaluate "${of_file[@]}" >all
[ "$(number problems <all)" = 300 ] || fail "not all rows"
head -50 rows.jsonl >head.jsonl
evaluate "${of_file[@]}" -n 50 >slice
evaluate "${of_file[@]/rows.jsonl/head.jsonl}" >head
[ "$(number problems <slice)" = 50 ] && [ "$(number accuracy <slice)" = "$(number accuracy <head)" ] ||
  fail "a slice is not the first rows"

# A run is evaluated as it evaluated itself, whatever its number format, reward, and held-out problems.
cat >run.yaml <<'YAML'
model: base/model.gguf
output: run
precision: f32
seed: 7
task: {name: modsum, difficulty: 4}
rollout: {max_tokens: 6, max_prompt: 8, prompts: 8, stop: ["~"]}
schedule: {minibatches: 2}
train: {iterations: 2, eval_every: 1, checkpoint_every: 1}
eval: {problems: 40}
YAML
last() { rows "float([r for r in rows if r['kind'] == 'eval'][-1]['$2'])" "$1/metrics.jsonl"; }
same() {
  [ "$(number accuracy <got)" = "$(last "$1" accuracy)" ] || fail "$1: $(cat got)"
  [ "$(number tokens <got)" = "$(last "$1" tokens)" ] || fail "$1: other responses"
}
"$OPSM" -q train run.yaml >/dev/null 2>log
evaluate run >got
same run
grep -q '^model: run/model.gguf$' log || fail "the model is not named"
evaluate run/model.gguf --config run.yaml >got
same run
mv run/model.gguf kept.gguf
evaluate run >got
same run
grep -q '^model: run/checkpoint-' log || fail "the checkpoint is not named"
"$OPSM" -q train run.yaml output=rows task.name=null data.file=rows.jsonl data.prompt=q data.answer=a \
  'reward=[{type: contains}, {type: format, weight: 0.1}]' 'data.template_prefix=9' 'data.template_suffix=""' >/dev/null 2>log
evaluate rows >got
same rows
evaluate rows --train-split >got
[ $(($(number problems <got) + $(last rows problems))) = 300 ] || fail "train and held-out are not all rows"
"$OPSM" -q train run.yaml output=form task.name=null data.file=rows.jsonl data.prompt=q data.answer=a \
  'reward=[{type: contains}, {type: format}]' eval.verifier=format >/dev/null 2>log
evaluate form -n 3 --verifier exact >got
[ "$(number problems <got)" = 3 ] || fail "a verifier in place of the run's"
evaluate rows --data head.jsonl >got
[ "$(number problems <got)" = 50 ] || fail "the fields of the run"
evaluate rows --data head.jsonl -n 7 --max-tokens 2 >got
[ "$(number problems <got)" = 7 ] && [ "$(number tokens <got)" -le 14 ] || fail "options do not win"
evaluate rows --task modsum --difficulty 4 --style bare -n 40 >got
[ "$(number problems <got)" = 40 ] || fail "a task in place of the run's dataset"

# Bad rows, odd names, no rows.
cp head.jsonl 'a: [b] #.jsonl'
echo '{"q": "12=", "a": null}' >>'a: [b] #.jsonl'
bad=(base/model.gguf --data 'a: [b] #.jsonl' --prompt q --answer a)
"$OPSM" eval "${bad[@]}" >out 2>log && fail "a row without an answer"
grep -qF "'a: [b] #.jsonl', line 51: no field 'a'" log || fail "the bad row is not named"
evaluate "${bad[@]}" --on-bad-row skip >got
[ "$(number problems <got)" = 50 ] && [ "$(number rows_skipped <got)" = 1 ] || fail "bad rows are not left out"
: >empty.jsonl
"$OPSM" eval base/model.gguf --data empty.jsonl >out 2>log && fail "no rows"
grep -q "'empty.jsonl' has no rows" log || fail "no sentence about no rows"

# Wrong use.
usage() {
  local code=0
  "$OPSM" eval "${@:2}" >out 2>log || code=$?
  [ $code -eq 2 ] && grep -qF -- "$1" log || fail "exit $code, expected '$1'"
}
usage '--task' base/model.gguf
usage 'not both' base/model.gguf --task modsum --data rows.jsonl
usage '--samples: expected a whole number from 1 to 4096' base/model.gguf --task modsum --samples 0
usage '--samples 3 at temperature 0' base/model.gguf --task modsum --samples 3
usage '--train-split' base/model.gguf --data rows.jsonl --train-split
usage 'leaves no room for a prompt' base/model.gguf --task modsum --max-tokens 4000
usage "--style: expected one of" base/model.gguf --task modsum --style loud
"$OPSM" -q train run.yaml output=none task.name=null data.file=rows.jsonl data.prompt=q data.answer=a train.eval_every=0 \
  >/dev/null 2>log
usage 'no row of' none

# Every option is in the help.
for option in --task --difficulty --style --data --prompt --answer --on-bad-row --config --verifier --template --system \
  --train-split -n --samples --temperature --top-p --max-tokens --max-prompt --stop --in-flight --seed --precision --json; do
  "$OPSM" help eval | grep -q -- "^  $option " || fail "$option is not in the help"
done
