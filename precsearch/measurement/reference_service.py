"""What a worker process does before there is an engine: it runs the original model.

Calibration and screening are imported when they are asked for: most workers only time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from precsearch.core.backend import Feed
from precsearch.measurement.place import Place
from precsearch.reference.session import reference_outputs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from precsearch.calibration.bias_shift import ShiftRequest
    from precsearch.calibration.channels import ChannelRequest, ChannelStatistics
    from precsearch.calibration.range_choice import ChosenRange, RangeRequest
    from precsearch.calibration.ranges import Calibration
    from precsearch.hazards.collect import Screening
    from precsearch.hazards.statistics import ScreenStatistics
    from precsearch.lowering.qdq.scales import TensorRange

__all__ = ["Announce", "ReferenceService", "open_reference_service"]

Announce = Callable[[str], None]
"""Is told the name of each stage as it begins."""


class ReferenceService:
    """Runs the original model: reference outputs, calibration and screening.

    Args:
        place: Where the model and its external weights are on this host.
        announce: Is told the name of each stage as it begins.
    """

    def __init__(self, place: Place, announce: Announce) -> None:
        self._place = place
        self._announce = announce

    def outputs(self, model: bytes | None, feeds: Sequence[Feed]) -> tuple[Feed, ...]:
        """See `precsearch.reference.session.reference_outputs`.

        Args:
            model: Serialized; ``None`` is the original file of the service's place.
            feeds: Samples.
        """
        self._announce("reference")
        given = self._place.model if model is None else model
        return reference_outputs(given, feeds, self._place.weights)

    def ranges(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, TensorRange]:
        """See `precsearch.calibration.ranges.collect_ranges`."""
        from precsearch.calibration.ranges import collect_ranges

        self._announce("calibrate")
        return collect_ranges(replace(calibration, model_folder=self._place.weights), feeds)

    def ranges_by_method(
        self, calibration: Calibration, feeds: Sequence[Feed], methods: Sequence[str]
    ) -> dict[str, dict[str, TensorRange]]:
        """See `precsearch.calibration.ranges.ranges_by_method`."""
        from precsearch.calibration.ranges import ranges_by_method

        self._announce("calibrate")
        here = replace(calibration, model_folder=self._place.weights)
        return ranges_by_method(here, feeds, methods)

    def channels(
        self, request: ChannelRequest, feeds: Sequence[Feed]
    ) -> dict[tuple[str, int], ChannelStatistics]:
        """See `precsearch.calibration.channels.collect_channels`."""
        from precsearch.calibration.channels import collect_channels

        self._announce("calibrate")
        return collect_channels(replace(request, model_folder=self._place.weights), feeds)

    def best_ranges(self, request: RangeRequest, feeds: Sequence[Feed]) -> dict[str, ChosenRange]:
        """See `precsearch.calibration.range_choice.choose_ranges`."""
        from precsearch.calibration.range_choice import choose_ranges

        self._announce("calibrate")
        here = replace(request.calibration, model_folder=self._place.weights)
        return choose_ranges(replace(request, calibration=here), feeds)

    def shifts(
        self, request: ShiftRequest, feeds: Sequence[Feed]
    ) -> dict[str, npt.NDArray[np.float16]]:
        """See `precsearch.calibration.bias_shift.collect_shifts`."""
        from precsearch.calibration.bias_shift import collect_shifts

        self._announce("calibrate")
        return collect_shifts(replace(request, model_folder=self._place.weights), feeds)

    def oddities(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, str]:
        """See `precsearch.hazards.oddities.oddities`."""
        from precsearch.hazards.oddities import oddities

        self._announce("calibrate")
        return oddities(replace(calibration, model_folder=self._place.weights), feeds)

    def screen(self, screening: Screening, feeds: Sequence[Feed]) -> ScreenStatistics:
        """See `precsearch.hazards.collect.screen`."""
        from precsearch.hazards.collect import screen

        self._announce("screen")
        return screen(replace(screening, model_folder=self._place.weights), feeds)


def open_reference_service(place: Place, announce: Announce) -> ReferenceService:
    """What a worker serves before there is an engine."""
    return ReferenceService(place, announce)
