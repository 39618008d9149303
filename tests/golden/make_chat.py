#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders conversations with chat templates as transformers does: make_chat.py > tests/golden/chat.json, the golden file of
the unit test, from the templates in chat/. Needs transformers. compare_templates.py looks at many more.
"""
import json
import pathlib
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

S, U, A = "system", "user", "assistant"
CONVERSATIONS = [
    [(U, "What is 2+2?")],
    [(S, "Be brief."), (U, "What is 2+2?")],
    [(S, ""), (U, "")],
    [(U, "Hello"), (A, "Hi there"), (U, "Who are you?")],
    [(S, "Du bist höflich. 😀"), (U, "Grüße"), (A, "Hallo\n"), (U, "noch\n\neins ")],
    [(U, "  \n padded \t\u00a0\u3000"), (A, " \x1c\x85 answer \u2003"), (U, "\n\nx\n")],
    [(U, "it's \"quoted\" \\n {{ not jinja }} {% nor %} this <|im_end|>")],
    [(U, "a"), (A, "<think>\nlong thought\n</think>\n\nanswer"), (U, "b")],
    [(U, "a"), (A, "<think>\nlong thought\n</think>\n\nanswer")],
    [(U, "a"), (A, "answer without thought")],
    [(U, "a"), (A, "x</think>y<think>z</think>\n\nw")],
    [(U, "a"), (A, "<think>\n\n</think>\n\nempty"), (A, "again"), (A, "<think>t</think>u")],
    [(U, "a"), (U, "b")],
    [(A, "I begin"), (U, "b")],
    [(S, "one"), (S, "two"), (U, "a")],
    [(U, "a"), (S, "late"), (U, "b")],
    [(S, "alone")],
]


def render(template: str, conversation) -> str | None:
    messages = [{"role": role, "content": content} for role, content in conversation]
    try:
        # date_string as the fallback of the template: transformers would give it the day's date. Thinking is on by default
        # in the models' own templates, but not in every edited copy.
        return _compile_jinja_template(template).render(messages=messages, add_generation_prompt=True, bos_token="",
                                                        eos_token="", date_string="26 Jul 2024",
                                                        enable_thinking=True)
    except Exception:  # raise_exception of the template, and whatever a foreign template runs into
        return None


def as_json(conversation) -> list[dict]:
    return [{"role": role, "content": content} for role, content in conversation]


def golden() -> None:
    templates = []
    for path in sorted((pathlib.Path(__file__).parent / "chat").glob("*.jinja")):
        source = path.read_text().removesuffix("\n")
        templates.append({"name": path.stem, "template": source, "prompts": [render(source, c) for c in CONVERSATIONS]})
    json.dump({"conversations": [as_json(c) for c in CONVERSATIONS], "templates": templates}, sys.stdout, indent=1,
              ensure_ascii=False)
    print()


if __name__ == "__main__":
    golden()
