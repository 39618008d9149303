#!/usr/bin/env python3
"""Which threshold? Compares fixed deltas, the adaptive policies and the controls over the laboratory's scenarios.

    python3 bench/thresholds.py build/opsm                    all scenarios, 5 seeds; resumes where it was stopped
    python3 bench/thresholds.py build/opsm --only held-out    one part: tuned | held-out | rules
    python3 bench/thresholds.py build/opsm --table            the tables from what is there, nothing is run

Each scenario is a laboratory of its own, runs/thresholds/NAME.yaml, run by `opsm lab`. Scenarios of the part `tuned`
were looked at (with other seeds) while policy auto was made; those of `held-out` were not run with it before it was
fixed (docs/results.md says which of them an earlier version had seen).
"""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path("runs/thresholds")
DELTAS = ("0.003", "0.01", "0.03", "0.1", "0.3")
RULES = {
    "none": "{rule: none}",
    "negatives": "{rule: negatives}",
    "auto": "{policy: auto}",
}
# Every other rule of the comparison, and the controls that take auto apart.
OTHERS = {
    "length": "mask: {policy: length}",
    "quantile": "mask: {policy: quantile}",
    "controller": "mask: {policy: controller}",
    "ess-0.03": "mask: {delta: 0.03}, guard: ess",
    "auto-budget-1": "mask: {policy: auto, budget: 1}",
    "auto-budget-4": "mask: {policy: auto, budget: 4}",
    "auto-no-brake": "mask: {policy: auto}, guard: none",
    "trust-0.03": "mask: {delta: 0.03}, guard: trust",
    "trust-none": "mask: {rule: none}, guard: trust",
    "trust-negatives": "mask: {rule: negatives}, guard: trust",
}
MODELS = {8: "runs/start-modsum8", 24: "models/tiny.gguf", 64: "runs/start-modsum64", 128: "runs/start-modsum128"}


def modsum(length, staleness, minibatches, lr, weights="same", prompts=64):
    model = MODELS[length] if length == 24 else MODELS[length] + "/model.gguf"
    return f"""model: {model}
task: {{name: modsum, difficulty: {length}, style: bare}}
rollout: {{prompts: {prompts}, max_tokens: {length + length // 16 + 3}, weights: {weights}}}
schedule: {{minibatches: {minibatches}, staleness: {staleness}}}
optim: {{lr: {lr}}}
"""


def family(name, staleness, minibatches, lr, difficulty, max_tokens):
    return f"""model: runs/start-{name}/model.gguf
task: {{name: {name}, difficulty: {difficulty}, style: bare}}
rollout: {{max_tokens: {max_tokens}}}
schedule: {{minibatches: {minibatches}, staleness: {staleness}}}
optim: {{lr: {lr}}}
"""


def subset(staleness, minibatches, lr):
    return family("subset", staleness, minibatches, lr, 12, 16)


def path(staleness, minibatches, lr):
    return family("path", staleness, minibatches, lr, 24, 28)


# length, staleness (iterations), minibatches, learning rate
TUNED = {
    "L8-k8-N16-3e-4": modsum(8, 8, 16, "3e-4"),
    "L24-k0-N16-3e-4": modsum(24, 0, 16, "3e-4"),
    "L24-k8-N16-3e-4": modsum(24, 8, 16, "3e-4"),
    "L24-k16-N8-3e-4": modsum(24, 16, 8, "3e-4"),
    "L24-k4-N64-3e-4": modsum(24, 4, 64, "3e-4"),
    "L24-k0-N16-1e-3": modsum(24, 0, 16, "1e-3"),
    "L24-k4-N8-1e-3": modsum(24, 4, 8, "1e-3"),
    "subset-k8-N16-3e-4": subset(8, 16, "3e-4"),
    "path-k8-N16-3e-4": path(8, 16, "3e-4"),
    "L64-k8-N16-3e-4": modsum(64, 8, 16, "3e-4"),
}
HELD_OUT = {
    "L8-k16-N8-1e-3": modsum(8, 16, 8, "1e-3"),
    "L8-k0-N64-3e-4": modsum(8, 0, 64, "3e-4"),
    "L24-k2-N16-1e-3": modsum(24, 2, 16, "1e-3"),
    "L24-k16-N32-1e-3": modsum(24, 16, 32, "1e-3"),
    "L24-k0-N16-3e-4-int8": modsum(24, 0, 16, "3e-4", weights="int8"),
    "subset-k0-N16-1e-3": subset(0, 16, "1e-3"),
    "path-k4-N8-3e-4": path(4, 8, "3e-4"),
    "L64-k0-N16-1e-3": modsum(64, 0, 16, "1e-3"),
    "L64-k16-N64-3e-4": modsum(64, 16, 64, "3e-4"),
    "L128-k4-N8-3e-4": modsum(128, 4, 8, "3e-4", prompts=32),
}
RULES_AT = ("L8-k8-N16-3e-4", "L24-k8-N16-3e-4", "L24-k0-N16-1e-3", "L24-k4-N64-3e-4")


def write(name, keys, arms, seeds):
    lines = "".join(f"    {arm}: {{objective: {{{text}}}}}\n" for arm, text in arms.items())
    path = ROOT / f"{name}.yaml"
    path.write_text(f"""output: {ROOT / name}
{keys}train: {{iterations: 30}}
lab:
  base: examples/demo.yaml
  seeds: {seeds}
  reference: auto
  arms:
{lines}""")
    return path


def fixed_arms():
    arms = {f"opsm-{d}": f"mask: {{delta: {d}}}" for d in DELTAS}
    arms.update({name: f"mask: {text}" for name, text in RULES.items()})
    return arms


def start_models(opsm):
    for name in ("modsum8", "modsum64", "modsum128", "subset", "path"):
        if not pathlib.Path(f"runs/start-{name}/model.gguf").exists():
            subprocess.run([opsm, "-q", "sft", f"examples/lab/start-{name}.yaml"], check=True)


def load(name):
    """The arms of a laboratory; None before all of it is done."""
    path = ROOT / name / "lab.json"
    arms = json.loads(path.read_text())["arms"] if path.exists() else {}
    return arms if arms and all(s["status"] == "done" for arm in arms.values() for s in arm["seeds"]) else None


def finals(arm):
    return [seed["final"] for seed in arm["seeds"] if seed["status"] == "done"]


def mean(values):
    return sum(values) / len(values)


def row(name, arms):
    """Best fixed delta by its mean over all seeds, and by the other seeds for each seed in turn (no luck picked)."""
    fixed = {d: finals(arms[f"opsm-{d}"]) for d in DELTAS}
    best = max(DELTAS, key=lambda d: mean(fixed[d]))
    n = len(fixed[best])
    honest = mean([fixed[max(DELTAS, key=lambda d: mean(fixed[d][:i] + fixed[d][i + 1:]))][i] for i in range(n)])
    auto = arms["auto"]
    interval = auto["final_ci95"]
    cells = [name, f"{arms['none']['final_mean']:.3f}"] + [f"{mean(fixed[d]):.3f}" for d in DELTAS]
    cells += [f"{arms['negatives']['final_mean']:.3f}",
              f"**{auto['final_mean']:.3f}** [{interval[0]:.3f}, {interval[1]:.3f}]",
              f"{auto['final_mean'] - mean(fixed[best]):+.3f}", f"{auto['final_mean'] - honest:+.3f}",
              f"{min(s['worst'] for s in arms[f'opsm-{best}']['seeds']):.2f} / {min(s['worst'] for s in auto['seeds']):.2f}",
              f"{arms['none']['collapsed']} / {arms[f'opsm-{best}']['collapsed']} / {auto['collapsed']}"]
    return cells


HEAD = ["scenario", "none"] + list(DELTAS) + ["negatives", "auto", "auto - best", "auto - chosen elsewhere",
                                              "worst round: best / auto", "collapsed: none / best / auto"]


def print_table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    print()


def print_scenarios(title, scenarios):
    rows = [row(name, arms) for name in scenarios if (arms := load(name))]
    if rows:
        print(f"{title}\n")
        print_table(HEAD, rows)


def print_regret(scenarios):
    """How far below the scenario's best fixed delta each rule ends, over all scenarios."""
    regrets = {}
    for arms in filter(None, map(load, scenarios)):
        best = max(mean(finals(arms[f"opsm-{d}"])) for d in DELTAS)
        for name in arms:
            if name != "none":
                regrets.setdefault(name, []).append(best - mean(finals(arms[name])))
    rows = [[name, f"{mean(r):+.3f}", f"{max(r):+.3f}", f"{sum(x > 0.02 for x in r)} of {len(r)}"]
            for name, r in regrets.items()]
    if rows:
        print("Below the best fixed delta of each scenario (negative: above)\n")
        print_table(["rule", "mean", "most", "by more than 0.02"], rows)


def print_rules():
    rows = []
    scenarios = [s for s in RULES_AT if set(OTHERS) <= set(load(f"rules-{s}") or ())]
    for arm in ("auto", *OTHERS):
        cells = [arm]
        for name in scenarios:
            result = load(f"rules-{name}")[arm]
            low = min(s["worst"] for s in result["seeds"])
            cells.append(f"{result['final_mean']:.3f} ({low:.2f}, {result['collapsed']})")
        rows.append(cells)
    if scenarios:
        print("Other rules: final (worst round of any seed, seeds collapsed)\n")
        print_table(["rule", *scenarios], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("opsm")
    parser.add_argument("--only", choices=("tuned", "held-out", "rules"))
    parser.add_argument("--seeds", default="[11, 12, 13, 14, 15]")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    ROOT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        start_models(args.opsm)
        files = []
        if args.only in (None, "tuned"):
            files += [write(name, keys, fixed_arms(), args.seeds) for name, keys in TUNED.items()]
        if args.only in (None, "held-out"):
            files += [write(name, keys, fixed_arms(), args.seeds) for name, keys in HELD_OUT.items()]
        if args.only in (None, "rules"):
            others = {"auto": "mask: {policy: auto}", **OTHERS}
            files += [write(f"rules-{name}", TUNED[name], others, args.seeds) for name in RULES_AT]
        for path in files:
            print(f"{path}", file=sys.stderr)
            subprocess.run([args.opsm, "-q", "lab", str(path)], check=True, stdout=subprocess.DEVNULL)
    print_scenarios("Scenarios that policy auto was made on (fresh seeds)", TUNED)
    print_scenarios("Scenarios kept aside until it was fixed", HELD_OUT)
    print_regret([*TUNED, *HELD_OUT])
    print_rules()


if __name__ == "__main__":
    main()
