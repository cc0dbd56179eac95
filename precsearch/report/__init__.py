"""Self-contained pages: on a run, on several beside each other, and on how two plans differ."""

from precsearch.report.comparison_page import difference_page
from precsearch.report.difference import Difference, compare, difference_lines
from precsearch.report.page import run_page
from precsearch.report.run_record import Story, is_run, tell
from precsearch.report.side_by_side.members import Member, members, other_groups
from precsearch.report.side_by_side.page import runs_page
from precsearch.report.side_by_side.sentences import sentences

__all__ = [
    "Difference",
    "Member",
    "Story",
    "compare",
    "difference_lines",
    "difference_page",
    "is_run",
    "members",
    "other_groups",
    "run_page",
    "runs_page",
    "sentences",
    "tell",
]
