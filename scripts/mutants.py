#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks the code on purpose, one small change at a time, and lists what no unit suite notices.

A mutant swaps a comparison, an arithmetic or boolean operator, a constant, negates a condition or deletes a statement.
It lives in a copy of the tree (build-mutants/tree) with a build of its own. Of each the file's object code is compiled
first: what does not compile, or compiles to the code of the original, is no mutant. Then the suites that link the object
run, quickest first, until one fails. Comments, texts, directives and data tables' layout are left alone.

Usage: mutants.py [--count N] [--seed N] [--seconds N] (--base REV | FILE.c[:FROM-TO] ...)
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
WORK = TOP / "build-mutants"
TREE, BUILD = WORK / "tree", WORK / "build"

TOKEN = re.compile(r"""
      (?P<skip>/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | ^[ \t]*\#(?:\\\n|[^\n])* | \s+)
    | (?P<number>(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uUlLfF]*)
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign><<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|.)
""", re.X | re.S | re.M)

SWAPS = {
    "<": ["<="], "<=": ["<"], ">": [">="], ">=": [">"], "==": ["!="], "!=": ["=="],
    "&&": ["||"], "||": ["&&"], "+=": ["-="], "-=": ["+="], "*=": ["/="], "++": ["--"], "--": ["++"],
    "%": ["*"], "/": ["*"], "<<": [">>"], ">>": ["<<"], "|=": ["&="], "&=": ["|="],
}
BINARY = {"+": "-", "-": "+", "*": "/"}  # where an operand stands before them
WORDS = {"true": "false", "false": "true"}
KEYWORDS = {"if", "else", "for", "while", "do", "switch", "case", "default", "return", "goto", "struct", "enum", "union",
            "static", "const", "typedef", "extern", "sizeof"}


def tokens(text):
    """(kind, text, begin) of what may be changed; comments, strings and directives are passed over."""
    return [(m.lastgroup, m.group(), m.start()) for m in TOKEN.finditer(text) if m.lastgroup != "skip"]


def closing(found, i):
    """The place of the bracket that closes the one at i."""
    depth = 0
    for k in range(i, len(found)):
        depth += {"(": 1, ")": -1}.get(found[k][1], 0)
        if depth == 0:
            return k
    return None


def statement_end(found, i):
    """The semicolon of the expression statement that begins at i; None where none does."""
    if found[i][0] != "word" or found[i][1] in KEYWORDS:
        return None
    if found[i][1] not in ("break", "continue"):
        # A call, or something that is assigned to: `name (`, `name =`, `name->...`, `name[`; not `type name`.
        if i + 1 >= len(found) or found[i + 1][1] not in ("(", "=", "->", ".", "[", "+=", "-=", "*=", "/=", "|=", "&=", "++", "--"):
            return None
    depth = 0
    for k in range(i, min(i + 400, len(found))):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(found[k][1], 0)
        if found[k][1] == ";" and depth == 0:
            return k
        if depth < 0:
            return None
    return None


def constants(number):
    digits = number.rstrip("uUlLfF")
    suffix = number[len(digits):] if not number.lower().startswith("0x") else ""
    if number.lower().startswith("0x"):
        return []
    if re.fullmatch(r"\d+", digits):
        n = int(digits)
        return [f"{1 if n == 0 else 0 if n == 1 else n + 1}{suffix}"]
    return [f"({number} * 2)", ] if float(digits) != 0 else [f"1.0{suffix}"]


def mutations(text):
    """All (begin, end, replacement) of one file."""
    found, all_of = tokens(text), []
    depth = 0  # of braces: what stands outside of functions is declarations
    for i, (kind, token, at) in enumerate(found):
        before = found[i - 1] if i else ("sign", ";", 0)
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0:
            continue
        operand = before[0] in ("number", "word") and before[1] not in KEYWORDS or before[1] in (")", "]")
        end = at + len(token)
        if kind == "number":
            all_of += [(at, end, new) for new in constants(token)]
        elif token in WORDS:
            all_of.append((at, end, WORDS[token]))
        elif kind == "sign" and token in SWAPS:
            all_of += [(at, end, new) for new in SWAPS[token]]
        elif kind == "sign" and token in BINARY and operand:
            all_of.append((at, end, BINARY[token]))
        elif token == "!" and kind == "sign":
            all_of.append((at, end, ""))
        elif token == "if" and i + 1 < len(found) and found[i + 1][1] == "(":
            close = closing(found, i + 1)
            if close:
                inside = text[found[i + 1][2] + 1:found[close][2]]
                all_of.append((found[i + 1][2], found[close][2] + 1, f"(!({inside}))"))
        if before[1] in (";", "{", "}", ")", "else"):
            stop = statement_end(found, i)
            if stop:
                all_of.append((at, found[stop][2], ""))
    return sorted(set(all_of))


def changed_lines(base):
    """{file: set of lines} of src/ that differ from `base`, uncommitted ones included."""
    diff = subprocess.run(["git", "diff", "-U0", base, "--", "src/*.c"], cwd=TOP, capture_output=True, text=True, check=True)
    lines, name = {}, None
    for row in diff.stdout.splitlines():
        if row.startswith("+++ b/"):
            name = row[6:]
        hunk = re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", row)
        if hunk and name:
            first, n = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(name, set()).update(range(first, first + n))
    return lines


def given_lines(words):
    """The same for words FILE.c or FILE.c:FROM-TO."""
    lines = {}
    for word in words:
        name, _, span = word.partition(":")
        path = Path(name).resolve()
        if not path.is_file() or TOP not in path.parents:
            sys.exit(f"mutants: '{name}': expected a C file of src/")
        first, _, last = span.partition("-")
        wanted = range(int(first), int(last or first) + 1) if span else range(1, 1 << 20)
        lines.setdefault(str(path.relative_to(TOP)), set()).update(wanted)
    return lines


def run(command, seconds=None):
    """Exit code of a command in the tree, None after `seconds`; its children end with it."""
    process = subprocess.Popen(command, cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return None
    except BaseException:
        os.killpg(process.pid, 9)
        raise


def copy_tree():
    """What git knows of the working tree, and new files. What is the same stays, so that little is built again."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP,
                            capture_output=True, check=True).stdout.decode().split("\0")
    names = {name for name in listed if name and (TOP / name).is_file()}
    for name in names:
        source, copy = TOP / name, TREE / name
        if copy.is_file() and copy.read_bytes() == source.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    for old in [p for p in TREE.rglob("*") if p.is_file() and str(p.relative_to(TREE)) not in names]:
        old.unlink()


def configure():
    # Optimised, so that equal object code tells equal mutants; without debug information, which names lines; without
    # warnings, which would refuse a mutant that leaves something unused.
    launcher = ["-DCMAKE_C_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    subprocess.run(["cmake", "-S", str(TREE), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=None",
                    "-DCMAKE_C_FLAGS=-O1 -w", *launcher], check=True, stdout=subprocess.DEVNULL)
    if subprocess.run(["cmake", "--build", str(BUILD)], stdout=subprocess.DEVNULL).returncode:
        sys.exit("mutants: the code as it stands does not build")


def objects_of(name):
    """The object files that a source is compiled to."""
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    return [os.path.relpath(BUILD / c["output"], BUILD) for c in commands if c["file"] == str(TREE / name)]


def symbols(path, *options):
    out = subprocess.run(["nm", "--defined-only", *options, str(path)], capture_output=True, text=True)
    return {row.split()[-1] for row in out.stdout.splitlines() if row.split()}


class Suites:
    """The unit suites: which link an object, how long each takes as the code stands."""

    def __init__(self):
        programs = [p for p in sorted((BUILD / "tests").glob("test_*")) if p.is_file() and os.access(p, os.X_OK)]
        self.symbols = {p.name: symbols(p) for p in programs}  # what is hidden is local once it is linked
        self.seconds, self.left_out = {}, {}

    def measure(self, name, limit):
        if name in self.seconds or name in self.left_out:
            return
        start = time.monotonic()
        code = run([str(BUILD / "tests" / name)], limit)
        if code == 0:
            self.seconds[name] = time.monotonic() - start
        else:
            self.left_out[name] = "takes too long" if code is None else "skipped" if code == 77 else "fails as it stands"

    def of(self, objects, limit):
        wanted = set().union(*(symbols(BUILD / o, "-g") for o in objects))
        linked = [name for name, own in self.symbols.items() if own & wanted]
        for name in linked:
            self.measure(name, limit)
        return sorted((n for n in linked if n in self.seconds), key=lambda n: self.seconds[n])


def object_code(objects):
    return [(BUILD / o).read_bytes() for o in objects]


def build(targets):
    return run(["cmake", "--build", str(BUILD), "--target", *targets], 600) == 0


def try_mutant(name, original, change, objects, code, suites, suite_names, seconds):
    """"killed", "survived", "equal" or "invalid", and by what."""
    begin, end, new = change
    path = TREE / name
    path.write_text(original[:begin] + new + original[end:])
    try:
        if not build(objects):
            return "invalid", None
        if object_code(objects) == code:
            return "equal", None
        left = seconds
        for suite in suite_names:
            limit = max(5.0, 5 * suites.seconds[suite])
            if left < suites.seconds[suite]:
                return "survived", "out of time"
            if not build([f"tests/{suite}"]):
                return "invalid", None
            start = time.monotonic()
            if run([str(BUILD / "tests" / suite)], limit) != 0:
                return "killed", suite
            left -= time.monotonic() - start
        return "survived", None
    finally:
        path.write_text(original)


def describe(original, change):
    begin, end, new = change
    line = original.count("\n", 0, begin) + 1
    first = original.rfind("\n", 0, begin) + 1
    last = original.find("\n", end)
    old_line = " ".join(original[first:last].split())
    new_line = " ".join((original[first:begin] + new + original[end:last]).split())
    return line, old_line, new_line or "(nothing)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE.c[:FROM-TO]")
    parser.add_argument("--base", help="mutate the lines of src/ that differ from this revision")
    parser.add_argument("--count", type=int, default=40, help="mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="chooses them")
    parser.add_argument("--seconds", type=float, default=60, help="time of the suites of one mutant")
    options = parser.parse_args()
    if bool(options.files) == bool(options.base):
        parser.error("give either files or --base REV")
    lines = given_lines(options.files) if options.files else changed_lines(options.base)
    TREE.mkdir(parents=True, exist_ok=True)
    copy_tree()
    configure()
    suites, candidates, parts = Suites(), [], {}
    for name, wanted in sorted(lines.items()):
        original = (TREE / name).read_text()
        changes = [c for c in mutations(original) if original.count("\n", 0, c[0]) + 1 in wanted]
        candidates += [(name, c) for c in changes]
        objects = objects_of(name)
        parts[name] = (original, objects, object_code(objects), suites.of(objects, options.seconds))
        print(f"{name}: {len(changes)} mutants, {len(parts[name][3])} suites", flush=True)
    for suite, why in sorted(suites.left_out.items()):
        print(f"left out: {suite} {why}", flush=True)
    random.Random(options.seed).shuffle(candidates)
    counts = {"killed": 0, "survived": 0, "equal": 0, "invalid": 0}
    for name, change in candidates:
        if counts["killed"] + counts["survived"] >= options.count:
            break
        original, objects, code, suite_names = parts[name]
        verdict, by = try_mutant(name, original, change, objects, code, suites, suite_names, options.seconds)
        counts[verdict] += 1
        line, old, new = describe(original, change)
        if verdict == "survived":
            print(f"survived{' (' + by + ')' if by else ''}: {name}:{line}\n    {old}\n    {new}", flush=True)
        elif verdict == "killed" and os.environ.get("VERBOSE"):
            print(f"killed by {by}: {name}:{line}\n    {old}\n    {new}", flush=True)
    print(f"{counts['killed'] + counts['survived']} mutants of {len(candidates)}: {counts['killed']} killed, "
          f"{counts['survived']} survived; {counts['equal']} had the original's object code, {counts['invalid']} did not "
          f"build")


if __name__ == "__main__":
    main()
