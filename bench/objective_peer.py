# SPDX-License-Identifier: Apache-2.0
"""`opsm bench objective` beside the same computation in PyTorch, eager and compiled, in turn in one run: loss and gradient
of ppo with OPSM (and optionally the bias-corrected KL penalty), as trainers write it, in float32 on padded (B, T) tensors
without padding, on the same number of threads.

    python bench/objective_peer.py build/opsm [--threads N]
"""
import argparse
import json
import os
import statistics
import subprocess
import time

import torch


def loss(c, b, f, A, mask, delta, beta):
    drift = ((b - c.detach()) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    keep = ((A >= 0) | (drift <= delta)).to(c.dtype)
    r = torch.exp(c - b)
    s = -torch.min(r * A, torch.clamp(r, 0.8, 1.2) * A) * keep
    if beta:
        k3 = torch.exp(f - c) - (f - c) - 1
        s = s + beta * r * k3
    return ((s * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def torch_seconds(function, n, length, beta, repeats):
    torch.manual_seed(1)
    b = -3 * torch.rand(n, length)
    c = (b + 0.2 * torch.rand(n, length) - 0.1).requires_grad_()
    f = b + 0.1 * torch.rand(n, length)
    A = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0)[:, None]
    mask = torch.ones(n, length)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        (grad,) = torch.autograd.grad(function(c, b, f, A, mask, 0.05, beta), c)
        times.append(time.perf_counter() - start)
    return times


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opsm")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compiled = torch.compile(loss)
    print(f"torch {torch.__version__}, {options.threads} threads each; nanoseconds per token, median (best) of "
          f"{options.repeats}\n")
    print("| sequences x tokens | penalty | opsm | torch eager | torch.compile | eager / opsm | compile / opsm | opsm / memcpy |")
    print("|---|---|---|---|---|---|---|---|")
    for n, length in ((512, 128), (512, 512), (256, 2048)):
        for beta in (0.0, 0.1):
            words = [options.opsm, "bench", "objective", "--json", "--sequences", str(n), "--length", str(length),
                     "--repeats", str(options.repeats)]
            words += [f"penalty.beta={beta}"] if beta else []
            torch_seconds(compiled, n, length, beta, 3)
            rows = {"eager": [], "compile": [], "opsm": []}
            ours = []
            for _ in range(3):  # in turn, so that a busy machine is busy for all
                ours.append(json.loads(subprocess.run(words, capture_output=True, text=True, check=True,
                                                      env=dict(os.environ, OPSM_THREADS=str(options.threads))).stdout))
                rows["eager"] += torch_seconds(loss, n, length, beta, options.repeats)
                rows["compile"] += torch_seconds(compiled, n, length, beta, options.repeats)
            scale = 1e9 / (n * length)
            eager, comp = (statistics.median(rows[k]) * scale for k in ("eager", "compile"))
            eager_best, comp_best = (min(rows[k]) * scale for k in ("eager", "compile"))
            mine = statistics.median(o["nanoseconds_per_token"] for o in ours)
            best = min(o["best_nanoseconds_per_token"] for o in ours)
            share = statistics.median(o["share_of_memcpy"] for o in ours)
            print(f"| {n} x {length} | {'unbiased KL' if beta else '-'} | {mine:.2f} ({best:.2f}) | {eager:.1f} ({eager_best:.1f}) "
                  f"| {comp:.1f} ({comp_best:.1f}) | {eager / mine:.1f} | {comp / mine:.1f} | {share:.2f} |", flush=True)


main()
