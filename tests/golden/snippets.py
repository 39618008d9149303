# SPDX-License-Identifier: Apache-2.0
"""The code blocks of docs/audit.md, so that what the scripts execute is what the reader sees."""
import os
import re

DOC = os.path.join(os.path.dirname(__file__), "../../docs/audit.md")


def snippet(heading):
    """The first python block below the heading that starts so."""
    text = open(DOC).read()
    start = text.index(f"### {heading}")
    return re.search(r"```python\n(.*?)```", text[start:], re.S).group(1)
