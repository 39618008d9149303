#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Commands that want a model take the directory of a run: its model.gguf or, before there is one, its newest checkpoint.
set -euo pipefail
base=$PWD/tests/e2e/base.sh
cd "$SCRATCH"
. "$base"
cat >run.yaml <<'YAML'
model: base/model.gguf
output: run
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {max_tokens: 8, max_prompt: 8, prompts: 8}
schedule: {minibatches: 2}
optim: {lr: 3.0e-3}
train: {iterations: 3, eval_every: 0, checkpoint_every: 1, keep: 3}
YAML
"$OPSM" -q train run.yaml >/dev/null
fail() {
  echo "$1"
  exit 1
}
sample() {
  "$OPSM" generate "$1" -p 1234= -n 4 --jsonl --precision f32 2>log
}

# The same model, however it is named; which file it was is said.
sample run/model.gguf >want
sample run >got
cmp want got
grep -q '^model: run/model.gguf$' log || fail "which model was taken is not said"
sample run/checkpoint-2 >earlier
! cmp -s want earlier || fail "an earlier checkpoint samples as the last one"
mv run/model.gguf kept.gguf
sample run/ >got
cmp want got
grep -q '^model: run/checkpoint-6 ' log || fail "the checkpoint is not named"
echo 1234= | "$OPSM" score run --precision f32 >got 2>/dev/null
echo 1234= | "$OPSM" score kept.gguf --precision f32 | cmp - got

# info says how far it got, in numbers, and what was configured.
"$OPSM" info run >got
grep -q '^done  *3 of 3 iterations, 6 optimiser steps$' got || fail "info: $(cat got)"
grep -q '^last iteration  *reward_mean [0-9.]*, length_mean ' got || fail "info: $(cat got)"
grep -q '^checkpoints  *checkpoint-6, checkpoint-4, checkpoint-2$' got || fail "info: $(cat got)"
grep -q '^  *task.difficulty: 4$' got && ! grep -q 'rollout.group' got || fail "info: $(cat got)"
grep -q '^no model.gguf' got && grep -q '^model  *base/model.gguf' got || fail "info: $(cat got)"
"$OPSM" info run/checkpoint-4/ >got
grep -q '^done  *2 of 3 iterations, 4 optimiser steps$' got || fail "info of a checkpoint: $(cat got)"
grep -q '^checkpoint  *checkpoint-4,' got && ! grep -q 'no model' got || fail "info of a checkpoint: $(cat got)"
"$OPSM" info base >got
grep -q '^done  *150 of 150 optimiser steps' got && grep -q '^model  *base/model.gguf' got || fail "info: $(cat got)"
mkdir alone
cp kept.gguf alone/model.gguf
"$OPSM" info alone | grep -q '^model  *alone/model.gguf'
"$OPSM" info alone --tensors | grep -q 'output_norm.weight'

# A damaged checkpoint is passed over, not set aside: the run is not ours.
printf x | dd of=run/checkpoint-6/state.bin bs=1 seek=4000 conv=notrunc status=none
sample run >got
sample run/checkpoint-4 >want
cmp want got
[ -d run/checkpoint-6 ] || fail "a command that reads has moved a checkpoint"

# A warm start under way has no model file to begin from.
mv base/model.gguf base.gguf
sample base.gguf >want
sample base >got
cmp want got
[ "$(ls -A base | grep -c tmp)" = 0 ] || fail "something is left behind in the run"

code() {
  local found=0
  "$OPSM" "${@:2}" >out 2>log || found=$?
  [ "$found" = "$1" ] && [ -s log ] || fail "opsm ${*:2}: exit code $found, expected $1: $(cat log)"
}
mkdir -p empty lab
echo '{}' >lab/lab.json
code 2 generate empty -p 1
grep -q "neither that of a run" log || fail "$(cat log)"
code 2 info lab
code 2 info empty
code 2 generate lab -p 1
grep -q "name one of its runs" log || fail "$(cat log)"
rm -r run/checkpoint-*
mv base.gguf base/model.gguf
code 2 generate run -p 1
grep -q "neither a model.gguf nor a checkpoint" log || fail "$(cat log)"
