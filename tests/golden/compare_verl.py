# SPDX-License-Identifier: Apache-2.0
"""Compares `opsm audit` with verl's own functions. They are taken out of the installed package's source one by one, so
that neither its GPU stack nor its Ray cluster is needed. Prints the second table of docs/parity.md.

    pip install --no-deps --target verl_site verl
    python tests/golden/compare_verl.py build/opsm verl_site/verl [rounds]
"""
import random
import sys
import types

import torch
from peers import Gaps, batch, compare, functions, head, ours, scope_of, tensors

OPSM, ROOT = sys.argv[1], sys.argv[2]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
BASE = "surrogate.ratio=trainer surrogate.clip_high=0.28 surrogate.dual_clip=3".split()

scope = scope_of(ActorConfig=None, AlgoConfig=dict)
verl_F = functions(f"{ROOT}/utils/torch_functional.py", ["masked_sum", "masked_mean"], scope)
scope["verl_F"] = verl_F
core = functions(f"{ROOT}/trainer/ppo/core_algos.py", ["compute_policy_loss_vanilla", "agg_loss", "kl_penalty_forward"], scope)
names = ["compute_rollout_rejection_mask", "_parse_rollout_rs_thresholds", "compute_rs_metrics", "_parse_rollout_is_threshold",
         "compute_rollout_correction_weights", "compute_is_metrics"]
correction = functions(f"{ROOT}/trainer/ppo/rollout_corr_helper.py", names, scope)


class Config(types.SimpleNamespace):
    clip_ratio, clip_ratio_low, clip_ratio_high, global_batch_info = 0.2, 0.2, 0.28, {"global_batch_size": 8}

    def get(self, key, default):
        return 3.0 if key == "clip_ratio_c" else default


def compare_loss(name, mode, words, kl=None, reject=None, weigh=None, clamp=False):
    """reject and weigh as verl's decoupled mode does it: the response mask is replaced, its batch size is not."""

    def theirs(x, rows):
        mask, weights = x.mask, None
        if reject:
            mask, _ = correction.compute_rollout_rejection_mask(x.old - x.mu, x.mask, *reject)
        if weigh:
            weights, _ = correction.compute_rollout_correction_weights(x.old - x.mu, x.mask, *weigh)
        loss, _ = core.compute_policy_loss_vanilla(x.old, x.cur, x.A, mask, mode, Config(), rollout_is_weights=weights)
        if kl:
            loss = loss + 0.05 * core.agg_loss(core.kl_penalty_forward(x.cur, x.ref, kl), mask, mode, **Config.global_batch_info)
        return loss

    def far(x, rows):  # some log ratios beyond +-20, some k3 beyond 10
        for i, row in enumerate(rows):
            row["logp_current"][0] += (-45, 25, 0, -21)[i % 4]
            x.cur.data[i, 0] += (-45, 25, 0, -21)[i % 4]
        return theirs(x, rows)

    # verl adds 1e-8 to some token counts: agreement ends there.
    compare(OPSM, name, BASE, words.split(), far if clamp else theirs, ROUNDS, per_token=True, loss_limit=1e-8)


def compare_mask(option, threshold, words, by_token):
    rng, gaps = random.Random(4), Gaps()
    for _ in range(ROUNDS):
        rows = batch(rng, per_token=True, spread=0.5)
        x = tensors(rows)
        kept, _ = correction.compute_rollout_rejection_mask((x.cur - x.mu).detach(), x.mask, option, threshold)
        got = ours(OPSM, rows, BASE + words.split())["sequences"]
        if by_token:
            gaps.add_mask([int(k.sum()) for k in kept], [s["tokens"] - s["dropped_tokens"] for s in got],
                          sum(s["dropped_tokens"] for s in got))
        else:
            gaps.add_mask([bool(k.sum() > 0) for k in kept], [s["keep"] for s in got], sum(not s["keep"] for s in got))
    assert gaps.agreed == ROUNDS, (option, gaps.agreed)
    print(f"| rejection {option}, {threshold} | `{words}` | {ROUNDS} of {ROUNDS} equal ({gaps.dropped} dropped) | | |")


def main():
    head("verl, per-token advantages, dual clip 3", " ".join(BASE))
    modes = {"token-mean": "aggregation=token_mean", "seq-mean-token-mean": "aggregation=sequence_mean",
             "seq-mean-token-sum-norm": "aggregation=constant max_length=12"}
    for mode, words in modes.items():
        compare_loss(f"vanilla, {mode}", mode, f"{words} mask.rule=none")
        for kl in ("k1", "k2", "k3"):
            compare_loss(f"vanilla, {mode}, KL {kl}", mode,
                         f"{words} mask.rule=none penalty.beta=0.05 penalty.estimator={kl}", kl)
    compare_loss("log ratios to -45 and 25, KL k3", "token-mean",
                 "ratio_clamp=20 aggregation=token_mean mask.rule=none penalty.beta=0.05 penalty.estimator=k3 penalty.clamp=10 "
                 "penalty.clamp_both=true", "k3", clamp=True)
    for level, threshold, keys in [("token", 1.05, "weight.level=token weight.high=1.05"),
                                   ("token", "0.95_1.05", "weight.level=token weight.low=0.95 weight.high=1.05 weight.zero=true"),
                                   ("sequence", 1.1, "weight.level=sequence weight.high=1.1")]:
        compare_loss(f"rollout_is {level}, {threshold}", "token-mean", f"{keys} ratio_clamp=20 aggregation=token_mean mask.rule=none",
                     weigh=(level, threshold))
    drift = "mask.current=trainer mask.kl=true denominator=tokens"
    for mode in ("token-mean", "seq-mean-token-mean"):
        compare_loss(f"decoupled, rollout_rs seq_mean_k1 0.98_1.02, {mode}, KL k3", mode,
                     f"{drift} mask.rule=geometric mask.low={1 / 1.02} mask.high={1 / 0.98} penalty.beta=0.05 "
                     f"penalty.estimator=k3 {modes[mode]}", "k3", reject=("seq_mean_k1", "0.98_1.02"))
        compare_loss(f"decoupled, rollout_rs token_k1 0.95_1.05, {mode}, KL k3", mode,
                     f"{drift} mask.rule=icepop mask.low={1 / 1.05} mask.high={1 / 0.95} penalty.beta=0.05 "
                     f"penalty.estimator=k3 {modes[mode]}", "k3", reject=("token_k1", "0.95_1.05"))
    # verl's k1 band is on exp(X) = behaviour over current, ours on exp(-X): the band is inverted.
    compare_mask("seq_mean_k1", "0.9_1.25", f"mask.rule=geometric mask.low=0.8 mask.high={1 / 0.9}", False)
    compare_mask("seq_sum_k1", "0.5_2.0", "mask.rule=geometric mask.reduce=sum mask.low=0.5 mask.high=2", False)
    compare_mask("token_k1", "0.2_2.0", "mask.rule=icepop mask.low=0.5 mask.high=5", True)
    compare_mask("token_k2", 0.1, "mask.rule=token_k2 mask.delta=0.1", True)
    compare_mask("token_k3", 0.1, "mask.rule=token mask.estimator=k3 mask.delta=0.1", True)
    for option in ("seq_mean_k2", "seq_mean_k3", "seq_sum_k2", "seq_sum_k3", "seq_max_k2", "seq_max_k3"):
        _, reduce, estimator = option.split("_")
        limit = {"mean": 0.15, "sum": 1.0, "max": 0.6}[reduce]
        compare_mask(option, limit, f"mask.sign=any mask.estimator={estimator} mask.reduce={reduce} mask.delta={limit}", False)


main()
