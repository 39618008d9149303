#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every row of a dataset is checked before the first step, and nobody is surprised by what is held out.
set -euo pipefail
base=$PWD/tests/e2e/base.sh
cd "$SCRATCH"
. "$base"
cat >run.yaml <<'YAML'
model: base/model.gguf
output: run
precision: f32
data: {file: rows.jsonl, prompt: question, answer: reply}
rollout: {max_tokens: 8, max_prompt: 8, prompts: 8}
schedule: {minibatches: 2}
train: {iterations: 2, eval_every: 1, checkpoint_every: 0}
YAML
row() { echo "{\"question\": \"$1=\", \"reply\": $((($1 / 1000 + $1 / 100 + $1 / 10 + $1) % 10)), \"id\": 18446744073709551616}"; }
make_rows() { for ((i = 1; i <= $1; i++)); do row $((1000 + i * 7)); done; }
fail() {
  echo "$1"
  cat log
  exit 1
}
# Expects `opsm train run.yaml ...` to be refused before anything is trained, with a sentence that has every word.
refused() {
  local words=() code=0
  while [ "$1" != -- ]; do
    words+=("$1")
    shift
  done
  shift
  rm -rf run
  "$OPSM" train run.yaml "$@" >out 2>log || code=$?
  [ $code -eq 1 ] || [ $code -eq 2 ] || fail "exit $code: $*"
  ! [ -e run/metrics.jsonl ] || fail "something was trained"
  for word in "${words[@]}"; do grep -qF -- "$word" log || fail "expected '$word'"; done
}

# A bad row, wherever it stands, is named.
make_rows 100 >good.jsonl
bad() { { sed -n 1,96p good.jsonl; echo "$1"; sed -n 97,100p good.jsonl; } >rows.jsonl; }
bad '{"question": "1234=", "reply": ""}'
refused "'rows.jsonl', line 97: " "has none" data.on_bad_row=skip --
bad '{"question": " \n", "reply": 1}'
refused "'rows.jsonl', line 97: field 'question' is empty or blank" data.on_bad_row=skip --
bad '{"question": "\u200b\ufeff \u00a0", "reply": 1}'
refused "'rows.jsonl', line 97: field 'question' is empty or blank" data.on_bad_row=skip --
bad '{}'
refused "'rows.jsonl', line 97: no field 'question', only: none" --
bad '{"question": "123456789=", "reply": 5}'
refused "'rows.jsonl', line 97: the prompt has " "rollout.max_prompt" --
bad '{"question": "12", "reply": 5'
refused "'rows.jsonl', line 97: " --
bad '{"question": "1234=", "reply": "five"}'
refused "'rows.jsonl', line 97: " --  'reward=[{type: numeric}]'
cp rows.jsonl eval.jsonl
cp good.jsonl rows.jsonl
refused "'eval.jsonl', line 97: " -- data.eval_file=eval.jsonl 'reward=[{type: numeric}]'

# Left out and counted: at the start, in the record, in the summary.
{
  cat good.jsonl
  echo 'no row'
  echo '{"question": "", "reply": 1}'
  echo '{"question": "1111="}'
  echo '{"question": "1111=", "reply": ""}'
  echo '{"question": "1234567890", "reply": 1}'
} >rows.jsonl
rm -rf run
"$OPSM" train run.yaml data.on_bad_row=skip >out 2>log || fail "bad rows were to be left out"
grep -q "left out 2 of the rows (not JSON, or a field .*; the first: 'rows.jsonl', line 101: " log || fail "unreadable rows"
grep -q "left out 1 of the rows (the prompt is empty or blank); the first: 'rows.jsonl', line 102: " log || fail "blank rows"
grep -q "left out 1 of the rows (no answer that can be judged); the first: 'rows.jsonl', line 104: " log || fail "no answer"
grep -q "left out 1 of the rows (too long); the first: 'rows.jsonl', line 105: " log || fail "too long"
grep -q ', 5 rows left out, ' out || fail "the summary does not count"
rows 'sum(r.get("rows_skipped") == 5 for r in rows if "iteration" in r) >= 2' run/metrics.jsonl || fail "metrics do not count"
printf 'x\ny\n' >rows.jsonl
refused "no row of 'rows.jsonl' can be used; the first: 'rows.jsonl', line 1: " -- data.on_bad_row=skip

# What is held out is said; small files get a sentence; nothing is held out for no evaluation.
cp good.jsonl rows.jsonl
rm -rf run
"$OPSM" train run.yaml >out 2>log
grep -Eq "data: 9[0-9] rows of 'rows.jsonl' to train on, [1-9] held out for evaluation" log || fail "the cut is not said"
for n in 1 2 5 20; do
  make_rows $n >rows.jsonl
  rm -rf run
  "$OPSM" train run.yaml >out 2>log || true
  grep -q 'data\.eval_file.*train\.eval_every=0' log || fail "$n rows: no sentence"
  rm -rf run
  "$OPSM" train run.yaml train.eval_every=0 >out 2>log || fail "$n rows without evaluation"
  grep -q "data: $n rows of 'rows.jsonl' to train on, 0 held out" log || fail "$n rows: something is held out"
done
refused 'nothing is left to train on' -- data.eval_file=good.jsonl

# Demonstrations are checked likewise.
echo '{"question": "1234=", "reply": "0123456789"}' >>good.jsonl
cp good.jsonl rows.jsonl
code=0
"$OPSM" sft run.yaml output=sft sft.steps=2 train.eval_every=0 >out 2>log || code=$?
[ $code -ne 0 ] && grep -q "'rows.jsonl', line 101: the response to imitate has " log || fail "a response too long"
"$OPSM" sft run.yaml output=sft sft.steps=2 train.eval_every=0 data.on_bad_row=skip >out 2>log || fail "skip in sft"
grep -q ', 1 rows left out, ' out || fail "sft does not count"

# A run that could learn nothing, and one that broke its model, say so at the end, quiet or not; they have not failed.
make_rows 100 >rows.jsonl
warns() {
  rm -rf run
  "$OPSM" -q train run.yaml train.eval_every=0 "${@:2}" >out 2>log || fail "exit code $?"
  grep -q "^warning: .*$1" log || fail "expected '$1'"
}
warns 'no group had both better and worse answers in 2 iterations: nothing was learnt; every answer was judged 0' \
  'reward=[{type: contains, pattern: "never"}]'
warns 'nothing was learnt; every answer was judged right: try harder problems' 'reward=[{type: regex, pattern: ""}]'
warns 'the learning rate is too high: try optim.lr=1e-01 (now 1)' optim.lr=1 \
  data.file=null task.name=modsum task.difficulty=4 train.iterations=12 rollout.prompts=16 schedule.minibatches=8
rm -rf run
"$OPSM" train run.yaml train.iterations=5 'reward=[{type: regex, pattern: ""}]' >out 2>log
[ "$(sed -n '/iteration 4\/5/q;p' log | grep -c 'nothing was learnt')" = 1 ] || fail "no early warning"
