# SPDX-License-Identifier: Apache-2.0
"""Compares `opsm audit` with the functions of other frameworks, taken out of their installed sources and run in float64 on
the same batches. Prints the tables of docs/parity.md.

    for p in agilerl ms-swift trinity-rft openrlhf areal skyrl cosmos-rl liger-kernel torchrl; do
      pip install --no-deps --target site/$p $p
    done
    python tests/golden/compare_frameworks.py build/opsm site [framework ...]
"""
import functools
import math
import sys
import types

import torch
from peers import compare, functions, head, scope_of, version

OPSM, SITE = sys.argv[1], sys.argv[2]
ROUNDS = 20
nowhere = types.SimpleNamespace


def run(name, base, words, theirs, **more):
    compare(OPSM, name, base.split(), words.split(), theirs, ROUNDS, **more)


def whole(keep):
    """(B,) or (B, 1) of keep flags as a list of bools."""
    return [bool(k) for k in keep.flatten().tolist()]


# ---- AgileRL: GRPO._compute_policy_loss with _off_policy_drops ----


def agilerl():
    root = f"{SITE}/agilerl/agilerl"
    scope = scope_of()
    functions(f"{root}/utils/llm_utils.py", ["fill_outside_mask", "masked_mean", "calculate_k3_kl", "k3_kl_penalty_reference"],
              scope)
    names = ["_compute_policy_loss", "_off_policy_drops", "_token_loss_weights", "_reduce_masked_loss", "_clipped_units"]
    grpo = functions(f"{root}/algorithms/grpo.py", names, scope, "GRPO")

    def loss(band, threshold, beta, correct, cap, window, objective, clamp, x, rows):
        self = nowhere(off_policy_token_mask_bounds=band, off_policy_sequence_mask_threshold=threshold,
                       _masks_off_policy_tokens=band is not None or threshold is not None, kl_clamp=clamp, beta=beta,
                       use_kl_advantage_shaping=False, clip_coef_min=0.8, clip_coef_max=1.2, use_bias_correction_kl=correct,
                       vllm_importance_sampling_cap=cap, _log_importance_weights=lambda ratio, *_: ratio,
                       _resolve_loss_window=lambda: (1, x.mask.sum()) if window else None)
        for n in names:
            setattr(self, n, functools.partial(getattr(grpo, n), self))
        token, sequence = self._off_policy_drops(x.cur, x.mu, x.mask, x.A)
        kept = (x.mask.bool() & ~(token | sequence)).sum(1).tolist()
        value, _, _ = self._compute_policy_loss(x.mask, x.cur, x.old, x.ref, x.A, None, "token", objective,
                                                sampling_log_probs=x.mu)
        return value, kept

    base = "surrogate.ratio=trainer weight.level=token mask.kl=true mask.sign=token mask.delta=0.03"
    head(f"AgileRL {version(f'{SITE}/agilerl', 'agilerl')}, per-token advantages", base)
    narrow = "mask.also=icepop mask.low=0.9 mask.high=1.2 "
    for name, words, arguments in [
        ("no masks", "mask.rule=none", (None, None, 0.0, False, 2.0, False, "grpo", None)),
        ("sequence mask 0.03", "penalty.beta=0.05", (None, 0.03, 0.05, True, 2.0, False, "grpo", None)),
        ("defaults: also the band 0.5..5, KL clamp 10", "mask.also=icepop penalty.beta=0.05 penalty.clamp=10 aggregation=token_mean",
         ((0.5, 5.0), 0.03, 0.05, True, 2.0, True, "grpo", 10.0)),
        ("band 0.9..1.2, k3, weight cap 1.02", narrow + "penalty.beta=0.05 penalty.estimator=k3 weight.high=1.02",
         ((0.9, 1.2), 0.03, 0.05, False, 1.02, False, "grpo", None)),
        ("cispo, band 0.9..1.2", narrow + "surrogate.name=tis surrogate.cap=1.2 aggregation=token_mean",
         ((0.9, 1.2), 0.03, 0.0, False, 2.0, True, "cispo", None)),
    ]:  # AgileRL's weights of tokens are float32
        run(name, base, words, functools.partial(loss, *arguments), per_token=True, loss_limit=1e-7)
    # A clamped token counts 0 there and the bound here: only the gradient is the same.
    run("KL clamp 0.05, k3", base, "penalty.beta=0.05 penalty.estimator=k3 penalty.clamp=0.05",
        functools.partial(loss, None, 0.03, 0.05, False, 2.0, False, "grpo", 0.05), per_token=True, loss_limit=None)


# ---- ms-swift: GRPOTrainer._compute_loss_and_metrics, from the ratio to the loss ----


def swift():
    path = f"{SITE}/ms-swift/swift/rlhf_trainers/grpo_trainer.py"
    scope = scope_of(WINDOW_NORMALIZED_LOSS_TYPES=["cispo", "dapo", "fipo"], gather_object=lambda x: x,
                     nanmin=lambda x: x, nanmax=lambda x: x)
    names = ["_compute_loss_and_metrics", "_compute_off_policy_sequence_mask", "_apply_rollout_importance_sampling",
             "_compute_sequence_level_ratios", "_get_rollout_is_correction", "_undo_gradient_accumulation_scaling"]
    trainer = functions(path, names, scope, "GRPOTrainer")

    def loss(kind, threshold, beta, mode, delta, level, x, rows):
        same = lambda v: v
        self = nowhere(
            beta=beta, kl_in_reward=False, args=nowhere(top_entropy_quantile=1.0, delta=delta), overlong_filter=False,
            rollout_importance_sampling_mode=mode, rollout_importance_sampling_threshold=1.05,
            log_rollout_offpolicy_metrics=False, disable_rollout_importance_sampling=False, importance_sampling_level=level,
            loss_type=kind, epsilon_low=0.2, epsilon_high=0.2 if kind != "cispo" else 1.2, tau_pos=1.0, tau_neg=1.05,
            _has_teacher=False, off_policy_sequence_mask_delta=threshold, max_completion_length=20, compute_entropy=False,
            log_entropy=False, _compute_rollout_offpolicy_metrics=lambda *a: {}, sdar_loss_coef=0,
            _compute_is_correction_metrics=lambda *a: {}, chord_sft_iterator=None,
            model=nowhere(training=True), model_accepts_loss_kwargs=True, compute_loss_func=None,
            accelerator=nowhere(num_processes=1, gather_for_metrics=same),
            _get_per_token_logps_and_entropies=lambda *a, **k: (x.cur, None))
        for n in names:
            setattr(self, n, functools.partial(getattr(trainer, n), self))
        self._compute_rollout_offpolicy_metrics = lambda *a: {}
        inputs = nowhere(completion_mask=x.mask.bool(), ref_per_token_logps=x.ref, old_per_token_logps=x.old,
                         rollout_per_token_logps=x.mu, advantages=x.A, truncated_mask=[False] * len(rows),
                         num_items_in_batch=x.mask.sum(), teacher_per_token_logps=None)
        value = self._compute_loss_and_metrics(None, {}, inputs)[0]
        keep = self._compute_off_policy_sequence_mask(x.cur.detach(), x.mu, x.mask, pick(rows)) if threshold else None
        return (value, whole(keep)) if threshold else value

    pick = lambda rows: torch.tensor([r["advantage"] for r in rows])
    base = "surrogate.ratio=trainer mask.kl=true"
    head(f"ms-swift {version(f'{SITE}/ms-swift', 'ms_swift')}", base)
    mask, none = "mask.delta=0.1 ", "mask.rule=none "
    kl = "penalty.beta=0.05 penalty.estimator=k3 penalty.clamp=10 penalty.clamp_both=true "
    for name, words, arguments in [
        ("grpo, mask 0.1", mask, ("grpo", 0.1, 0.0, None, None, "token")),
        ("grpo, mask 0.1, KL", mask + kl, ("grpo", 0.1, 0.05, None, None, "token")),
        ("bnpo, mask 0.1, KL", mask + kl + "denominator=kept aggregation=token_mean", ("bnpo", 0.1, 0.05, None, None, "token")),
        ("dr_grpo, mask 0.1, KL", mask + kl + "aggregation=constant max_length=20", ("dr_grpo", 0.1, 0.05, None, None, "token")),
        ("dapo, mask 0.1, KL", mask + kl + "aggregation=token_mean", ("dapo", 0.1, 0.05, None, None, "token")),
        ("sapo, mask 0.1", mask + "surrogate.name=sapo", ("sapo", 0.1, 0.0, None, None, "token")),
        ("cispo, mask 0.1", mask + "surrogate.name=tis surrogate.cap=1.2 aggregation=token_mean",
         ("cispo", 0.1, 0.0, None, None, "token")),
        ("grpo, delta 1.5 (two-sided clip)", none + "surrogate.dual_clip=1.5", ("grpo", None, 0.0, None, 1.5, "token")),
        ("grpo, sequence ratio", none + "surrogate.name=gspo", ("grpo", None, 0.0, None, None, "sequence")),
        ("rollout weights token_truncate, KL", none + kl + "weight.level=token weight.high=1.05 weight.kl=true",
         ("grpo", None, 0.05, "token_truncate", None, "token")),
        ("rollout weights token_mask, KL", none + kl + "weight.level=token weight.high=1.05 weight.zero=true weight.kl=true",
         ("grpo", None, 0.05, "token_mask", None, "token")),
        ("rollout weights sequence_truncate, KL", none + kl + "weight.level=geometric weight.high=1.05 weight.kl=true",
         ("grpo", None, 0.05, "sequence_truncate", None, "token")),
        ("rollout weights sequence_mask",
         "mask.rule=geometric mask.current=trainer mask.low=0 mask.high=1.05 weight.level=token weight.high=off", ("grpo", None, 0.0, "sequence_mask", None, "token")),
    ]:
        run(name, base, words, functools.partial(loss, *arguments), tools=True)


# ---- Trinity-RFT: PPOPolicyLossFn ----


def trinity():
    root = f"{SITE}/trinity-rft/trinity/algorithm"
    scope = scope_of()
    functions(f"{root}/utils.py", ["masked_sum", "masked_mean", "aggregate_loss"], scope)
    scope["PolicyLossFn"] = type("PolicyLossFn", (), {"__init__": lambda self, backend: None})
    ppo = functions(f"{root}/policy_loss_fn/ppo_policy_loss.py", ["PPOPolicyLossFn"], scope).PPOPolicyLossFn

    def loss(mode, delta, x, rows):
        call = ppo(clip_range_low=0.2, clip_range_high=0.28, loss_agg_mode=mode, enable_sequence_masking=delta is not None,
                   delta_sequence_masking=delta or 0.0)
        value, metrics = call(x.cur, x.mu, x.mask, x.A)
        return value

    def far(mode, delta, x, rows):  # some log ratios beyond +-20
        for i, row in enumerate(rows):
            row["logp_current"][0] += (-45, 25, 0, -21)[i % 4]
            x.cur.data[i, 0] += (-45, 25, 0, -21)[i % 4]
        return loss(mode, delta, x, rows)

    base = "mask.sign=token ratio_clamp=20 surrogate.clip_high=0.28 surrogate.dual_clip=3"
    head(f"Trinity-RFT {version(f'{SITE}/trinity-rft', 'trinity_rft')}, per-token advantages", base)
    for mode, words in [("token-mean", "aggregation=token_mean"), ("seq-mean-token-mean", "aggregation=sequence_mean")]:
        for name, delta, rule in [("no mask", None, "mask.rule=none"), ("mask 0.1", 0.1, "mask.delta=0.1")]:
            run(f"{mode}, {name}", base, f"{words} {rule}", functools.partial(loss, mode, delta), per_token=True,
                loss_limit=1e-8)
            run(f"{mode}, {name}, log ratios to -45 and 25", base, f"{words} {rule}", functools.partial(far, mode, delta),
                per_token=True, loss_limit=1e-8)


# ---- OpenRLHF: PolicyLoss ----


def openrlhf():
    root = f"{SITE}/openrlhf/openrlhf/models"
    scope = scope_of()
    functions(f"{root}/utils.py", ["masked_mean"], scope)
    policy = functions(f"{root}/loss.py", ["aggregate_loss", "PolicyLoss"], scope).PolicyLoss

    def loss(options, x, rows):
        return policy(clip_eps_low=0.2, clip_eps_high=0.28, **options)(x.cur, x.old, x.A, x.mask, x.mu)[0]

    base = "surrogate.ratio=trainer ratio_clamp=20 surrogate.clip_high=0.28"
    head(f"OpenRLHF {version(f'{SITE}/openrlhf', 'openrlhf')}, per-token advantages but for gspo", base)
    token, band = "aggregation=token_mean ", (0.95, 1.05)
    weight, bounds = "weight.level=token ", "weight.low=0.95 weight.high=1.05 "
    drift = "mask.current=trainer weight.level=token weight.high=off "
    correct = lambda level, mode, gating="ratio", threshold=band: dict(
        is_correction_level=level, is_correction_mode=mode, is_correction_gating=gating, is_correction_threshold=threshold)
    for name, words, options in [
        ("token mean", token + "mask.rule=none", {}),
        ("sequence mean, dual clip 3", "surrogate.dual_clip=3 mask.rule=none", dict(token_level_loss=False, dual_clip=3.0)),
        ("gspo", "surrogate.name=gspo mask.rule=none", dict(policy_loss_type="gspo")),
        ("tis: clip both sides", token + weight + bounds + "mask.rule=none", correct("token", "clip")),
        ("icepop: token mask", token + weight + bounds + "weight.zero=true mask.rule=none", correct("token", "mask")),
        ("seq-mask-tis", token + drift + "mask.rule=geometric mask.low=0.95 mask.high=1.05", correct("seq", "mask")),
        ("token mask by total variation", token + drift + "mask.rule=tv mask.sign=any mask.delta=0.01",
         correct("token", "mask", "tv", (0.0, 0.01))),
    ]:
        run(name, base, words, functools.partial(loss, options), per_token=name != "gspo", loss_limit=1e-8)


# ---- AReaL: ppo_actor_loss_fn, apply_rejection_sampling (which casts to float32) ----


def areal():
    root = f"{SITE}/areal/areal/utils"
    scope = scope_of(RejectionSamplingConfig=None, dataclass=lambda c: c, functools=functools)
    functions(f"{root}/data.py", ["KLEstimator"], scope)
    scope["RejectionSamplingResult"] = nowhere
    names = ["_check_bounds", "apply_rejection_sampling", "_compute_sequence_level_ratio_and_advantages", "ppo_actor_loss_fn"]
    actor = functions(f"{root}/functional/functional.py", names, scope).ppo_actor_loss_fn

    def loss(reject, dual, x, rows):
        config = nowhere(**dict(dict(level="token", action="mask", metric="ratio", agg="mean", upper=5.0, lower=None),
                                **reject)) if reject else None
        return actor(x.cur, x.old, x.mu, x.A, 0.2, x.mask.bool(), 0.28, dual, config)[0]

    base = "surrogate.ratio=trainer surrogate.clip_high=0.28 aggregation=token_mean"
    head(f"AReaL {version(f'{SITE}/areal', 'areal')}, per-token advantages", base)
    sign = "mask.current=trainer mask.sign=any "
    raw = "weight.level=token weight.high=off "
    for name, words, reject in [
        ("PPO", "mask.rule=none", None),
        ("decoupled, weight clamped to 1.05", "mask.rule=none weight.level=token weight.high=1.05",
         dict(action="clamp", upper=1.05)),
        ("decoupled, as one surrogate", "mask.rule=none surrogate.name=decoupled surrogate.cap=1.05",
         dict(action="clamp", upper=1.05)),
        ("token mask, ratio 0.95..1.05", sign + raw + "mask.rule=icepop mask.low=0.95 mask.high=1.05",
         dict(lower=0.95, upper=1.05)),
        ("token mask, k2 at most 0.002", sign + raw + "mask.rule=token mask.estimator=k2 mask.delta=0.002",
         dict(metric="kl_k2", upper=0.002)),
        ("sequence mask, mean k2 at most 0.001", sign + raw + "mask.estimator=k2 mask.delta=0.001",
         dict(level="sequence", metric="kl_k2", upper=0.001)),
        ("sequence mask, largest k2 at most 0.002", sign + raw + "mask.estimator=k2 mask.reduce=max mask.delta=0.002",
         dict(level="sequence", metric="kl_k2", agg="max", upper=0.002)),
        ("sequence mask, geometric mean 0.98..1.02, which is the weight too",
         sign + "weight.level=geometric weight.high=off mask.rule=geometric mask.low=0.98 mask.high=1.02",
         dict(level="sequence", lower=0.98, upper=1.02)),
        ("sequence clamp", "mask.rule=none weight.level=geometric weight.low=0.98 weight.high=1.02",
         dict(level="sequence", action="clamp", lower=0.98, upper=1.02)),
    ]:
        run(name, base, words, functools.partial(loss, reject, None), per_token=True, loss_limit=2e-7, gradient_limit=2e-7)


# ---- SkyRL: ppo_policy_loss with apply_off_policy_correction (whose exp runs in float32) ----


def skyrl():
    root = f"{SITE}/skyrl/skyrl/backends/skyrl_train/utils"
    scope = scope_of(AlgorithmConfig=None, DictConfig=None)
    functions(f"{root}/torch_utils.py", ["masked_mean", "safe_exp_delta"], scope)
    names = ["off_policy_correction_enabled", "compute_tis_ratio", "compute_outlier_token_mask", "compute_token_mask",
             "compute_sequence_mask", "compute_off_policy_correction", "apply_off_policy_correction"]
    functions(f"{root}/off_policy_correction_utils.py", names, scope)
    ppo = functions(f"{root}/ppo_utils.py", ["reduce_loss", "ppo_policy_loss"], scope).ppo_policy_loss
    nothing = dict(tis_ratio_type=None, sequence_mask_metric=None, outlier_token_is_threshold_low=None,
                   outlier_token_is_threshold_high=None, token_mask_is_threshold_low=None, token_mask_is_threshold_high=None)

    def loss(correction, x, rows):
        config = nowhere(policy_loss_type="dual_clip", eps_clip_low=0.2, eps_clip_high=0.28, clip_ratio_c=3.0,
                         off_policy_correction=nowhere(**dict(nothing, **correction)))
        return ppo(x.cur, x.old, x.A / x.mask.sum(), config, x.mask, x.mu)[0]

    base = ("surrogate.ratio=trainer surrogate.clip_high=0.28 surrogate.dual_clip=3 ratio_clamp=20 aggregation=token_mean "
            "mask.current=trainer")
    head(f"SkyRL {version(f'{SITE}/skyrl', 'skyrl')}, per-token advantages", base)
    for name, words, correction in [
        ("PPO, dual clip", "mask.rule=none", {}),
        ("token weight, cap 1.05", "mask.rule=none weight.level=token weight.high=1.05",
         dict(tis_ratio_type="token", token_tis_ratio_clip_high=1.05)),
        ("sequence weight (product), cap 1.1", "mask.rule=none weight.level=sequence weight.high=1.1",
         dict(tis_ratio_type="sequence", sequence_tis_ratio_clip_high=1.1)),
        ("geometric mask 0.98..1.02", "mask.rule=geometric mask.low=0.98 mask.high=1.02",
         dict(sequence_mask_metric="geometric", geo_mask_low=0.98, geo_mask_high=1.02)),
        ("product mask 0.8..1.2", "mask.rule=geometric mask.reduce=sum mask.low=0.8 mask.high=1.2",
         dict(sequence_mask_metric="product", product_mask_low=0.8, product_mask_high=1.2)),
        ("outlier mask 0.9..1.1", "mask.rule=outlier mask.low=0.9 mask.high=1.1",
         dict(outlier_token_is_threshold_low=0.9, outlier_token_is_threshold_high=1.1)),
        ("token mask 0.95..1.05 and token weight",
         "mask.rule=icepop mask.low=0.95 mask.high=1.05 weight.level=token weight.high=1.02",
         dict(token_mask_is_threshold_low=0.95, token_mask_is_threshold_high=1.05, tis_ratio_type="token",
              token_tis_ratio_clip_high=1.02)),
    ]:
        run(name, base, words, functools.partial(loss, correction), per_token=True, loss_limit=2e-7, gradient_limit=2e-7)


# ---- cosmos-rl: compute_loss over packed sequences ----


def cosmos():
    path = f"{SITE}/cosmos-rl/cosmos_rl/policy/trainer/llm_trainer/grpo_trainer.py"
    scope = scope_of(CosmosConfig=None, HighAvailabilitylNccl=None)
    compute = functions(path, ["_apply_off_policy_mask", "compute_loss"], scope).compute_loss

    def loss(delta, beta, unbiased, x, rows):
        policy = nowhere(variant="grpo", aipo_rho=None, epsilon_low=0.2, epsilon_high=0.28, lower_bound_ratio=3.0,
                         behav_imp_weight_cap=1.05, off_policy_masking_delta=delta, kl_beta=beta,
                         unbiased_kl_estimate=unbiased, loss_type="seq-mean-token-mean", unbiased_loss_max_tokens=None,
                         balance_dp_token=False, no_kl_in_loss=False)
        on = x.mask.bool()
        lengths = torch.tensor([0] + [len(r["mask"]) for r in rows]).cumsum(0)
        out = compute(x.cur[on], x.old[on], x.ref[on], x.A[on], lengths, nowhere(train=nowhere(train_policy=policy)), on,
                      rollout_per_token_logps=x.mu[on])
        return out[0]

    base = ("surrogate.ratio=trainer ratio_clamp=20 surrogate.clip_high=0.28 surrogate.dual_clip=3 weight.level=token "
            "weight.high=1.05 weight.zero=true")
    head(f"cosmos-rl {version(f'{SITE}/cosmos-rl', 'cosmos_rl')}", base)
    for name, words, arguments in [
        ("no mask", "mask.rule=none", (None, 0.0, False)),
        ("mask 0.1", "mask.delta=0.1", (0.1, 0.0, False)),
        ("mask 0.1, KL", "mask.delta=0.1 penalty.beta=0.05 penalty.estimator=k3 penalty.clamp=10 penalty.clamp_both=true",
         (0.1, 0.05, False)),
        ("mask 0.1, unbiased KL", "mask.delta=0.1 penalty.beta=0.05 penalty.clamp=10 penalty.clamp_both=true",
         (0.1, 0.05, True)),
    ]:
        run(name, base, words, functools.partial(loss, *arguments))


# ---- Liger: the loss inside its fused linear kernel ----


def liger():
    path = f"{SITE}/liger-kernel/liger_kernel/chunked_loss/grpo_loss.py"
    base_class = nowhere(_compute_dapo_normalizer=lambda mask, num_items_in_batch=None: mask.sum())
    scope = scope_of(LigerFusedLinearPPOBase=base_class)
    functions(path, ["k3_loss_fn", "sapo_loss_fn", "clip_coef_fn"], scope)
    ppo = functions(path, ["ppo_loss_fn"], scope, "LigerFusedLinearGRPOFunction").ppo_loss_fn

    def loss(kind, options, x, rows):
        A = torch.tensor([r["advantage"] for r in rows])
        return ppo(x.cur, x.mask, A, x.mask, x.ref, x.old, loss_type=kind, max_completion_length=20,
                   epsilon_high=1.2 if kind == "cispo" else 0.2, **options)[0]

    base = "surrogate.ratio=trainer mask.rule=none"
    head(f"Liger {version(f'{SITE}/liger-kernel', 'liger_kernel')} (it has no mask)", base)
    kinds = {"grpo": "aggregation=sequence_mean", "bnpo": "aggregation=token_mean",
             "dr_grpo": "aggregation=constant max_length=20", "dapo": "aggregation=token_mean",
             "cispo": "surrogate.name=tis surrogate.cap=1.2 aggregation=token_mean",
             "sapo": "surrogate.name=sapo aggregation=sequence_mean"}
    for kind, words in kinds.items():
        run(f"{kind}, KL", base, f"{words} penalty.beta=0.04 penalty.estimator=k3",
            functools.partial(loss, kind, dict(beta=0.04)), tools=True)
    run("grpo, bias-corrected KL, delta 1.5", base, "penalty.beta=0.04 surrogate.dual_clip=1.5",
        functools.partial(loss, "grpo", dict(beta=0.04, use_bias_correction_kl=True, delta=1.5)), tools=True)


# ---- torchrl: GRPOLoss.forward ----


def torchrl():
    class Columns(dict):
        """What GRPOLoss asks of a TensorDict."""

        def get(self, key, default=None, **_):
            return self[key] if key in self else default

        def set(self, key, value):
            self[key] = value

        def copy(self):
            return self

    right = lambda mask, like: mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim)).expand_as(like)
    scope = scope_of(TensorDict=Columns, expand_as_right=right, TensorDictBase=None, LLMOutputType=None)
    names = ["forward", "_compute_policy_objective", "_aggregate_loss_value", "_kl_to_ref"]
    path = f"{SITE}/torchrl/torchrl/objectives/llm/grpo.py"
    grpo = functions(path, names, scope, "GRPOLoss")

    def loss(threshold, aggregation, x, rows):
        mask, log_weight = x.mask.bool(), (x.cur - x.mu).unsqueeze(-1)
        keys = nowhere(action="action", advantage="advantage", sample_log_prob="mu", ref_log_probs="ref")
        columns = Columns(action=mask, advantage=x.A.unsqueeze(-1), mu=x.mu, ref=x.ref, _cur_log_prob=x.cur)
        self = nowhere(tensor_keys=keys, kl_mask_threshold=threshold, entropy_bonus=False, aggregation=aggregation,
                       reduction="mean", kl_to_ref_coeff=None, kl_to_inference_coeff=None,
                       _clip_bounds=(math.log(0.8), math.log(1.28)), output_type=nowhere(from_tensordict=lambda t: t),
                       _log_weight=lambda *a, **k: (log_weight, None, x.cur, mask),
                       _reduce_loss=lambda v, mask, **k: (v * mask).sum().reshape(1) / mask.sum())
        for n in names[1:]:
            setattr(self, n, functools.partial(getattr(grpo, n), self))
        return grpo.forward(self, columns)["loss_objective"].sum()

    base = "surrogate.clip_high=0.28"
    head(f"torchrl {version(f'{SITE}/torchrl', 'torchrl')}, per-token advantages", base)
    mask = "mask.rule=token_k2 mask.delta=0.05 "
    for name, words, arguments in [
        ("token_mean", "mask.rule=none aggregation=token_mean", (None, "token_mean")),
        ("token_mean, kl_mask_threshold 0.05", mask + "denominator=kept aggregation=token_mean", (0.05, "token_mean")),
        ("prompt_mean, kl_mask_threshold 0.05", mask + "denominator=tokens aggregation=sequence_mean", (0.05, "prompt_mean")),
    ]:
        run(name, base, words, functools.partial(loss, *arguments), per_token=True)


# ---- Not on PyPI: written again from their documented behaviour, with nothing of their code ----


def slime():
    def loss(delta, beta, x, rows):
        total = 0.0
        for i, row in enumerate(rows):
            on = [t for t, m in enumerate(row["mask"]) if m]
            drift = sum(row["logp_trainer"][t] - row["logp_current"][t] for t in on) / max(len(on), 1)
            for t in on:
                A, r = x.A[i, t], torch.exp(x.cur[i, t] - x.old[i, t])
                dropped = A < 0 and drift > delta
                s = 0.0 if dropped else torch.maximum(-r * A, -torch.clamp(r, 0.8, 1.28) * A)
                gap = x.ref[i, t] - x.cur[i, t]
                total = total + (s + beta * (torch.exp(gap) - gap - 1)) / (len(on) * len(rows))
        return total

    base = "surrogate.ratio=trainer mask.behavior=trainer mask.sign=token surrogate.clip_high=0.28"
    head("slime, re-implemented from its documented behaviour, per-token advantages", base)
    run("opsm-delta 0.1", base, "mask.delta=0.1", functools.partial(loss, 0.1, 0.0), per_token=True, tools=True)
    run("opsm-delta 0.0001, KL k3", base, "mask.delta=0.0001 penalty.beta=0.05 penalty.estimator=k3",
        functools.partial(loss, 1e-4, 0.05), per_token=True, tools=True)


def prime():
    """DPPO with the binary total variation, prime-rl's default; ipo without the sign."""

    def loss(limit, signed, x, rows):
        total, tokens = 0.0, sum(sum(r["mask"]) for r in rows)
        for i, row in enumerate(rows):
            for t in (t for t, m in enumerate(row["mask"]) if m):
                moved = math.exp(row["logp_current"][t]) - math.exp(row["logp_behavior"][t])
                A, log_ratio = x.A[i, t], x.cur[i, t] - x.mu[i, t]
                dropped = (moved > limit if A > 0 else moved < -limit) if signed else abs(moved) > limit
                total = total + (0.0 if dropped else -A * torch.exp(log_ratio)) + 1e-3 * log_ratio**2
        return total / tokens

    def call(limit, signed, x, rows):
        for row in rows:
            row["logp_reference"] = row["logp_behavior"]  # its penalty is against the sampler
        return loss(limit, signed, x, rows)

    base = "surrogate.name=is mask.rule=tv aggregation=token_mean penalty.beta=0.002 penalty.estimator=k2"
    head("prime-rl, re-implemented from its documented behaviour", base)
    run("dppo, 0.2", base, "mask.delta=0.2", functools.partial(call, 0.2, True))
    run("ipo, 0.1", base, "mask.sign=any mask.delta=0.1", functools.partial(call, 0.1, False))


def nemo():
    """seq_logprob_error_threshold: sequences leave loss and denominators."""

    def loss(limit, x, rows):
        total, tokens, kept = 0.0, 0, []
        for i, row in enumerate(rows):
            on = [t for t, m in enumerate(row["mask"]) if m]
            error = sum(math.exp(abs(row["logp_behavior"][t] - row["logp_trainer"][t])) for t in on) / len(on)
            kept.append(error <= limit)
            for t in on if kept[-1] else []:
                r, gap = torch.exp(x.cur[i, t] - x.old[i, t]), x.ref[i, t] - x.cur[i, t]
                total = total + torch.maximum(-r * x.A[i, t], -torch.clamp(r, 0.8, 1.28) * x.A[i, t])
                total = total + 0.05 * (torch.exp(gap) - gap - 1)
            tokens += len(on) * kept[-1]
        return total / tokens, kept

    base = "surrogate.ratio=trainer surrogate.clip_high=0.28 aggregation=token_mean penalty.beta=0.05 penalty.estimator=k3"
    head("NeMo-RL, re-implemented from its documented behaviour", base)
    run("seq_logprob_error_threshold 1.04", base,
        "mask.estimator=exp_abs mask.sign=any mask.current=trainer mask.delta=1.04 mask.kl=true denominator=kept",
        functools.partial(loss, 1.04), tools=True)


FRAMEWORKS = [agilerl, swift, trinity, openrlhf, areal, skyrl, cosmos, liger, torchrl, slime, prime, nemo]


def main():
    for framework in FRAMEWORKS:
        if len(sys.argv) == 3 or framework.__name__ in sys.argv[3:]:
            framework()
            print()


main()
