"""What a run asks of a device, typed: `ReferenceClient` and `MeasurementClient`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType

import numpy as np
import numpy.typing as npt

from precsearch.calibration.bias_shift import ShiftRequest
from precsearch.calibration.channels import ChannelRequest, ChannelStatistics
from precsearch.calibration.range_choice import ChosenRange, RangeRequest
from precsearch.calibration.ranges import Calibration
from precsearch.core.backend import Feed, Fingerprint, Fp32Mode
from precsearch.core.device import DeviceSpec
from precsearch.core.errors import (
    EngineError,
    OutOfMemory,
    WorkerCrashed,
    WorkerKilled,
    WorkerMissing,
    WorkerTimeout,
)
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement
from precsearch.emulation.multiplexed import ProxyRequest
from precsearch.executors.protocol import Channel
from precsearch.hazards.collect import Screening
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.lowering.qdq.scales import TensorRange
from precsearch.measurement.artifact_store import Artifact
from precsearch.measurement.build_service import Engine
from precsearch.measurement.open import open_service
from precsearch.measurement.reference_service import ReferenceService
from precsearch.measurement.service import (
    Candidate,
    MeasurementConfig,
    MeasurementService,
    ReferenceSplit,
    Rival,
)

__all__ = ["MeasurementClient", "ReferenceClient"]

_STARTS = 3
"""How often a service that died is started again for one trial."""


class ReferenceClient:
    """Runs the original model in a worker: reference outputs, calibration and screening.

    Every method raises `ModelError` if ONNX Runtime refuses the model, and `WorkerError` if the
    worker crashed or hung on it.

    Args:
        channel: To the service.
    """

    def __init__(self, channel: Channel[ReferenceService]) -> None:
        self._channel = channel

    @property
    def device(self) -> DeviceSpec:
        """What the service runs on."""
        return self._channel.device

    def outputs(self, feeds: Sequence[Feed], model: bytes | None = None) -> tuple[Feed, ...]:
        """See `ReferenceService.outputs`."""
        return self._channel.call(ReferenceService.outputs, model, feeds)

    def ranges(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, TensorRange]:
        """See `precsearch.calibration.ranges.collect_ranges`."""
        return self._channel.call(ReferenceService.ranges, _anywhere(calibration), feeds)

    def ranges_by_method(
        self, calibration: Calibration, feeds: Sequence[Feed], methods: Sequence[str]
    ) -> dict[str, dict[str, TensorRange]]:
        """See `precsearch.calibration.ranges.ranges_by_method`."""
        here = _anywhere(calibration)
        return self._channel.call(ReferenceService.ranges_by_method, here, feeds, methods)

    def channels(
        self, request: ChannelRequest, feeds: Sequence[Feed]
    ) -> dict[tuple[str, int], ChannelStatistics]:
        """See `precsearch.calibration.channels.collect_channels`."""
        here = replace(request, model_folder="")
        return self._channel.call(ReferenceService.channels, here, feeds)

    def best_ranges(self, request: RangeRequest, feeds: Sequence[Feed]) -> dict[str, ChosenRange]:
        """See `precsearch.calibration.range_choice.choose_ranges`."""
        here = replace(request, calibration=_anywhere(request.calibration))
        return self._channel.call(ReferenceService.best_ranges, here, feeds)

    def shifts(
        self, request: ShiftRequest, feeds: Sequence[Feed]
    ) -> dict[str, npt.NDArray[np.float16]]:
        """See `precsearch.calibration.bias_shift.collect_shifts`."""
        here = replace(request, model_folder="")
        return self._channel.call(ReferenceService.shifts, here, feeds)

    def oddities(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, str]:
        """See `precsearch.hazards.oddities.oddities`."""
        return self._channel.call(ReferenceService.oddities, _anywhere(calibration), feeds)

    def screen(self, screening: Screening, feeds: Sequence[Feed]) -> ScreenStatistics:
        """See `precsearch.hazards.collect.screen`."""
        here = replace(screening, model_folder="")
        return self._channel.call(ReferenceService.screen, here, feeds)

    def measuring(self, config: MeasurementConfig) -> MeasurementClient:
        """Measure with the same process from now on; the next call constructs the service."""
        return MeasurementClient(self._channel.become(open_service, config))

    def prepare(self) -> None:
        """Start the service unless it runs.

        Raises:
            PrecsearchError: See `Channel.call`.
        """
        self._channel.prepare()

    def stop(self) -> None:
        """See `Channel.stop`."""
        self._channel.stop()

    def close(self) -> None:
        """See `Channel.close`."""
        self._channel.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __enter__(self) -> ReferenceClient:
        return self


class MeasurementClient(ReferenceClient):
    """Measures engines in a worker on one device.

    Every method raises `EngineError` if an engine fails, and `WorkerError` if the worker died or
    hung on it, unless it says otherwise.

    Args:
        channel: To the service.
    """

    def __init__(self, channel: Channel[MeasurementService]) -> None:
        super().__init__(channel)
        self._service = channel

    def __enter__(self) -> MeasurementClient:
        return self

    @property
    def ready(self) -> bool:
        """See `Channel.ready`."""
        return self._service.ready

    def revive(self, holding: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Start the service again if it died, with its FP32 engine open.

        What killed it was the trial before, and the next trial is not to fail for it.

        Args:
            holding: What is held while the process starts, which uses the CPU of this machine.

        Raises:
            WorkerMissing: It does not start.
            WorkerError: `stop` was called.
        """
        last: Exception | None = None
        for _ in range(_STARTS):
            if self._service.ready:
                return
            try:
                with holding():
                    self._service.prepare()
                self._service.once(MeasurementService.warm_up)
            except (EngineError, OutOfMemory, WorkerCrashed, WorkerKilled, WorkerTimeout) as error:
                last = error
            else:
                return
        raise WorkerMissing(
            f"the worker of device {self.device.name} does not start again: {last}"
        ) from last

    def adopt(self, config: MeasurementConfig) -> None:
        """See `MeasurementService.adopt`; a worker that replaces this one starts with it, too."""
        self._service.call(MeasurementService.adopt, config)
        self.remember(config)

    def remember(self, config: MeasurementConfig) -> None:
        """Start with another config should the worker die; go on with this one."""
        self._service.remember(config)

    def restart(self, config: MeasurementConfig) -> None:
        """Construct the service anew with another config, at the next call."""
        self._service.serve(config)

    def fingerprint(self) -> Fingerprint:
        """See `MeasurementService.fingerprint`."""
        return self._service.call(MeasurementService.fingerprint)

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """See `MeasurementService.fp32_modes`."""
        return self._service.call(MeasurementService.fp32_modes)

    def calibrate_noise(self) -> float:
        """See `MeasurementService.calibrate_noise`."""
        return self._service.call(MeasurementService.calibrate_noise)

    def fp32_latency(self) -> Latency:
        """See `MeasurementService.fp32_latency`."""
        return self._service.call(MeasurementService.fp32_latency)

    def measure(
        self,
        candidate: Candidate,
        fidelity: Fidelity,
        rival: Rival | None = None,
        scored: Accuracy | None = None,
    ) -> Measurement:
        """See `MeasurementService.measure`. It is not asked again if the worker is killed."""
        return self._service.once(MeasurementService.measure, candidate, fidelity, rival, scored)

    def measure_baseline(self, baseline: Candidate) -> Measurement:
        """See `MeasurementService.measure`, for the FP32 engine, before any trial."""
        return self._service.call(MeasurementService.measure, baseline, Fidelity.ENGINE)

    def check(self, candidate: Candidate) -> Measurement:
        """See `MeasurementService.check`. It is not asked again if the worker is killed."""
        return self._service.once(MeasurementService.check, candidate)

    def probe(self, request: ProxyRequest, losses: Sequence[float] = ()) -> Measurement:
        """See `MeasurementService.probe`. It is not asked again if the worker is killed."""
        return self._service.once(MeasurementService.probe, request, losses)

    def confirm(self, candidates: Sequence[Candidate], rebuilds: int) -> list[tuple[Latency, ...]]:
        """See `MeasurementService.confirm`."""
        return self._service.call(MeasurementService.confirm, candidates, rebuilds)

    def memory(self, candidate: Candidate) -> int:
        """See `MeasurementService.memory`."""
        return self._service.call(MeasurementService.memory, candidate)

    def score(self, candidate: Candidate, part: ReferenceSplit) -> Accuracy:
        """See `MeasurementService.score`."""
        return self._service.call(MeasurementService.score, candidate, part)

    def engine(self, candidate: Candidate) -> Engine:
        """See `MeasurementService.engine`."""
        return self._service.call(MeasurementService.engine, candidate)

    def hold(self, tactics: Mapping[str, str]) -> None:
        """See `MeasurementService.hold`; it outlives the worker."""
        self._service.settle(MeasurementService.hold, tactics)

    def artifact(self, candidate: Candidate) -> Artifact:
        """See `MeasurementService.artifact`."""
        return self._service.call(MeasurementService.artifact, candidate)

    def keep(self, candidate: Candidate, artifact: Artifact) -> None:
        """See `MeasurementService.keep`; it outlives the worker."""
        self._service.settle(MeasurementService.keep, candidate, artifact)

    def receive(self, candidate: Candidate, artifact: Artifact) -> None:
        """See `MeasurementService.receive`."""
        self._service.call(MeasurementService.receive, candidate, artifact)

    def pin(self, digests: Sequence[str]) -> None:
        """See `MeasurementService.pin`."""
        self._service.call(MeasurementService.pin, digests)


def _anywhere(calibration: Calibration) -> Calibration:
    """Without the folder of this machine: the service knows its own."""
    return replace(calibration, model_folder="")
