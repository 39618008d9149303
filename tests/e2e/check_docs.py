#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_docs.py OPSM SCRATCH: does everything that the documents show still work?

README.md, CONTRIBUTING.md and docs/*.md are read. Every command that they show, in a code block or as `opsm NAME ...` in a
sentence, is executed in SCRATCH, in their order: as it stands, or as docs_commands.txt shortens it, unless that names a
reason not to. YAML blocks are run as configurations, Python blocks are compiled. Links, paths, targets of make, keys of
the configuration and helps that sentences mention must exist. Whatever is not understood fails, and so does an entry of
docs_commands.txt that no document shows any more.
"""
import ast
import glob
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = pathlib.Path(__file__).with_name("docs_commands.txt")
LIMIT = 100  # seconds per command
PROGRAMS = {"opsm", "make", "cmake", "ctest", "cc", "man", "git", "pip", "python", "python3", "perf", "for"}
COMMAND = re.compile(r"(\$ )?([A-Z_]+=\S+ )*((build|scripts|tests|bench|\.)/\S+|(%s)(?= |$))" % "|".join(PROGRAMS))
failures = []


def fail(where, what):
    failures.append(f"{where}: {what}")
    print(failures[-1], flush=True)


# ---- reading documents ----------------------------------------------------------------------------------------------


class Shown:
    """Something that a document shows: kind is shell, yaml, python, word (in a sentence) or link."""

    def __init__(self, kind, document, line, text):
        self.kind, self.where, self.text = kind, f"{document}:{line}", text
        self.key = " ".join(text.split())


def blocks(document, lines):
    """(language, first line, lines) of every code block, and the rest of the document as ("text", 1, lines)."""
    rest, at = list(lines), 0
    while at < len(lines):
        fence = re.match(r"(\s*)```(\w*)", lines[at])
        begin = at + 1 if fence else at
        if fence:
            end = next((i for i in range(begin, len(lines)) if lines[i].strip() == "```"), None)
            if end is None:
                fail(f"{document}:{at + 1}", "a code block that never ends")
                break
            yield fence[2] or "plain", begin + 1, [line[len(fence[1]) :] for line in lines[begin:end]]
            rest[at : end + 1] = [""] * (end + 1 - at)
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            yield "plain", at + 1, [line[4:] for line in lines[at:end]]
            rest[at:end] = [""] * (end - at)
            at = end
        else:
            at += 1
    yield "text", 1, rest


def without_comment(line):
    quote = ""
    for i, c in enumerate(line):
        if quote or c in "'\"":
            quote = "" if c == quote else quote or c
        elif c == "#" and (i == 0 or line[i - 1] == " "):
            return line[:i].rstrip()
    return line.rstrip()


def commands(document, first, lines):
    """The commands of a block, loops and continued lines in one; None where the block is no shell."""
    if not lines or not COMMAND.match(next((line for line in lines if without_comment(line)), "")):
        return None
    found, begun, open_loops = [], "", 0
    for number, line in enumerate(lines, first):
        line = without_comment(line)
        if not line:
            continue
        if not begun and not COMMAND.match(line):
            fail(f"{document}:{number}", f"is this a command? '{line}'")
            continue
        start = number if not begun else start
        begun += ("\n" if begun else "") + re.sub(r"^\$ ", "", line)
        open_loops += len(re.findall(r"^\s*for ", line)) - len(re.findall(r"^\s*done\b", line))
        if line.endswith("\\") or open_loops:
            continue
        found.append(Shown("shell", document, start, begun.replace("\\\n", " ")))
        begun = ""
    if begun:
        fail(f"{document}:{first}", f"a command that never ends: '{begun}'")
    return found


def read_document(document, subcommands):
    lines = (ROOT / document).read_text().split("\n")
    n_yaml = 0
    for language, first, block in blocks(document, lines):
        if language == "text":
            text = "\n".join(block)
            for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", text):
                yield Shown("word", document, text.count("\n", 0, match.start()) + 1, match[1])
            for match in re.finditer(r"\]\(([^)\s]+)\)", text):
                yield Shown("link", document, text.count("\n", 0, match.start()) + 1, match[1])
        elif language == "yaml":
            n_yaml += 1
            shown = Shown("yaml", document, first, "\n".join(block))
            shown.key = f"yaml {n_yaml} of {document}"
            yield shown
        elif language == "python":
            yield Shown("python", document, first, "\n".join(block))
        elif language in ("plain", "sh", "bash", "shell", "console"):
            found = commands(document, first, block)
            if found is not None:
                yield from found
            for number, line in enumerate(block, first):
                if found is None and re.search(r"\bopsm (%s)\b" % "|".join(subcommands), line):
                    fail(f"{document}:{number}", f"a command among what is none: '{line}'")


# ---- the table ------------------------------------------------------------------------------------------------------


class Entry:
    def __init__(self, line):
        self.line, self.added, self.replaced, self.reason, self.used = line, "", [], "", False

    def replace(self, where, text):
        for old, new in self.replaced:
            if old not in text:
                fail(f"{TABLE.name}:{self.line}", f"'{old}' does not occur in the command of {where}")
            text = text.replace(old, new)
        return text


def read_table():
    """What to do first, and an Entry for each command that is not run as it stands."""
    before, entries, entry = [], {}, None
    for number, line in enumerate(TABLE.read_text().split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("! "):
            before.append((number, line[2:]))
        elif not line.startswith(" "):
            entry = entries[" ".join(line.split())] = Entry(number)
        elif line.split()[0] == "+":
            entry.added = line.split(None, 1)[1]
        elif line.split()[0] == "-":
            entry.reason = (entry.reason + " " + line.split(None, 1)[1]).strip()
        elif " => " in line:
            entry.replaced.append(line.strip().split(" => ", 1))
        else:
            fail(f"{TABLE.name}:{number}", f"expected '+ words', '- reason' or 'old => new', found '{line.strip()}'")
    return before, entries


# ---- running --------------------------------------------------------------------------------------------------------


class Runner:
    def __init__(self, opsm, scratch):
        self.directory = pathlib.Path(scratch) / "tree"
        self.done, self.slowest = {}, []
        (self.directory / "bin").mkdir(parents=True)
        (self.directory / "models").mkdir()
        (self.directory / "bin" / "opsm").symlink_to(opsm)
        (self.directory / "build").symlink_to(pathlib.Path(opsm).parent)
        for name in "CMakeLists.txt bench cmake docs examples include packaging scripts src tests".split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.directory / name)  # no link: what a command writes must not reach the sources
        shutil.copy(ROOT / "models/tiny.gguf", self.directory / "models")
        self.environment = dict(os.environ, OMP_WAIT_POLICY="passive", HOME=str(scratch))
        self.environment["PATH"] = f"{self.directory / 'bin'}:{os.environ['PATH']}"

    def run(self, where, text):
        if text in self.done:
            return
        start = time.monotonic()
        process = subprocess.Popen(["bash", "-eo", "pipefail", "-c", text], cwd=self.directory, env=self.environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            output, code = process.communicate(timeout=LIMIT)[0].decode(errors="replace"), process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.wait()
            code, output = f"nothing in {LIMIT} s", ""
        self.done[text] = code
        self.slowest.append((time.monotonic() - start, text))
        if code == 0 and re.search(r"^Failed: ", output, re.M):
            code = "a laboratory with arms that failed"
        if code != 0:
            fail(where, f"'{text}' gave {code}:\n{textwrap.indent(output[-2000:], '    ')}")


def run_shown(runner, entries, shown):
    entry = entries.get(shown.key)
    if entry:
        entry.used = True
    if entry and entry.reason:
        place = re.match(r"in (\S+)$", entry.reason)
        if place and shown.key not in (ROOT / place[1]).read_text():
            fail(f"{TABLE.name}:{entry.line}", f"{place[1]} does not run '{shown.key}'")
        return
    text = entry.replace(shown.where, shown.text) if entry else shown.text
    if shown.kind == "yaml":
        path = pathlib.Path(shown.where.split(":")[0]).stem + f"-{shown.key.split()[1]}.yaml"
        (runner.directory / path).write_text(text + "\n")
        text = f"opsm {'lab' if re.search('^lab:', text, re.M) else 'train'} {path}"
    runner.run(shown.where, f"{text} {entry.added}" if entry and entry.added else text)


# ---- what sentences mention -----------------------------------------------------------------------------------------


def help_of(runner, name=""):
    result = subprocess.run([str(runner.directory / "bin" / "opsm"), "help", *name.split()], capture_output=True, text=True)
    return result.stdout if result.returncode == 0 else ""


def check_link(shown):
    document = ROOT / shown.where.split(":")[0]
    path, _, anchor = shown.text.partition("#")
    if re.match(r"[a-z]+:", path):
        return
    target = document.parent / path if path else document
    if not target.exists():
        fail(shown.where, f"a link to '{path}', which is not there")
    elif anchor:
        titles = [re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
                  for line in target.read_text().split("\n") if line.startswith("#")]
        if anchor not in titles:
            fail(shown.where, f"a link to '#{anchor}', but there is no such title")


PATH = re.compile(r"(src|tests|docs|examples|scripts|bench|include|models|cmake|packaging|\.ci)/[\w./*-]*$")
KEY = re.compile(r"(?!.*\.(?:gguf|html|jsonl?|yaml)$)([a-z_]+(\.[a-z0-9_]+)+)(\s*[=:].*)?$", re.S)


def check_make(shown, targets):
    make = re.match(r"make ([a-z0-9-]+)( [A-Z]+=\S+)*$", shown.key)
    if make and make[1] not in targets:
        fail(shown.where, f"'{shown.key}', but the Makefile has no such target")


def check_word(shown, keys):
    text = " ".join(shown.text.split())
    path, key = PATH.match(text), KEY.match(text)
    if path and not re.search(r"[A-Z]{3,}", re.sub(r"[A-Z]+\.md", "", text)) and not glob.glob(str(ROOT / text)):
        fail(shown.where, f"the path '{text}' is not there")
    elif key and key[1].split(".")[0] in {k.split(".")[0] for k in keys if "." in k}:
        if not any(k == key[1] or k.startswith(key[1] + ".") for k in keys):
            fail(shown.where, f"the key '{key[1]}' is not in `opsm help config`")


# ---- all of it ------------------------------------------------------------------------------------------------------


def config_keys(runner):
    """Keys of `opsm help config`; those of the objective also without that word in front."""
    keys = set(re.findall(r"^([a-z][\w.]*) \(", help_of(runner, "config"), re.M))
    keys |= {"lab." + word for word in re.findall(r"^  lab\.(\w+)", help_of(runner, "lab"), re.M)}
    return keys | {key.removeprefix("objective.") for key in keys}


def main():
    start = time.monotonic()
    runner = Runner(os.path.abspath(sys.argv[1]), sys.argv[2])
    subcommands = re.findall(r"^  (\w+)", help_of(runner).split("Topics:")[0], re.M)
    keys, targets = config_keys(runner), re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M)
    if len(subcommands) < 5 or len(keys) < 50 or len(targets) < 5:
        fail("opsm help", f"cannot be read: {len(subcommands)} commands, {len(keys)} keys, {len(targets)} targets")
    before, entries = read_table()
    for number, text in before:
        runner.run(f"{TABLE.name}:{number}", text)
    documents = ["README.md", "CONTRIBUTING.md"] + sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))
    full = re.compile(r"(build/)?opsm (-q )?(%s) \S" % "|".join(subcommands))
    for document in documents:
        for shown in read_document(document, subcommands):
            check_make(shown, targets)
            if shown.kind in ("shell", "yaml"):
                run_shown(runner, entries, shown)
            elif shown.kind == "python":
                try:
                    ast.parse(textwrap.dedent(shown.text))
                except SyntaxError as error:
                    fail(shown.where, f"a block of Python that is none: {error}")
            elif shown.kind == "link":
                check_link(shown)
            elif full.match(shown.key) or (COMMAND.match(shown.key) and re.match(r"\S+/\S+ \S|[A-Z_]+=\S+ \S|python3? ", shown.key)):
                run_shown(runner, entries, shown)
            elif re.match(r"(build/)?opsm [a-z]+$", shown.key) and shown.key.split()[1] not in subcommands:
                fail(shown.where, f"'{shown.key}', but there is no such command")
            else:
                check_word(shown, keys)
    for key, entry in entries.items():
        if not entry.used:
            fail(f"{TABLE.name}:{entry.line}", f"no document shows '{key}' any more: take it out")
    for seconds, text in sorted(runner.slowest, reverse=True)[:5]:
        print(f"{seconds:6.1f} s  {text.splitlines()[0][:100]}")
    skipped = sum(bool(entry.reason) for entry in entries.values())
    print(f"documents: {len(documents)} read, {len(runner.done)} commands run, {skipped} left out with a reason, "
          f"{len(failures)} failures, {time.monotonic() - start:.0f} s")
    sys.exit(bool(failures))


main()
