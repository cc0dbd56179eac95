"""The journal of a run: its events as JSON lines, and the memo that makes resuming a re-run.

A line is written with one system call and a finished trial is on disk before the next one begins,
so a kill at any moment loses nothing that was finished; the line that it tears is cut off again.
"""

from precsearch.search.journal.memo import Memo
from precsearch.search.journal.reading import NAME, read, read_from
from precsearch.search.journal.writing import Journal, in_use

__all__ = ["NAME", "Journal", "Memo", "in_use", "read", "read_from"]
