"""What people ask of several bounds, several engines and earlier runs: one situation each."""

from __future__ import annotations

from pathlib import Path

from precsearch.cli.options.control import bounds
from precsearch.optimization.across.run import across_events
from precsearch.optimization.across.table_file import ENGINES
from precsearch.optimization.warm import warm_start
from precsearch.report import tell
from precsearch.setup.bounds import per_bound
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.tolerances import Tolerances
from tests.hostile.situations.world import journal_bytes
from tests.hostile.spoken_data import Say

__all__ = ["SEARCHES"]


def other_run(folder: Path) -> object:
    """Measurements of a run with other options."""
    run = folder / "run"
    run.mkdir()
    (run / "journal.jsonl").write_bytes(journal_bytes(folder))
    return warm_start([run], {"model": "another"}, None)  # type: ignore[arg-type]  # read before


def twice(folder: Path) -> object:
    config = OptimizeConfig(folder / "model.onnx", backend="onnxruntime,onnxruntime")
    return next(across_events(config))


def engines(text: str) -> Say:
    """The table of a search on several engines, damaged."""

    def say(folder: Path) -> object:
        run = folder / "several"
        run.mkdir(exist_ok=True)
        (run / ENGINES).write_text(text)
        return tell([run])

    return say


SEARCHES: list[Say] = [
    engines("{"),
    engines('{"rows":[],"shipped":"x"}'),
    lambda _: Tolerances.parse("1e-2,wide"),
    lambda _: Tolerances.parse("1e-2,0.01"),
    lambda _: bounds([0.01, 0.02], ["rel-l2", "cosine", "top1"]),
    lambda _: per_bound(OptimizeConfig(Path("m.onnx")), bounds([0.01], ["cosine", "cosine"])),
    twice,
    other_run,
]
