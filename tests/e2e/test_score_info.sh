#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# opsm score and opsm info: what they print, and what they refuse.
set -euo pipefail
model=tests/golden/model-llama.gguf
text="the other 12 things, then the end."

fail() {
    echo "$1"
    exit 1
}

# One line a token and a last one; the mean is the mean of the lines.
printf '%s' "$text" | "$OPSM" score "$model" --jsonl --precision f32 >"$SCRATCH/scores"
rows '"".join(r["piece"] for r in rows[:-1])' "$SCRATCH/scores" >"$SCRATCH/pieces"
[ "$(cat "$SCRATCH/pieces")" = "$text" ] || fail "the pieces are not the text: $(cat "$SCRATCH/pieces")"
rows 'rows[0]["logp"] is None' "$SCRATCH/scores" || fail "nothing predicts the first token"
rows 'abs(sum(r["logp"] for r in rows[1:-1]) / (len(rows) - 2) - row["mean_nats"]) < 1e-4' "$SCRATCH/scores" ||
    fail "the mean of the lines is not the one told"

# The same bits at any number of threads; windows cover every token once.
printf '%s' "$text" | OPSM_THREADS=1 "$OPSM" score "$model" --jsonl --precision f32 | cmp - "$SCRATCH/scores"
printf '%s' "$text" | "$OPSM" score "$model" --jsonl --context 8 >"$SCRATCH/windows"
[ "$(wc -l <"$SCRATCH/windows")" = "$(wc -l <"$SCRATCH/scores")" ] || fail "windows lose tokens"
rows 'sum(r.get("logp", 0) is None for r in rows) == 1' "$SCRATCH/windows" || fail "windows leave tokens without a log-prob"

"$OPSM" info "$model" --tensors >"$SCRATCH/info"
grep -q 'architecture *llama' "$SCRATCH/info" || fail "info does not name the architecture"
grep -q 'blk.1.ffn_down.weight *F32 *40 x 24' "$SCRATCH/info" || fail "info does not list tensors"

# Bad input: a sentence and an exit code.
expect() {
    local code=$1
    shift
    set +e
    "$@" >"$SCRATCH/out" 2>"$SCRATCH/err" </dev/null
    local got=$?
    set -e
    [ "$got" = "$code" ] || fail "$*: exit code $got, expected $code: $(cat "$SCRATCH/err")"
    [ -s "$SCRATCH/err" ] || fail "$*: no sentence"
}
head -c 20000 "$model" >"$SCRATCH/cut.gguf"
expect 1 "$OPSM" info "$SCRATCH/cut.gguf"
expect 1 "$OPSM" score "$SCRATCH/missing.gguf"
expect 2 "$OPSM" score "$model" --precision int4
expect 2 "$OPSM" score "$model"
expect 2 "$OPSM" score
sed 's/llama/gemma/g' "$model" >"$SCRATCH/other.gguf"
expect 1 "$OPSM" score "$SCRATCH/other.gguf"
grep -q "'gemma' is not supported" "$SCRATCH/err" || fail "another architecture is not refused by name"
