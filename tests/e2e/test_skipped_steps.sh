#!/usr/bin/env bash
# Steps that changed no weight are counted: those whose loss or gradient is not finite and those without a gradient, in each
# iteration's line, over the run, and over a run that was resumed. Learning rates far too high bring both about.
set -euo pipefail
root=$PWD
cd "$SCRATCH"

run() { # NAME ITERATIONS KEY=VALUE...
  local name=$1 iterations=$2
  shift 2
  "$OPSM" train /dev/stdin output="$name" train.iterations="$iterations" "$@" >"$name.out" 2>"$name.err" <<YAML
model: $root/models/tiny.gguf
precision: f32
task: {name: modsum, difficulty: 24, style: bare}
rollout: {prompts: 8, group: 4, max_tokens: 40}
schedule: {minibatches: 4, epochs: 2, staleness: 2}
train: {eval_every: 0, checkpoint_every: 1}
YAML
}

# Ratios overflow: not finite. Answers that are all wrong: no gradient.
overflow=(optim.lr=3 objective.mask.rule=none objective.penalty.beta=0.01 objective.penalty.estimator=k3)
collapse=(optim.lr=0.9 objective.mask.rule=none objective.surrogate.name=is)
run overflow 4 "${overflow[@]}"
run collapse 4 "${collapse[@]}"
run overflow_resumed 2 "${overflow[@]}"
run overflow_resumed 4 "${overflow[@]}"
run collapse_resumed 2 "${collapse[@]}"
run collapse_resumed 4 "${collapse[@]}"

python3 - <<'PY'
import json, re


def check(name, kind, said_in_last):
    with open(f"{name}/metrics.jsonl") as f:
        lines = [json.loads(line) for line in f]
    steps = [line for line in lines if line["kind"] == "step"]
    iterations = [line for line in lines if line["kind"] == "iteration"]
    assert len(steps) == 32 and len(iterations) == 4, name
    # What a step did shows in more than its outcome: only an applied one has a learning rate; one without a gradient has
    # measured that; one that is not finite ended before it could measure.
    idle = [s for s in steps if s["lr"] == 0]
    for s in steps:
        measured = s["sequences"] > 0 and s["backward_sequences"] == 0
        assert s["outcome"] == ("applied" if s["lr"] > 0 else "nothing" if measured else "nonfinite"), s
    assert kind in {s["outcome"] for s in idle} and 0 < len(idle) < 32, (name, len(idle))
    for line in iterations:
        own = [s for s in steps if s["iteration"] == line["iteration"]]
        skipped = sum(s["lr"] == 0 for s in own)
        assert line["steps_skipped"] == skipped, (name, line["iteration"], line["steps_skipped"], skipped)
        assert line["steps_applied"] == len(own) - skipped, (name, line["iteration"])
    with open(f"{name}.out") as f:
        said = re.search(r": (\d+) steps \((\d+) skipped\)", f.read())
    assert said and [int(x) for x in said.groups()] == [32, len(idle)], (name, said, len(idle))
    with open(f"{name}.err") as f:
        warned = len(re.findall(r"step \d+: the gradient is not finite", f.read()))
    broken = [s for s in steps if s["outcome"] == "nonfinite" and s["iteration"] >= said_in_last]
    assert warned == len(broken), (name, warned, len(broken))
    return [s["outcome"] for s in steps]


assert check("overflow", "nonfinite", 0) == check("overflow_resumed", "nonfinite", 2)
assert check("collapse", "nothing", 0) == check("collapse_resumed", "nothing", 2)
PY
