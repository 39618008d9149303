#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the expected values of tests/unit/test_interval.c, by scipy and exact fractions. Needs the package scipy."""
from fractions import Fraction
from math import comb

from scipy import stats

for right, trials in [(0, 10), (10, 10), (7, 10), (1, 3), (512, 1000), (999, 1000), (3, 100000)]:
    ci = stats.binomtest(right, trials).proportion_ci(method="wilson")
    print(f"        {{{right}, {trials}, {ci.low:.12f}, {ci.high:.12f}}},")
for n, c, k in [(10, 3, 1), (10, 3, 5), (10, 8, 3), (200, 17, 100), (5, 0, 5), (5, 1, 5), (1000, 1, 10), (64, 32, 8)]:
    print(f"        {{{n}, {c}, {k}, {float(1 - Fraction(comb(n - c, k), comb(n, k))):.15f}}},")
for df in [1, 2, 5, 10, 29, 30, 31, 40, 60, 100, 1000, 100000]:
    print(f"        {{{df}, {stats.t.ppf(0.975, df):.10f}}},")
values = [0.959, 0.956, 0.914, 0.975, 0.967]
low, high = stats.t.interval(0.95, len(values) - 1, loc=stats.tmean(values), scale=stats.sem(values))
print(f"mean {stats.tmean(values):.12f} {low:.12f} {high:.12f}")
