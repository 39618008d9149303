#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes expressions.tsv: random arithmetic with its value by Python's own parser and exact fractions.

Each line: expression, tab, "numerator/denominator" or "-" where our evaluator must refuse (division by zero, or a part of
an intermediate result above 2^31 - 1). Run: python3 tests/golden/make_expressions.py > tests/golden/expressions.tsv
"""
import ast
import random
from fractions import Fraction

LIMIT = 2**31 - 1


def value(node):
    if isinstance(node, ast.Constant):
        result = Fraction(node.value)
    else:
        left, right = value(node.left), value(node.right)
        op = type(node.op)
        if op is ast.Div and right == 0:
            raise OverflowError
        result = {ast.Add: lambda: left + right, ast.Sub: lambda: left - right, ast.Mult: lambda: left * right,
                  ast.Div: lambda: left / right}[op]()
    if abs(result.numerator) > LIMIT or result.denominator > LIMIT:
        raise OverflowError
    return result


def write(random_, depth, largest):
    if depth == 0 or random_.random() < 0.15:
        return str(random_.randint(0, largest))
    left, right = (write(random_, depth - 1, largest) for _ in range(2))
    text = left + random_.choice(["", " "]) + random_.choice("+-*/") + random_.choice(["", " "]) + right
    return f"({text})" if random_.random() < 0.6 else text


random_ = random.Random(20250101)
for i in range(1500):
    text = write(random_, random_.randint(1, 5), random_.choice([9, 99, 99999, LIMIT]))
    try:
        exact = value(ast.parse(text, mode="eval").body)
        print(f"{text}\t{exact.numerator}/{exact.denominator}")
    except OverflowError:
        print(f"{text}\t-")
