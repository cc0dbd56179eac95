"""Starts a worker process that holds a measurement service."""

from __future__ import annotations

from precsearch.executors.process import Worker
from precsearch.measurement.service import open_bench

__all__ = ["bench_worker"]


def bench_worker(limit_s: float = 3600.0) -> Worker:
    """A worker for reference outputs and calibration; `Worker.restart_with` a setup to measure."""
    return Worker(open_bench, (None,), limit_s=limit_s)
