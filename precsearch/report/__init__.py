"""One self-contained page about a run, or about how two plans differ."""

from precsearch.report.comparison_page import difference_page
from precsearch.report.difference import Difference, compare, difference_lines
from precsearch.report.page import run_page
from precsearch.report.run_record import Story, is_run, tell

__all__ = [
    "Difference",
    "Story",
    "compare",
    "difference_lines",
    "difference_page",
    "is_run",
    "run_page",
    "tell",
]
