"""``python -m precsearch``: the command, where it is not on the path."""

from __future__ import annotations

from precsearch.cli.start import main

if __name__ == "__main__":
    main()
