#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the event files of tests/unit/test_metrics.c with TensorBoard itself, checksums and the purge on resume included.

Needs the package tensorboard. Run: python3 tests/golden/check_tensorboard.py build/tests/test_metrics
"""
import os
import subprocess
import sys
import tempfile

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

with tempfile.TemporaryDirectory() as keep:
    subprocess.run([sys.argv[1]], check=True, env={**os.environ, "OPSM_TEST_KEEP": keep},
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    directory = os.path.join(keep, "tensorboard")
    records = 0
    for name in sorted(os.listdir(directory)):
        reader = PyRecordReader_New(os.path.join(directory, name))  # checks both checksums of every record
        while True:
            try:
                reader.GetNext()
                records += 1
            except Exception as end:  # its way of saying that the file is over; a bad checksum says so in its text
                assert type(end).__name__ == "OutOfRangeError" and "crc" not in str(end).lower(), end
                break
    events = EventAccumulator(directory)
    events.Reload()
    scalars = {tag: [(e.step, round(e.value, 6)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

# Iterations 0 to 3 of two steps each, then a resume after iteration 1 (step 3) that trained iteration 2 again: what the
# first run said about steps 4 to 7 is gone.
expected = {
    "step/loss": [(0, 0.0), (1, 0.1), (2, 1.0), (3, 1.1), (4, 2.0), (5, 2.1)],
    "iteration/reward_mean": [(1, 0.0), (3, 0.0), (5, 2.0)],
    "iteration/seconds/rollout": [(1, 0.5), (3, 0.5), (5, 0.5)],
}
assert scalars == expected, scalars
print(f"TensorBoard {tensorboard.__version__} reads {records} records and the {len(expected)} expected series")
