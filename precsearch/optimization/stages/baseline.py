"""The gate: the FP32 engine against the reference, in each way that a backend computes FP32.

On GPUs FP32 means TF32 unless told otherwise, which rounds the factors of a product to 11 bits. An
engine that misses the bound for that alone is no reason not to search: it is tried again in
strict FP32. Which of them a search is relative to is recorded, and said wherever a speed is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from precsearch.core.backend import Fingerprint, Fp32Mode, fp32_words
from precsearch.core.errors import InputError
from precsearch.core.events import Event, StageStarted
from precsearch.core.mismatch import sentences
from precsearch.core.trial import Measurement
from precsearch.executors.client import MeasurementClient
from precsearch.measurement.service import MeasurementConfig
from precsearch.optimization.ending import unmet
from precsearch.optimization.stages.prepare import baseline_errors
from precsearch.plan.plan import Fp32Evidence
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target

__all__ = ["BaselineResult", "BaselineStage", "differs", "named", "refused", "told"]


@dataclass(frozen=True)
class BaselineResult:
    """The FP32 engine of a run.

    Attributes:
        fingerprint: Versions and device.
        measurement: Of the engine.
        target: With the build options that it was built with.
        setup: What the worker's measurement service continues with.
        passed: Whether it is within the bound.
        modes: Every FP32 engine that was measured, the one of the run last; empty where the backend
            has one way alone.
    """

    fingerprint: Fingerprint
    measurement: Measurement
    target: Target
    setup: MeasurementConfig
    passed: bool
    modes: tuple[Fp32Evidence, ...] = ()

    @property
    def mode(self) -> str:
        """How FP32 is computed, "" where the backend has one way alone."""
        return self.modes[-1].mode if self.modes else ""


@dataclass(frozen=True)
class BaselineStage:
    """What there is to measure.

    Attributes:
        config: What the user asked for.
        target: Model and backend.
        inputs: Its data.
        setup: What the worker's measurement service was started with.
        admits: Whether an engine is within the bound.
        known: The mode of the run that is resumed, "" if there is none.
        before: Device and runtime that the run that is resumed was measured on, "" where they are
            not known.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    setup: MeasurementConfig
    admits: Callable[[Measurement], bool]
    known: str = ""
    before: tuple[str, str] = ("", "")

    def on(self, worker: MeasurementClient) -> Generator[Event, None, BaselineResult]:
        """Measure the FP32 engine, and a stricter one where the first misses the bound.

        Raises:
            ModelError: The model's own FP32 engine fails on this backend.
            InputError: The run that is resumed was measured on another device or runtime.
        """
        yield StageStarted("baseline", "the FP32 engine against the reference")
        with baseline_errors():
            fingerprint, modes = worker.fingerprint(), worker.fp32_modes()
        now = fingerprint.device, fingerprint.runtime
        if differs(self.before, now):
            raise InputError(_ANOTHER.format(before=named(self.before), now=named(now)))
        if not modes:
            return self._measured(worker, fingerprint, self.target, self.setup)
        tried: tuple[Fp32Evidence, ...] = ()
        for mode in self._in_turn(modes):
            target, setup = _computing(self.target, mode), self.setup
            if mode is not modes[0]:
                yield StageStarted("baseline", f"the same in {fp32_words(mode.name)}")
                options = replace(setup.options, build=target.options.build)
                setup = replace(setup, options=options)
                worker.restart(setup)
            result = self._measured(worker, fingerprint, target, setup)
            tried = (*(replace(e, baseline=False) for e in tried), _evidence(mode, result))
            result = replace(result, modes=tried)
            if result.passed:
                break
        return result

    def _in_turn(self, modes: tuple[Fp32Mode, ...]) -> tuple[Fp32Mode, ...]:
        """The modes to try: what the user or the run so far has settled, else the stricter too."""
        first = modes[0]
        if self.known:
            return tuple(m for m in modes if m.name == self.known) or (first,)
        settled = {name for mode in modes for name in mode.build} & set(self.config.build_options)
        if settled:
            return (first,)
        stricter = (m for m in modes[1:] if m.significand_bits > first.significand_bits)
        return (first, *sorted(stricter, key=lambda m: m.significand_bits))

    def _measured(
        self,
        worker: MeasurementClient,
        fingerprint: Fingerprint,
        target: Target,
        setup: MeasurementConfig,
    ) -> BaselineResult:
        with baseline_errors():
            if not setup.noise:
                setup = replace(setup, noise=worker.calibrate_noise())
                # What was built for this is kept: an FP32 engine can take minutes.
                worker.remember(setup)
            measurement = worker.measure_baseline(setup.baseline)
        return BaselineResult(fingerprint, measurement, target, setup, self.admits(measurement))


_ANOTHER = (
    "the run cannot be resumed: it was measured on {before}, this is {now}, and latencies of the "
    "two do not compare; resume it there, or start afresh with --force"
)


def differs(before: tuple[str, str], now: tuple[str, str]) -> bool:
    """Whether device or runtime are known to differ; what a journal does not tell, "", does not."""
    return any(one and one != other for one, other in zip(before, now, strict=True))


def named(place: tuple[str, str]) -> str:
    """A device and its runtime, as far as they are known."""
    return ", ".join(filter(None, place))


def _computing(target: Target, mode: Fp32Mode) -> Target:
    """The target with a mode among its build options, so that a plan does not hang on a default."""
    build = {**target.options.build, **mode.build}
    return replace(target, options=replace(target.options, build=build))


def _evidence(mode: Fp32Mode, result: BaselineResult) -> Fp32Evidence:
    measurement = result.measurement
    seconds = measurement.latency.seconds if measurement.latency is not None else 0.0
    return Fp32Evidence(mode.name, measurement.accuracy.loss, seconds, result.passed, baseline=True)


def told(result: BaselineResult, config: OptimizeConfig, inputs: Inputs) -> tuple[str, ...]:
    """What the user should know of an FP32 engine that is within the bound, sentences."""
    left = [e for e in result.modes if not e.baseline]
    return tuple(
        f"FP32 is {fp32_words(result.mode)} here: {fp32_words(e.mode)} is off by "
        f"{inputs.metric.display(e.loss):.3g} ({config.metric}), the bound is {config.tol:g}"
        for e in left
    )


def refused(result: BaselineResult, config: OptimizeConfig, inputs: Inputs) -> OptimizeResult:
    """The result of a run whose FP32 engine misses the bound, with all that is known of why."""
    found = unmet(config, inputs.metric, result.measurement)
    accuracy = result.measurement.accuracy
    lines = [f"{s[:1].upper()}{s[1:]}." for s in sentences(accuracy.mismatches)]
    if accuracy.shapes:
        lines.append(f"The loss is that at {accuracy.shapes}, the largest of all --shapes.")
    if len(result.modes) > 1:
        rows = (
            f"{inputs.metric.display(e.loss):.3g} in {fp32_words(e.mode)}" for e in result.modes
        )
        lines.append(f"It was tried in each way to compute FP32 here: off by {', '.join(rows)}.")
    return replace(found, summary=(*found.summary, *lines))
