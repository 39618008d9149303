#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare a run's adapter in PEFT with the same adapter here: log-probs of a text, token by token, in float32.

    compare_peft.py OPSM MODEL.gguf RUN TEXT [TEXT ...]

RUN was trained from MODEL with train.lora and train.save=adapter: `opsm score RUN` puts the checkpoint's adapter on MODEL.
transformers reads MODEL, PEFT puts RUN/adapter on it, and merged it must still be the same. Exits 1 when the largest
difference is above 1e-5 of the largest log-prob.
"""
import pathlib
import sys

import peft
import torch
import transformers
from compare_score import load_reference, opsm_scores, reference_scores


def largest(ours, theirs):
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def main():
    program, model, run, *texts = sys.argv[1:]
    text = "\n".join(pathlib.Path(path).read_text() for path in texts)
    ids, ours = opsm_scores(program, run, text, "f32")
    plain_ids, plain = opsm_scores(program, model, text, "f32")
    assert ids == plain_ids
    network = peft.PeftModel.from_pretrained(load_reference(model), pathlib.Path(run) / "adapter").eval()
    theirs = reference_scores(network, ids)
    merged = reference_scores(network.merge_and_unload(), ids)
    bound = 1e-5 * max(1, max(map(abs, ours)))
    gap, merged_gap = largest(ours, theirs), largest(ours, merged)
    print(f"{len(ours)} log-probs: the adapter moves them by at most {largest(ours, plain):.3g}; PEFT's differ by at most "
          f"{gap:.3g}, merged by {merged_gap:.3g} (PEFT {peft.__version__}, transformers {transformers.__version__}, "
          f"torch {torch.__version__})")
    return 0 if gap <= bound and merged_gap <= 4 * bound else 1


if __name__ == "__main__":
    sys.exit(main())
