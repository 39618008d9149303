# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/objective.jsonl: random batches with the loss and gradient of every surrogate, penalty and
aggregation, worked out by PyTorch's automatic differentiation in float64 from the formulas of the objective's
definition, token by token. Independent of the C library: nothing here is derived by hand.

    python tests/golden/objective_reference.py > tests/golden/objective.jsonl
"""
import itertools
import json
import math
import random

import torch

torch.set_default_dtype(torch.float64)
INF = float("inf")


def f32(x):
    """A multiple of 1/256: exact in float32, short in the file."""
    return round(x * 256) / 256


def token_drift(kind, b, c):
    return {"k1": b - c, "k2": (b - c) ** 2 / 2, "k3": math.exp(c - b) - 1 - (c - b), "abs": abs(b - c),
            "exp_abs": math.exp(abs(b - c))}[kind]


def reduce(kind, values):
    if not values:
        return 0.0
    return {"mean": sum(values) / len(values), "sum": sum(values), "max": max(values)}[kind]


def clip(x, lo, hi):
    return torch.clamp(x, lo, hi)


def hold(keys, x):
    """A log ratio of plain numbers within +-ratio_clamp."""
    return max(-keys["ratio_clamp"], min(keys["ratio_clamp"], x))


def ratio(keys, c, base):
    return torch.exp(torch.clamp(c - base, -keys["ratio_clamp"], keys["ratio_clamp"]))


def correction(keys, s, t):
    """The constant weight on token t."""
    level, on = keys["weight.level"], s["on"]
    if level == "none":
        return 1.0
    logs = [s["p"][u] - s["b"][u] for u in on]
    log = {"token": s["p"][t] - s["b"][t], "sequence": sum(logs), "geometric": sum(logs) / len(logs)}[level]
    w, low, high = math.exp(hold(keys, log)), keys["weight.low"], keys["weight.high"]
    if keys["weight.zero"]:
        return w if low <= w <= high else 0.0
    return min(max(w, low), high)


def surrogate(keys, A, c, b, p, base, s_ratio):
    """One token's S; s_ratio is gspo's sequence ratio."""
    name = keys["surrogate.name"]
    lo, hi = 1 - keys["surrogate.clip_low"], 1 + keys["surrogate.clip_high"]
    r = s_ratio if name == "gspo" else ratio(keys, c, base)

    def ppo():
        s = -torch.min(r * A, clip(r, lo, hi) * A)
        if A < 0 and keys["surrogate.dual_clip"] < INF:
            s = torch.min(s, torch.tensor(-keys["surrogate.dual_clip"] * A))
        return s

    if name in ("ppo", "gspo"):
        return ppo()
    if name == "is":
        return -r * A
    if name == "reinforce":
        return -A * c
    if name == "tis":
        return -torch.clamp(r, max=keys["surrogate.cap"]).detach() * A * c
    if name == "cispo":
        return -clip(r, lo, hi).detach() * A * c
    if name == "sapo":
        tau = keys["surrogate.tau_pos"] if A > 0 else keys["surrogate.tau_neg"]
        return -(4 / tau) * torch.sigmoid(tau * (r - 1)) * A
    if name == "decoupled":
        return ppo() * min(math.exp(p - b), keys["surrogate.cap"])
    raise ValueError(name)


def penalty(keys, c, f, base):
    kind = keys["penalty.estimator"]
    k3 = torch.exp(f - c) - (f - c) - 1
    k = {"k1": c - f, "k2": (c - f) ** 2 / 2, "k3": k3, "unbiased": ratio(keys, c, base) * k3 if base is not None else k3}[kind]
    if (c.item() < f or keys["penalty.clamp_both"]) and k.item() > keys["penalty.clamp"]:
        return k, torch.tensor(keys["penalty.clamp"])
    return k, k


def evaluate(keys, seqs, leaves):
    """seqs: dicts with b, p, f, m, a (per token) and advantage; leaves: the c tensors. Returns loss and facts."""
    facts = []
    for s, c in zip(seqs, leaves):
        on = [t for t in range(len(c)) if s["m"][t]]
        s["on"] = on
        source = s["b"] if keys["mask.behavior"] == "sampler" else s["p"]
        base = s["p"] if keys["surrogate.ratio"] == "trainer" or keys["surrogate.name"] == "decoupled" else s["b"]
        s["base"] = base
        s["A"] = sum(s["a"][t] for t in on) / max(len(on), 1) if keys["_token_advantages"] else s["advantage"]
        now = s["p"] if keys["mask.current"] == "trainer" else [x.item() for x in c]
        log = {t: hold(keys, now[t] - source[t]) for t in on}  # from behaviour to where drift leads
        X = reduce(keys["mask.reduce"], [token_drift(keys["mask.estimator"], 0.0, log[t]) for t in on])
        delta = keys["mask.delta"]
        if keys["mask.policy"] == "length":
            kappa = keys["mask.kappa"]
            delta = kappa + keys["mask.z"] * math.sqrt(2 * kappa / max(len(on), 1))
        rule, sign = keys["mask.rule"], keys["mask.sign"]
        inside = lambda x: keys["mask.low"] <= math.exp(x) <= keys["mask.high"]
        hit = {"opsm": X > delta, "negatives": True, "positives": X > delta, "geometric": not inside(-X),
               "outlier": any(not inside(log[t]) for t in on)}.get(rule, False)
        whole = {"geometric": not inside(-X), "outlier": any(not inside(log[t]) for t in on)}.get(keys["mask.also"], False)
        side = {"geometric": 0, "outlier": 0, "positives": 1}.get(rule, 0 if sign == "any" else -1)
        M = {}
        for t in on:
            A = s["a"][t] if sign == "token" and keys["_token_advantages"] else s["A"]
            moved = math.exp(source[t] + log[t]) - math.exp(source[t])
            if rule == "icepop":
                M[t] = inside(log[t])
            elif rule == "token_k2":
                M[t] = log[t] ** 2 / 2 <= keys["mask.delta"]
            elif rule == "token":
                M[t] = token_drift(keys["mask.estimator"], 0.0, log[t]) <= keys["mask.delta"]
            elif rule == "tv":
                up, down = moved > keys["mask.delta"], -moved > keys["mask.delta"]
                M[t] = not (up or down if sign == "any" else up if A > 0 else down)
            else:
                M[t] = not (hit and (side == 0 or A * side > 0))
            M[t] = M[t] and not whole and (keys["mask.also"] != "icepop" or inside(log[t]))
        s["M"] = M
        by_token = rule in ("icepop", "token_k2", "token", "tv") or keys["mask.also"] == "icepop"
        by_sign = sign == "token" and keys["_token_advantages"] and side != 0
        s["keep"] = any(M.values()) if on else not whole and (
            by_token or by_sign or not (hit and (side == 0 or s["A"] * side > 0)))
        facts.append({"drift": X, "keep": bool(s["keep"]), "advantage": s["A"]})

    kept = keys["denominator"] != "all"
    N = max(sum(s["keep"] for s in seqs) if keys["denominator"] == "kept" else len(seqs), 1)
    tokens = max(sum(sum(s["M"].values()) if kept else len(s["on"]) for s in seqs), 1)
    L = keys["max_length"] or max(len(c) for c in leaves)
    total = torch.zeros(())
    kl, count = 0.0, 0
    for s, c, fact in zip(seqs, leaves, facts):
        n = len(s["on"])
        if kept and sum(s["M"].values()) > 0:
            n = sum(s["M"].values())
        w = {"sequence_mean": 1 / (N * max(n, 1)), "token_mean": 1 / tokens, "constant": 1 / (N * L)}[keys["aggregation"]]
        mean = torch.stack([c[t] - s["base"][t] for t in s["on"]]).mean() if s["on"] else torch.zeros(())
        sur, pen = torch.zeros(()), torch.zeros(())
        for t in s["on"]:
            A = s["a"][t] if keys["_token_advantages"] else s["advantage"]
            w_t = correction(keys, s, t)
            if s["M"][t] and A != 0 and keys["surrogate.name"] != "dpo":
                sur = sur + w_t * surrogate(keys, A, c[t], s["b"][t], s["p"][t], s["base"][t], torch.exp(mean))
            if keys["penalty.beta"] > 0:
                k, v = penalty(keys, c[t], s["f"][t], s["base"][t])
                kl, count = kl + k.item(), count + 1
                if s["M"][t] or not keys["mask.kl"]:
                    pen = pen + (w_t if keys["weight.kl"] else 1.0) * v
        fact["surrogate"] = (w * sur).item()
        fact["penalty"] = (w * keys["penalty.beta"] * pen).item()
        total = total + w * sur + w * keys["penalty.beta"] * pen
    if keys["surrogate.name"] == "dpo":
        total = total + dpo(keys, seqs, leaves)
        for fact in facts:
            del fact["surrogate"]
    return total, facts


def dpo(keys, seqs, leaves):
    pairs, losses = 0, torch.zeros(())
    for g in sorted({s["group"] for s in seqs}):
        members = [i for i, s in enumerate(seqs) if s["group"] == g]
        best = max(members, key=lambda i: seqs[i]["A"])
        worst = min(members, key=lambda i: seqs[i]["A"])
        if seqs[best]["A"] == seqs[worst]["A"]:
            continue
        keep = seqs[worst]["keep"] and (seqs[best]["keep"] or seqs[best]["A"] < 0)
        pairs += keep or keys["denominator"] != "kept"
        if keep:
            score = [sum((leaves[i][t] - seqs[i]["f"][t] for t in seqs[i]["on"]), torch.zeros(())) for i in (best, worst)]
            losses = losses - torch.nn.functional.logsigmoid(keys["surrogate.beta"] * (score[0] - score[1]))
    return losses / max(pairs, 1)


def batch(rng, token_advantages):
    seqs, cs = [], []
    for i in range(6):
        n = rng.choice([0, 1, 2, 3, 5, 7])
        drift = rng.choice([0.02, 0.2, 0.6]) * rng.choice([1, 1, -1])
        b = [f32(-rng.expovariate(1.0) - 0.05) for _ in range(n)]
        c = [f32(min(x - drift + rng.gauss(0, 0.3), -0.001)) for x in b]
        p = [f32(x + rng.gauss(0, 0.1)) for x in b]
        f = [f32(x + rng.gauss(0, 0.5)) for x in c]
        m = [int(rng.random() < 0.8) for _ in range(n)]
        A = f32(rng.choice([-1.3, -0.5, 0.7, 0.25, -0.8, 1.1, 0.0]) + rng.uniform(-0.01, 0.01) * (rng.random() < 0.8))
        a = [f32(A + (rng.gauss(0, 0.8) if token_advantages else 0)) for _ in range(n)]
        seqs.append({"group": i // 3, "b": b, "p": p, "f": f, "m": m, "a": a, "advantage": A})
        cs.append(c)
    return seqs, cs


DEFAULTS = {
    "surrogate.ratio": "sampler", "surrogate.clip_low": 0.2, "surrogate.clip_high": 0.2, "surrogate.dual_clip": INF,
    "surrogate.cap": 2.0, "surrogate.tau_pos": 1.0, "surrogate.tau_neg": 1.05, "surrogate.beta": 0.1,
    "mask.rule": "opsm", "mask.delta": 0.05, "mask.policy": "fixed", "mask.estimator": "k1", "mask.reduce": "mean",
    "mask.behavior": "sampler", "mask.sign": "sequence", "mask.kl": False, "mask.low": 0.5, "mask.high": 5.0,
    "mask.kappa": 0.01, "mask.z": 2.0, "penalty.beta": 0.0, "penalty.estimator": "unbiased", "penalty.clamp": INF,
    "aggregation": "sequence_mean", "max_length": 0, "denominator": "all",
    "mask.also": "none", "mask.current": "current", "weight.level": "none", "weight.low": 0.0, "weight.high": 2.0,
    "weight.zero": False, "weight.kl": False, "penalty.clamp_both": False, "ratio_clamp": INF,
}
SURROGATES = ["ppo", "is", "reinforce", "tis", "cispo", "gspo", "sapo", "decoupled", "dpo"]
PENALTIES = ["none", "k1", "k2", "k3", "unbiased"]
AGGREGATIONS = ["sequence_mean", "token_mean", "constant"]
RULES = ["none", "opsm", "opsm", "opsm", "geometric", "icepop", "token_k2", "negatives", "positives"]


def configuration(rng, name, kl, aggregation):
    keys = dict(DEFAULTS, **{"surrogate.name": name, "aggregation": aggregation})
    keys["_token_advantages"] = name != "dpo" and rng.random() < 0.3
    keys["mask.rule"] = rng.choice(RULES)
    if name == "dpo" and keys["mask.rule"] in ("icepop", "token_k2"):
        keys["mask.rule"] = "opsm"
    if keys["mask.rule"] == "geometric":
        keys.update({"mask.low": 0.8, "mask.high": 1.25})
    keys["mask.delta"] = rng.choice([0.01, 0.1, 0.3])
    keys["mask.policy"] = rng.choice(["fixed", "fixed", "length"])
    keys["mask.estimator"] = rng.choice(["k1", "k1", "k2", "k3", "abs"])
    if keys["mask.rule"] == "geometric":
        keys["mask.estimator"] = "k1"
    keys["mask.reduce"] = rng.choice(["mean", "mean", "sum", "max"])
    keys["mask.behavior"] = rng.choice(["sampler", "sampler", "trainer"])
    keys["surrogate.ratio"] = rng.choice(["sampler", "trainer"])
    keys["mask.sign"] = rng.choice(["sequence", "token"]) if name != "dpo" else "sequence"
    keys["mask.kl"] = rng.random() < 0.3
    keys["denominator"] = rng.choice(["all", "kept"])
    keys["max_length"] = rng.choice([0, 11])
    keys["surrogate.clip_high"] = rng.choice([0.2, 0.28])
    if rng.random() < 0.3:
        keys["surrogate.dual_clip"] = 1.5
    if kl != "none":
        keys["penalty.beta"] = rng.choice([0.05, 0.7])
        keys["penalty.estimator"] = kl
        if rng.random() < 0.3:
            keys["penalty.clamp"] = 0.05
    return keys


TOKEN_RULES = ["icepop", "token_k2", "token", "tv"]


def switches(rng, keys):
    """On top of a configuration: the switches that reproduce what other frameworks do."""
    dpo = keys["surrogate.name"] == "dpo"
    keys["mask.rule"] = rng.choice(["opsm", "outlier", "geometric"] + (["none"] if dpo else TOKEN_RULES))
    keys["mask.also"] = rng.choice(["none", "geometric", "outlier", "none" if dpo else "icepop"])
    keys.update({"mask.low": 0.75, "mask.high": 1.5})
    keys["mask.estimator"] = rng.choice(["k1", "k3", "abs", "exp_abs"])
    keys["mask.delta"] = 1.25 if keys["mask.estimator"] == "exp_abs" else keys["mask.delta"]
    keys["mask.behavior"] = "sampler"
    keys["mask.current"] = rng.choice(["current", "trainer"])
    keys["mask.sign"] = "any" if rng.random() < 0.5 else keys["mask.sign"]
    keys["mask.sign"] = "sequence" if dpo and keys["mask.sign"] == "token" else keys["mask.sign"]
    keys["denominator"] = rng.choice(["all", "kept", "tokens"])
    if keys["surrogate.name"] not in ("dpo", "decoupled"):
        keys["weight.level"] = rng.choice(["none", "token", "sequence", "geometric"])
        keys.update({"weight.low": rng.choice([0.0, 0.9]), "weight.high": rng.choice([1.1, 3.0]),
                     "weight.zero": rng.random() < 0.5, "weight.kl": rng.random() < 0.5})
    keys["penalty.clamp_both"] = rng.random() < 0.5
    keys["ratio_clamp"] = rng.choice([INF, 0.3])
    return keys


def main():
    rng = random.Random(20251202)
    for cell in itertools.product(SURROGATES, PENALTIES, AGGREGATIONS):
        write(rng, configuration(rng, *cell))
    rng = random.Random(20251203)
    for cell in itertools.product(SURROGATES, PENALTIES, AGGREGATIONS):
        write(rng, switches(rng, configuration(rng, *cell)))


def write(rng, keys):
    """One line of the file."""
    seqs, cs = batch(rng, keys["_token_advantages"])
    leaves = [torch.tensor(c, requires_grad=True) for c in cs]
    loss, facts = evaluate(keys, seqs, leaves)
    grads = [[0.0] * len(c) for c in cs]
    if loss.requires_grad:
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        grads = [g.tolist() if g is not None else [0.0] * len(c) for g, c in zip(found, cs)]
    settings = {k: ("off" if v == INF else str(v).lower() if isinstance(v, bool) else str(v))
                for k, v in keys.items() if not k.startswith("_") and v != DEFAULTS.get(k)}
    rows = []
    for s, c, fact, g in zip(seqs, cs, facts, grads):
        row = {k: s[k] for k in ("group", "m", "b", "p", "f")}
        row.update(c=c, a=s["a"] if keys["_token_advantages"] else s["advantage"], **fact)
        row["dlogp"] = [float(f"{x:.9g}") for x in g]
        rows.append(row)
    print(json.dumps({"keys": settings, "loss": loss.item(), "sequences": rows}, separators=(",", ":")))


main()
