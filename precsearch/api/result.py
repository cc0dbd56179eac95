"""What a search found, for Python and for notebooks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from precsearch.api.html import plane, result_html
from precsearch.core.errors import OptionError
from precsearch.formatting import Scale, loss_bound, speedup, speedup_interval
from precsearch.plan.plan import Plan
from precsearch.replay.materialize import BuildReport, build, materialize
from precsearch.replay.verify import VerifyReport, verify
from precsearch.report import run_page, tell
from precsearch.report.run_facts import Facts
from precsearch.report.trial_facts import TrialFact
from precsearch.setup.files import check_free, write_output

if TYPE_CHECKING:
    import altair
    import pandas

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """The fastest engine within the tolerance, and all that was measured on the way.

    In a notebook it shows itself as a table with the trials drawn beside it.

    Attributes:
        plan: What to build, and the evidence; also on disk.
        plan_path: Where.
        run_path: The run directory, with the journal.
        model_path: The original model; one that was given in memory is in the run directory.
        artifact_path: Where the optimized model was written, ``None`` if that was not asked for.
        summary: What a person should know, a sentence each.
        metric: The metric as ``--metric`` takes it; a function's has its file.
    """

    plan: Plan
    plan_path: Path
    run_path: Path
    model_path: Path
    artifact_path: Path | None = None
    summary: tuple[str, ...] = ()
    metric: str = field(default="rel-l2", repr=False)

    @property
    def speedup(self) -> float:
        """FP32's latency over the engine's: 2 is twice as fast."""
        return 1 / self.plan.evidence.latency.ratio

    @property
    def loss(self) -> float:
        """On the samples of the search, in the metric's own terms, lower is better."""
        return self.plan.evidence.accuracy.loss

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the run, a sentence each."""
        return self.plan.evidence.warnings

    @cached_property
    def facts(self) -> Facts:
        """The run and its plan, as a report tells them.

        Raises:
            InputError: The run directory is gone, and so are the trials' assignments.
        """
        return Facts(tell((self.run_path, self.plan_path)))

    @property
    def trials(self) -> tuple[TrialFact, ...]:
        """Every trial: engines and proxies, in the order in which they ended."""
        return self.facts.trials

    @property
    def front(self) -> tuple[TrialFact, ...]:
        """The engines that no other beats in both loss and latency, the fastest first."""
        return tuple(sorted((t for t in self.trials if t.front), key=lambda t: t.ratio or 0.0))

    def to_frame(self) -> pandas.DataFrame:
        """The trials as a table of pandas, a row each.

        Raises:
            OptionError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise OptionError(
                "a table of the trials needs pandas; run: pip install pandas"
            ) from error
        rows = [
            {k: v for k, v in asdict(t).items() if k not in ("counts", "precisions")}
            | dict(t.counts)
            for t in self.trials
        ]
        return pandas.DataFrame(rows)

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The optimized model; of TensorRT, what its engine is built from.

        Raises:
            ReplayError: The original model is another one now.
        """
        materialized = materialize(self.plan, self.model_path, None)
        proto: onnx.ModelProto = onnx.ModelProto.FromString(materialized.lowered.model)
        return proto

    def save(self, path: str | PathLike[str], *, force: bool = False) -> BuildReport:
        """Write the optimized model, or for TensorRT the engine, as `precsearch.build` does."""
        return build(self.plan_path, self.model_path, Path(path), force=force)

    def verify(self, data: str | Path | None = None, *, tol: float | None = None) -> VerifyReport:
        """Measure the plan again on this machine, as `precsearch.verify` does."""
        named = self.metric if ":" in self.metric else None
        return verify(self.plan_path, self.model_path, data, tol=tol, metric=named)

    def save_report(self, path: str | PathLike[str], *, force: bool = False) -> Path:
        """Write the page of `precsearch report`.

        Returns:
            Where it is.

        Raises:
            OptionError: The package that draws is not installed.
            OutputError: It cannot be written.
        """
        target = Path(path)
        check_free([target], force=force, inputs=[self.plan_path])
        write_output(target, run_page(self.facts.story), force=force)
        return target

    def __repr__(self) -> str:
        criteria, latency = self.plan.criteria, self.plan.evidence.latency
        scale = Scale(criteria.metric)
        interval = speedup_interval(latency.ratio_low, latency.ratio_high)
        bound = scale.bound(loss_bound(criteria.metric, criteria.tolerance))
        return (
            f"<Result: {speedup(latency.ratio)} {self.plan.evidence.fp32_words}'s speed "
            f"({interval}), off by {scale(self.loss)} within {bound}>"
        )

    def chart(self) -> altair.Chart:
        """Every engine by latency and loss, to be changed and combined as any chart of Altair.

        Raises:
            OptionError: Altair is not installed, or no engine was timed.
        """
        try:
            import altair
        except ImportError as error:
            raise OptionError("a chart needs Altair; run: pip install altair") from error
        chart = plane(self.facts)
        if chart is None:
            raise OptionError("no engine was timed, so there is nothing to draw")
        return altair.Chart.from_dict(chart[0])

    def _repr_html_(self) -> str | None:
        """A table with a picture; ``None``, for which notebooks show the text, without Jinja."""
        try:
            return result_html(self.facts, self.plan, self.summary)
        except OptionError:
            return None
