# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that train: base/model.gguf in the current directory, a tiny model that adds with slips, in seconds.
"$OPSM" -q sft /dev/stdin >/dev/null <<'YAML'
output: base
precision: f32
task: {name: modsum, difficulty: 4, noise: 0.1}
rollout: {max_tokens: 8, max_prompt: 8}
optim: {lr: 3.0e-3, warmup: 20}
train: {eval_every: 0, checkpoint_every: 0}
sft: {steps: 150, batch: 32, init: {dim: 32, layers: 2, heads: 2, kv_heads: 2, ffn: 64, context: 32}}
YAML
