#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Recomputed activations give the same weights; the end of a run says what was written.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1

. "$here/base.sh"

cat >run.yaml <<'YAML'
model: base/model.gguf
task: {name: modsum, difficulty: 4}
rollout: {prompts: 8, group: 4, max_tokens: 8, max_prompt: 8}
schedule: {minibatches: 2}
optim: {lr: 1.0e-3}
train: {iterations: 2, eval_every: 0, micro_batch: 64}
YAML

"$OPSM" train run.yaml output=kept train.recompute=false >/dev/null 2>kept.log
"$OPSM" train run.yaml output=again train.recompute=true >/dev/null 2>again.log
cmp kept/model.gguf again/model.gguf
grep -q "wrote kept/model.gguf: F32, [0-9.]* MB (the model read was F32, [0-9.]* MB)" kept.log
"$OPSM" train run.yaml output=small train.save_type=q8_0 >/dev/null 2>small.log
grep -q "wrote small/model.gguf: Q8_0, " small.log
"$OPSM" info small/model.gguf | grep -q "Q8_0"
