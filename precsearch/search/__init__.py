"""The loop of a search, and the journal that it is resumed from."""

from precsearch.search.loop import search

__all__ = ["search"]
