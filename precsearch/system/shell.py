"""Commands as a user can copy them into a shell."""

from __future__ import annotations

import os
import shlex

__all__ = ["argument", "command"]


def command(*words: str) -> str:
    """``precsearch`` with these words, each quoted."""
    return " ".join(["precsearch", *map(_quoted, words)])


def argument(path: str | os.PathLike[str]) -> str:
    """A path as a word of a command line that is not taken for an option."""
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text


def _quoted(word: str) -> str:
    """Quoted for a POSIX shell; what cannot be printed is written as bash and zsh read it."""
    if word.isprintable():
        return shlex.quote(word)
    parts = [
        c if c.isprintable() and c not in "\\'" else "".join(f"\\x{b:02x}" for b in _bytes(c))
        for c in word
    ]
    return f"$'{''.join(parts)}'"


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "surrogateescape")
