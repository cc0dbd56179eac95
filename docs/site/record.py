"""Records what a command shows on a terminal, as an asciicast (version 2) that docs/ plays.

    python docs/site/record.py 80x24 docs/cast/live.cast precsearch optimize model.onnx …

Pauses of more than two seconds are played as two seconds.
"""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import struct
import sys
import termios
import time
from pathlib import Path

_LONGEST_S = 2.0


def record(columns: int, rows: int, command: list[str]) -> list[str]:
    """The lines of a cast: a header, then what was written and when."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    header = {"version": 2, "width": columns, "height": rows, "title": "precsearch optimize"}
    lines, played, before = [json.dumps(header)], 0.0, time.monotonic()
    text = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so when the command has ended
            data = b""
        if not data:
            os.waitpid(pid, 0)
            return lines
        now = time.monotonic()
        played += min(now - before, _LONGEST_S)
        before = now
        lines.append(json.dumps([round(played, 3), "o", text.decode(data)]))


def _main() -> None:
    size, target, *command = sys.argv[1:]
    columns, rows = map(int, size.split("x"))
    Path(target).write_text("\n".join(record(columns, rows, command)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
