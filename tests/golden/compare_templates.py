#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `opsm render` against jinja2 as transformers runs it, over the chat templates that Python packages ship.

compare_templates.py OPSM [--package FILE ...] [--show N] [--only WORD ...]

Templates: every *.jinja in the installed trl and transformers, and in each --package: a wheel or an sdist (that of
llama-cpp-python holds llama.cpp's models/templates). --only keeps those whose name holds one of the words. Every template
gets every conversation; a case is equal when both write the same bytes or both refuse. Exit code 1: not all are equal.
Needs jinja2 and transformers.
"""
import argparse
import datetime
import importlib.util
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import transformers.utils.chat_template_utils as theirs

BOS, EOS = "<BOS>", "<EOS>"
NOW = datetime.datetime(2024, 7, 26)


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, arguments, number="123456789"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city.\nIn degrees.",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Its name, like \"Zürich\""},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "options": {"type": "object", "properties": {"wind": {"type": "boolean"}, "items": {"type": "number"}}}}}}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
S, U = turn("system", "Be brief."), turn("user", "What is 2+2?")
CALL = turn("assistant", "", tool_calls=[call("get_weather", {"city": "Zürich", "days": [1, 2], "options": {"wind": True}})])
RESULT = turn("tool", "{\"degrees\": 21.5}", tool_call_id="123456789", name="get_weather")
END = turn("assistant", "It is 21.5 degrees.")

CONVERSATIONS = {
    "user": [U],
    "system": [S, U],
    "several turns": [U, turn("assistant", "4"), turn("user", "And 3+3?"), turn("assistant", "6"), turn("user", "Thanks")],
    "system, turns": [S, U, turn("assistant", "4"), turn("user", "Why?")],
    "ends with assistant": [S, U, turn("assistant", "4")],
    "padded": [turn("system", " \n padded \u00a0"), turn("user", "\n\nx\t\n"), turn("assistant", "  y  "), turn("user", " z")],
    "unicode": [turn("system", "Réponds 😀"), turn("user", "Grüße 世界 \u200b ﬁ"), turn("assistant", "Ça va İ"), turn("user", "ẞ")],
    "quotes": [turn("user", "it's \"quoted\" \\n {{ not }} {% nor %} <|im_end|> </s> [INST] & <b>")],
    "empty": [turn("system", ""), turn("user", "")],
    "null content": [U, turn("assistant", None), turn("user", "b")],
    "null call": [U, turn("assistant", None, tool_calls=[call("now", {})]), RESULT],
    "no content": [U, {"role": "assistant", "tool_calls": [call("now", {})]}, RESULT],
    "think in text": [U, turn("assistant", "<think>\nlong thought\n</think>\n\nanswer"), turn("user", "b")],
    "think at end": [U, turn("assistant", "<think>\nthought\n</think>\n\nanswer")],
    "reasoning": [U, turn("assistant", "4", reasoning_content="Two and two."), turn("user", "b"),
                  turn("assistant", "5", reasoning_content="More.")],
    "thinking": [S, U, turn("assistant", "4", thinking="Two and two."), turn("user", "b")],
    "call": [U, CALL], "call, result": [S, U, CALL, RESULT], "call, result, answer": [U, CALL, RESULT, END, turn("user", "And?")],
    "call with text": [U, turn("assistant", "I look.", tool_calls=[call("get_weather", {"city": "Rom"})]), RESULT, END],
    "call as string": [U, turn("assistant", "", tool_calls=[call("get_weather", "{\"city\": \"Rom\", \"n\": 1}")]), RESULT],
    "two calls": [U, turn("assistant", "", tool_calls=[call("now", {}, "abcdefghi"), call("get_weather", {"city": "Rom", "unit": None,
                  "x": 1.5}, "bbbbbbbbb")]), turn("tool", "12:00", tool_call_id="abcdefghi", name="now"), RESULT, END],
    "call, reasoning": [U, {**CALL, "reasoning_content": "I must look."}, RESULT],
    "result of lists": [U, CALL, turn("tool", [{"type": "text", "text": "21"}, {"type": "text", "text": "°C"}],
                        tool_call_id="123456789", name="get_weather")],
    "parts": [turn("system", [{"type": "text", "text": "Be brief."}]), turn("user", [{"type": "text", "text": "a"},
              {"type": "text", "text": "b"}]), turn("assistant", [{"type": "text", "text": "c"}]), turn("user", "d")],
    "image": [turn("user", [{"type": "image"}, {"type": "text", "text": "What is this?"}])],
    "developer": [turn("developer", "Be brief."), U],
    "two users": [turn("user", "a"), turn("user", "b")], "assistant first": [turn("assistant", "I begin"), U],
    "late system": [U, turn("system", "late"), turn("user", "b")], "system alone": [S],
    "odd role": [turn("ipython", "x"), turn("user", "b")], "nothing": [],
}


def cases():
    for name, messages in CONVERSATIONS.items():
        calls = any("tool_calls" in m for m in messages)
        for tools in ([None, TOOLS] if calls or name in ("user", "system", "several turns") else [None]):
            for prompt in (True, False) if tools is None else (True,):
                yield name, messages, tools, prompt, {}
    for thinking in (True, False):
        for name in ("user", "think in text", "reasoning", "call, reasoning", "several turns"):
            yield name, CONVERSATIONS[name], TOOLS, True, {"enable_thinking": thinking, "thinking": thinking}
    yield "args", [S, U], TOOLS, True, {"builtin_tools": ["code_interpreter", "brave_search"], "date_string": "1 Jan 2025",
                                        "reasoning_effort": "high", "tools_in_user_message": False, "documents_": None}


def packaged(paths):
    for package in ("trl", "transformers"):
        spec = importlib.util.find_spec(package)
        for path in sorted(pathlib.Path(spec.origin).parent.rglob("*.jinja")) if spec and spec.origin else []:
            yield f"{package}/{path.name}", path.read_text()
    for path in paths:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                for name in sorted(n for n in wheel.namelist() if n.endswith(".jinja")):
                    yield f"{path.name.split('-')[0]}/{pathlib.Path(name).name}", wheel.read(name).decode()
        else:
            with tarfile.open(path) as sdist:
                for member in sorted((m for m in sdist if m.name.endswith(".jinja")), key=lambda m: m.name):
                    name = f"{path.name.split('-')[0]}/{pathlib.Path(member.name).name}"
                    yield name, sdist.extractfile(member).read().decode()


def render_theirs(template, case):
    _, messages, tools, prompt, args = case
    try:
        return template.render(messages=messages, tools=tools, documents=None, add_generation_prompt=prompt, bos_token=BOS,
                               eos_token=EOS, **args).encode()
    except Exception:  # raise_exception, and whatever jinja2 or Python say
        return None


def render_ours(opsm, path, case):
    _, messages, tools, prompt, args = case
    conversation = {"messages": messages, "tools": tools, "add_generation_prompt": prompt, "args": args}
    run = subprocess.run([opsm, "render", "--template", path, "--bos", BOS, "--eos", EOS], input=json.dumps(conversation).encode(),
                         capture_output=True)
    if run.returncode not in (0, 1, 2):
        raise SystemExit(f"opsm render ended with {run.returncode} on {path}: {run.stderr.decode()}")
    return (run.stdout if run.returncode == 0 else None), run.stderr.decode().strip()


def compare(opsm, name, source, show):
    try:
        template = theirs._compile_jinja_template(source)
    except Exception:
        template = None
    all_cases, bad, refused = list(cases()), [], 0
    with tempfile.NamedTemporaryFile("wb", suffix=".jinja") as file:
        file.write(source.encode())
        file.flush()
        with ThreadPoolExecutor(2) as pool:
            mine = list(pool.map(lambda case: render_ours(opsm, file.name, case), all_cases))
    for case, (ours, sentence) in zip(all_cases, mine):
        expected = render_theirs(template, case) if template else None
        refused += expected is None
        if ours != expected:
            bad.append((case, ours, expected, sentence))
    print(f"{name:70} {len(all_cases) - len(bad):4} / {len(all_cases)}   {refused:3} refused by jinja2")
    for case, ours, expected, sentence in bad[:show]:
        print(f"    {case[0]}, tools {case[2] is not None}, prompt {case[3]}, {case[4]}\n      ours   {ours!r} {sentence}\n"
              f"      theirs {expected!r}")
    return len(all_cases), len(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("opsm")
    parser.add_argument("--package", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--show", type=int, default=0, help="cases of each template to print where they differ")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    theirs.datetime = Fixed
    total = wrong = templates = whole = 0
    for name, source in packaged(options.package):
        if options.only and not any(word in name for word in options.only):
            continue
        n, bad = compare(options.opsm, name, source, options.show)
        total, wrong, templates, whole = total + n, wrong + bad, templates + 1, whole + (bad == 0)
    print(f"\n{whole} of {templates} templates equal in every case; {total - wrong} of {total} cases")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
