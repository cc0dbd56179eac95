"""Deprecated, for one release: use `precsearch.plan.schema`."""

from precsearch.plan.schema import described, event_schema, event_tables, plan_schema

__all__ = ["described", "event_schema", "event_tables", "plan_schema"]
