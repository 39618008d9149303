#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 at 20 random moments, the same command again each time: the final weights are those of an undisturbed run.
# Then a full disk (a file size limit) in the middle of a run: a sentence, and the last good checkpoint still works.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$SCRATCH"
export OPSM_THREADS=1

. "$here/base.sh"

cat >run.yaml <<'YAML'
model: base/model.gguf
precision: f32
task: {name: modsum, difficulty: 4}
rollout: {prompts: 16, group: 8, max_tokens: 8, max_prompt: 8, save: true}
schedule: {minibatches: 4, epochs: 2, staleness: 2}
objective: {mask: {policy: quantile}, penalty: {beta: 0.01}}
optim: {lr: 1.0e-3}
train: {iterations: 12, eval_every: 3, checkpoint_every: 1}
eval: {problems: 32}
YAML

# The record for TensorBoard says everything once, too.
begin=$(date +%s%N)
"$OPSM" -q train run.yaml output=straight >/dev/null
took=$((($(date +%s%N) - begin) / 1000000))

python3 "$here/events.py" straight/tensorboard | sort >straight.events
[ -z "$(uniq -d straight.events)" ]

# A run that gets through is compared and begun anew, until 20 have been killed; the last one must get through too.
same() {
  cmp straight/model.gguf killed/model.gguf
  cmp straight/rollouts/000011.jsonl killed/rollouts/000011.jsonl
  cmp straight/samples.jsonl killed/samples.jsonl
  [ "$(wc -l <straight/metrics.jsonl)" = "$(wc -l <killed/metrics.jsonl)" ]
  python3 "$here/events.py" killed/tensorboard | sort >killed.events
  cmp straight.events killed.events
  if ls killed/*.tmp* killed/rollouts/*.tmp* 2>/dev/null; then
    echo "temporary files were left behind"
    exit 1
  fi
}
kills=0
complete=0
RANDOM=7
while [ "$kills" -lt 20 ]; do
  "$OPSM" -q train run.yaml output=killed >/dev/null 2>log &
  pid=$!
  sleep "$(printf '0.%03d' $((10 + RANDOM % (took / 3 < 900 ? took / 3 : 900))))"
  kill -9 "$pid" 2>/dev/null || true
  if wait "$pid" 2>/dev/null; then
    same
    complete=$((complete + 1))
    rm -rf killed
  else
    kills=$((kills + 1))
  fi
done
"$OPSM" -q train run.yaml output=killed >/dev/null
same
echo "$kills kills, $((complete + 1)) complete runs, equal weights"

# SIGTERM: the step is finished, everything saved, exit code 130.
"$OPSM" -q train run.yaml output=term train.iterations=1000 >/dev/null 2>log &
pid=$!
sleep 0.5
kill -TERM "$pid"
code=0
wait "$pid" || code=$?
[ "$code" = 130 ]
ls -d term/checkpoint-* >/dev/null

# A limit on file sizes stands for a full disk: small files still fit, the state does not.
"$OPSM" -q train run.yaml output=full train.iterations=6 >/dev/null
size=$(stat -c %s full/checkpoint-48/state.bin)
code=0
(ulimit -f $((size / 1024 / 2)); trap '' XFSZ; "$OPSM" -q train run.yaml output=full >/dev/null 2>full.log) || code=$?
[ "$code" = 1 ]
grep -q "File too large" full.log
[ -d full/checkpoint-48 ]
"$OPSM" -q train run.yaml output=full >/dev/null
cmp straight/model.gguf full/model.gguf
echo "full disk: $(head -1 full.log)"
