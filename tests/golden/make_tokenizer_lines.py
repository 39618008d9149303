#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes varied text for comparing tokenizers: records "<bytes>\\n<text>\\n", the same ones on every machine.

Usage: make_tokenizer_lines.py [-n LINES] [--invalid LINES] [--seed S] > lines
"""
import argparse
import random
import sys
import unicodedata

# Unicode 3.2 is fixed for ever in Python: "any character" must not depend on the interpreter.
ASSIGNED = [c for c in range(0x30000) if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs")]

SCRIPTS = {
    "latin": (0x61, 0x7A), "latin accents": (0xC0, 0x24F), "greek": (0x391, 0x3C9), "cyrillic": (0x410, 0x44F),
    "armenian": (0x561, 0x586), "hebrew": (0x5D0, 0x5EA), "arabic": (0x620, 0x64A), "devanagari": (0x905, 0x94D),
    "bengali": (0x985, 0x9CD), "tamil": (0xB85, 0xBCD), "thai": (0xE01, 0xE4E), "tibetan": (0xF40, 0xF84),
    "georgian": (0x10D0, 0x10FA), "hangul jamo": (0x1100, 0x1175), "ethiopic": (0x1200, 0x1248), "khmer": (0x1780, 0x17D2),
    "cherokee": (0x13A0, 0x13F4), "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA), "han": (0x4E00, 0x9FA5),
    "hangul": (0xAC00, 0xD7A3), "fullwidth": (0xFF01, 0xFF5E), "gothic": (0x10330, 0x1034A), "math": (0x1D400, 0x1D454),
    "han b": (0x20000, 0x2A6D6), "adlam": (0x1E900, 0x1E943),
}
WORDS = ("the of and to in a is that for it was on are as with his they at be this from have or one had by word but not "
         "what all were we when your can said there use an each which she do how their if will up other about out many "
         "then them these so some her would make like him into time has look two more write go see number no way could "
         "people my than first water been call who oil its now find long down day did get come made may part").split()
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'LL", "'D", "'x", "''s", "’s", "'"]
SPACES = [" ", "  ", "\t", "\n", "\r", "\r\n", "\n\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029",
          "\u202f", "\u205f", "\u3000", "\u180e", "\u200b", "\ufeff", "\x1c", "\x1f"]
NUMBERS = ["0", "7", "12", "123", "1234", "12345", "1234567890", "3.14", "1,000,000", "1e-5", "0x1F", "½", "²", "Ⅳ", "٣", "三", "१२३",
           "①", "𝟘", "〇"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "☃", "🧑🏿‍🚀", "1️⃣", "🫠", "👩‍❤️‍💋‍👨", "✔︎"]
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; i++) {\n\tsum += a[i];\n}\n", "#include <stdio.h>\r\n",
        "if (a && !b || c == d) { /* ... */ }", "SELECT * FROM t WHERE id >= 10;", "<div class=\"x\">&nbsp;</div>",
        "let s = `${a}\\n`;", "x = {'a': [1, 2, 3], \"b\": None}", "\\frac{1}{2}\\sum_{i=0}^{n} x_i^2", "grep -rn 'foo' | wc -l",
        "https://example.org/a?b=c&d=%20#e", "C:\\Users\\x\\file.txt", "a->b.c[d]--", "::std::vector<T>()", "@decorator", "$PATH"]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~…—–“”„«»¿¡§©®™€£¥°±×÷"
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start|", "<|", "|>", "<repo_name>", "<file_sep>", "<file_sep"]


def script_word(r: random.Random) -> str:
    low, high = r.choice(list(SCRIPTS.values()))
    return "".join(chr(r.randint(low, high)) for _ in range(r.randint(1, 9)))


def latin_word(r: random.Random) -> str:
    word = r.choice(WORDS)
    return r.choice([word, word, word, word.capitalize(), word.upper()])


def combining(r: random.Random) -> str:
    return "".join(r.choice("aeiounAEIOU") + "".join(chr(r.randint(0x300, 0x36F)) for _ in range(r.randint(0, 3)))
                   for _ in range(r.randint(1, 4)))


PARTS = [
    (30, latin_word),
    (12, script_word),
    (8, lambda r: r.choice(CONTRACTIONS)),
    (8, lambda r: r.choice(NUMBERS)),
    (4, lambda r: str(r.randint(0, 10 ** r.randint(1, 12)))),
    (5, lambda r: r.choice(EMOJI)),
    (4, combining),
    (6, lambda r: r.choice(CODE)),
    (8, lambda r: "".join(r.choice(PUNCTUATION) for _ in range(r.randint(1, 4)))),
    (3, lambda r: r.choice(PUNCTUATION) * r.randint(1, 40)),
    (4, lambda r: chr(r.choice(ASSIGNED))),
    (2, lambda r: "".join(chr(r.randint(0, 0x1F)) for _ in range(r.randint(1, 3)))),
    (2, lambda r: chr(r.randint(0x7F, 0x9F))),
    (2, lambda r: chr(r.choice([0xE000, 0xF8FF, 0xFFFE, 0xFFFF, 0xFFFD, 0x1FFFE, 0xF0000, 0x10FFFF]))),
    (2, lambda r: r.choice(SPECIAL)),
    (1, lambda r: r.choice(["a", "ab", "=", "0", "é", "漢", " ", "\n", "\t"]) * r.randint(2, 200)),
]
GAPS = [(60, lambda r: " "), (12, lambda r: ""), (6, lambda r: " " * r.randint(2, 20)), (4, lambda r: "\n" * r.randint(1, 4)),
        (3, lambda r: "\t" * r.randint(1, 3)), (9, lambda r: "".join(r.choice(SPACES) for _ in range(r.randint(1, 4))))]


def pick(r: random.Random, table):
    return r.choices([f for _, f in table], [w for w, _ in table])[0](r)


def line(r: random.Random) -> str:
    text = "" if r.random() < 0.7 else pick(r, GAPS)
    for _ in range(r.randint(1, 16)):
        text += pick(r, PARTS) + pick(r, GAPS)
    return text


def too_large(data: bytes) -> bool:
    """Does a four-byte form above U+10FFFF occur? llama.cpp throws an exception on it."""
    for i in range(len(data) - 3):
        if 0xF0 <= data[i] <= 0xF7 and all(0x80 <= b < 0xC0 for b in data[i + 1:i + 4]):
            if data[i] > 0xF4 or (data[i] == 0xF4 and data[i + 1] >= 0x90):
                return True
    return False


def damaged(r: random.Random) -> bytes:
    data = bytearray(line(r).encode())
    for _ in range(r.randint(1, 6)):
        at = r.randint(0, len(data))
        kind = r.randint(0, 5)
        if kind == 0:
            data[at:at] = bytes(r.randint(0x80, 0xFF) for _ in range(r.randint(1, 4)))
        elif kind == 1 and data:
            del data[r.randrange(len(data))]
        elif kind == 2:
            data[at:at] = r.choice([b"\xc0\x80", b"\xc1\x81", b"\xe0\x80\xaf", b"\xf0\x80\x80\x80", b"\xe0\x81\x81"])
        elif kind == 3:
            data[at:at] = r.choice([b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80"])
        elif kind == 4:
            data = data[:at] + r.choice([b"\xe4\xbd", b"\xf0\x9f\x98", b"\xc3", b"\xff", b"\xfe\xff"])
        elif data:
            data[r.randrange(len(data))] = r.randint(0, 255)
    return bytes(data)


def make_lines(count: int, invalid: int, seed: int) -> list[bytes]:
    r = random.Random(seed)
    lines = [line(r).encode() for _ in range(count)]
    while len(lines) < count + invalid:
        data = damaged(r)
        if not too_large(data):
            lines.append(data)
    return lines


def write_records(lines: list[bytes], out) -> None:
    for data in lines:
        out.write(b"%d\n%s\n" % (len(data), data))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=12000)
    parser.add_argument("--invalid", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write_records(make_lines(options.n, options.invalid, options.seed), sys.stdout.buffer)
