"""One self-contained page about a run, or about how two plans differ."""

from precsearch.report.page import run_page
from precsearch.report.story import Story, is_run, tell

__all__ = ["Story", "is_run", "run_page", "tell"]
