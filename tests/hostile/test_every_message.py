"""Every message that precsearch raises on purpose, listed once in ``every_message.txt``.

The list is read like prose in a review; whoever changes or adds a message sees it change there:
``python tests/hostile/test_every_message.py`` writes it anew. `test_messages` shows which
situation says which of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from precsearch.core import errors

ROOT = Path(__file__).parents[2] / "precsearch"
LIST = Path(__file__).with_name("every_message.txt")
NAMES = frozenset(errors.__all__)


def spoken(node: ast.expr) -> str:
    """A message with what is filled in as ``{…}``; "" where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (spoken(v) if isinstance(v, ast.Constant) else "{…}" for v in node.values)
        return "".join(parts)
    return ""


def messages() -> Iterator[tuple[str, str]]:
    """File and ``Error: message`` for every error that is constructed with a literal message."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                said = spoken(node.args[0])
                own_words = re.search("[a-z]", said.replace("{…}", ""))  # or it passes another on
                if node.func.id in NAMES and own_words:
                    yield path.as_posix(), f"{node.func.id}: {' '.join(said.split())}"


def listed() -> str:
    return "\n".join(sorted({line for _, line in messages()})) + "\n"


def test_every_message_is_listed_once() -> None:
    assert LIST.read_text(encoding="utf-8") == listed()


def test_every_message_is_a_sentence_and_no_template_is_left_open() -> None:
    for line in listed().splitlines():
        _, _, said = line.partition(": ")
        assert len(said.split()) >= 3, line
        assert not said.endswith("."), line
        assert "Traceback" not in said, line


if __name__ == "__main__":
    LIST.write_text(listed(), encoding="utf-8")
