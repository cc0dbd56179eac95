"""Results on stdout: facts, sentences and lines, the same way in every command."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from precsearch.cli.cells import UNICODE, Glyphs, clean

__all__ = ["Page"]

_LABEL = 9


@dataclass(frozen=True, slots=True)
class Page:
    """Where results are written.

    Attributes:
        width: Sentences are wrapped to it; paths and commands never are.
        glyphs: Symbols.
    """

    width: int = 80
    glyphs: Glyphs = UNICODE

    def place(self, label: str, path: Path) -> Text:
        """A label and a path, on one line whatever the width, so that it can be copied."""
        return Text.assemble((f"  {label:<{_LABEL - 1}} ", "dim"), clean(str(path)))

    def facts(self, rows: Iterable[tuple[str, str]]) -> list[Text]:
        """A label and a value each; long values go on under themselves."""
        lines = []
        for label, value in rows:
            head = f"  {label:<{_LABEL - 1}} "
            for number, part in enumerate(self._wrap(value, len(head)) or [""]):
                first = (head, "dim") if number == 0 else (" " * len(head), "")
                lines.append(Text.assemble(first, part))
        return lines

    def sentence(self, sentence: str, mark: str, style: str = "") -> list[Text]:
        """A blank line, then a sentence under a mark."""
        parts = self._wrap(sentence, len(mark)) or [""]
        heads = [mark, *[" " * len(mark)] * (len(parts) - 1)]
        return [Text(), *[Text(f"{h}{p}", style=style) for h, p in zip(heads, parts, strict=True)]]

    def _wrap(self, text: str, indent: int) -> list[str]:
        width = max(self.width - indent, 20)
        return textwrap.wrap(clean(text), width, break_long_words=False, break_on_hyphens=False)

    def write(self, console: Console, lines: Iterable[Text]) -> None:
        """Print ``lines`` as they are: not wrapped again, not cut."""
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False)
