#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a run takes is known before it starts: the sentence at its start, the peak of the process and the refusal agree.
# Recomputed activations give the same weights; the end of a run says what was written.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if grep -q __asan_init "$OPSM"; then
  echo "a sanitizer takes memory of its own"
  exit 77
fi
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

# The number said at the start is the peak of the process, within a tenth.
agrees() {
  "$OPSM" train "$@" output=peak train.iterations=1 >/dev/null 2>peak.log
  rm -rf peak
  python3 - peak.log <<'PY'
import re, sys
text = open(sys.argv[1]).read()
said = float(re.search(r"^memory: (\d+) MB = ", text, re.M)[1])
used, reckoned = map(float, re.search(r"^memory: at most (\d+) MB were in use; (\d+) MB were reckoned", text, re.M).groups())
assert said == reckoned, text
assert abs(used - said) <= 0.1 * said + 1, text
PY
}
cat >tiny.yaml <<YAML
model: $here/../../models/tiny.gguf
task: {name: running-sum}
train: {eval_every: 0, checkpoint_every: 0}
YAML
agrees tiny.yaml
agrees tiny.yaml precision=f32
agrees tiny.yaml train.recompute=true train.micro_batch=4096
agrees tiny.yaml objective.penalty.beta=0.1 schedule.staleness=2 rollout.prompts=32

agrees tiny.yaml rollout.max_tokens=100 rollout.in_flight=512 schedule.staleness=4
agrees tiny.yaml rollout.top_p=0.9
# An evaluation holds a prompt for each of its responses in flight, where a batch holds one for a whole group.
agrees tiny.yaml train.eval_every=1 rollout.in_flight=512 rollout.max_tokens=16 rollout.prompts=64 eval.problems=512 task.difficulty=24 \
  rollout.max_prompt=96
agrees tiny.yaml train.eval_every=1 eval.problems=16

# So is the number for the disk what is there when two checkpoints and the model are.
"$OPSM" train tiny.yaml output=disk train.iterations=2 train.checkpoint_every=1 train.keep=2 >/dev/null 2>disk.log
python3 - disk.log "$(cat disk/checkpoint-*/*.bin | wc -c)" "$(wc -c <disk/model.gguf)" <<'PY'
import re, sys
said = float(re.search(r"^disk: at most (\d+) MB = 3 checkpoints", open(sys.argv[1]).read(), re.M)[1])
there = (float(sys.argv[2]) * 3 / 2 + float(sys.argv[3])) / 1e6
assert abs(said - there) <= 0.15 * there + 0.5, (said, there)
PY

# Too little: refused before anything is made, with what would fit; and that fits indeed.
refused() {
  local expected=$1
  shift
  if "$OPSM" "$@" >out 2>err; then echo "not refused: $*"; exit 1; elif [ $? != 1 ]; then echo "exit code: $*"; exit 1; fi
  grep -q "$expected" err || { cat err; exit 1; }
}
OPSM_MEMORY=40MB refused "needs [0-9]* MB of memory, but OPSM_MEMORY leaves only [0-9]* MB: .* would do with" \
  train tiny.yaml output=none train.recompute=false
[ ! -e none ]
words=$(sed -E 's/.* MB: (.*) would do with.*/\1/' err)
# shellcheck disable=SC2086
OPSM_MEMORY=40MB "$OPSM" -q train tiny.yaml output=fits train.iterations=1 train.recompute=false $words >/dev/null
OPSM_MEMORY=1MB refused "take a smaller model" train tiny.yaml output=none
# `auto` gives up speed before it gives up.
OPSM_MEMORY=44MB "$OPSM" train tiny.yaml output=auto train.iterations=1 >/dev/null 2>auto.log
grep -q "layers run again" auto.log
OPSM_MEMORY=1MB refused "OPSM_MEMORY leaves only" generate "$here/../../models/tiny.gguf" -p 1+1=
(ulimit -v 180000; refused 'of address space, but `ulimit -v` leaves only' train tiny.yaml output=none train.micro_batch=16000 rollout.prompts=512)
if OPSM_MEMORY=lots "$OPSM" help 2>err; then exit 1; fi
grep -q "expected a size" err

# However little address space there is, and however many threads are wanted: the end is a sentence, never a signal.
[ -d rolls ] || "$OPSM" -q train run.yaml output=rolls rollout.save=true >/dev/null
tiny=$here/../../models/tiny.gguf
ends_well() {
  local code=0
  (ulimit -c 0; ulimit -v "$space"; OPSM_THREADS=$threads timeout 60 "$OPSM" "$@" >out 2>err <text) || code=$?
  case $code in
  0) ;;
  1 | 127) [ -s err ] ;; # 127: the system's loader could not map the libraries, and said so
  *) echo "ulimit -v $space, $threads threads, exit $code: $*"; cat err; exit 1 ;;
  esac
  rm -rf small
}
echo 1+2=3 >text
for threads in 2 64; do
  for space in 50000 60000 75000 100000 200000 400000; do
    ends_well info "$tiny"
    ends_well generate "$tiny" -p 1+1=
    ends_well eval "$tiny" --task running-sum -n 8 --max-tokens 32
    ends_well score "$tiny"
    ends_well train tiny.yaml output=small train.iterations=1 rollout.prompts=16
    ends_well train tiny.yaml output=small train.iterations=1 rollout.prompts=16 precision=f32 train.recompute=true
    ends_well audit rolls/rollouts/000000.jsonl
    ends_well report rolls -o report.html
    ends_well bench gemm --seconds 0.1
    ends_well bench train "$tiny" --seconds 0.1
  done
done

# Checkpoints and model that the disk has no room for.
cat >large.yaml <<'YAML'
output: large
task: {name: modsum, difficulty: 4}
rollout: {max_tokens: 8, max_prompt: 8}
train: {eval_every: 0, checkpoint_every: 1, keep: 1000}
sft: {steps: 100000, batch: 4, init: {dim: 1024, layers: 1000, heads: 8, kv_heads: 8, ffn: 4096, context: 32}}
YAML
OPSM_MEMORY=9000GB refused "will take [0-9.]* GB of disk (1001 checkpoints, .* the disk has only .*train.keep" sft large.yaml
[ ! -e large ]

# A laboratory's processes share the memory; as many as fit, and no more than that.
cat >lab.yaml <<YAML
model: $tiny
output: lab
task: {name: running-sum}
rollout: {prompts: 8}
schedule: {minibatches: 4}
train: {iterations: 1, eval_every: 0, checkpoint_every: 0}
lab: {seeds: [1, 2], jobs: 2, arms: {a: {}}}
YAML
OPSM_MEMORY=50MB refused "a laboratory of 2 runs side by side needs [0-9]* MB of memory, but OPSM_MEMORY leaves only [0-9]* MB: lab.jobs=1 would do" lab lab.yaml
OPSM_MEMORY=50MB "$OPSM" -q lab lab.yaml lab.jobs=null >/dev/null
