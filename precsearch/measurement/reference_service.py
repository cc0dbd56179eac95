"""What a worker process does before there is an engine: it runs the original model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from precsearch.calibration.channels import ChannelRequest, ChannelStatistics, collect_channels
from precsearch.calibration.range_choice import ChosenRange, RangeRequest, choose_ranges
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import Feed
from precsearch.hazards.collect import Screening, screen
from precsearch.hazards.oddities import oddities
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.lowering.scales import TensorRange
from precsearch.reference.session import reference_outputs

__all__ = ["Announce", "ReferenceBench"]

Announce = Callable[[str], None]
"""Is told the name of each stage as it begins."""


class ReferenceBench:
    """Runs the original model: reference outputs and calibration."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce

    def outputs(self, model: bytes | str, feeds: Sequence[Feed], folder: str) -> tuple[Feed, ...]:
        """See `precsearch.reference.session.reference_outputs`."""
        self._announce("reference")
        return reference_outputs(model, feeds, folder)

    def ranges(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, TensorRange]:
        """See `precsearch.calibration.ranges.collect_ranges`."""
        self._announce("calibrate")
        return collect_ranges(calibration, feeds)

    def channels(
        self, request: ChannelRequest, feeds: Sequence[Feed]
    ) -> dict[tuple[str, int], ChannelStatistics]:
        """See `precsearch.calibration.channels.collect_channels`."""
        self._announce("calibrate")
        return collect_channels(request, feeds)

    def best_ranges(self, request: RangeRequest, feeds: Sequence[Feed]) -> dict[str, ChosenRange]:
        """See `precsearch.calibration.range_choice.choose_ranges`."""
        self._announce("calibrate")
        return choose_ranges(request, feeds)

    def oddities(self, calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, str]:
        """See `precsearch.hazards.oddities.oddities`."""
        self._announce("calibrate")
        return oddities(calibration, feeds)

    def screen(self, screening: Screening, feeds: Sequence[Feed]) -> ScreenStatistics:
        """See `precsearch.hazards.collect.screen`."""
        self._announce("screen")
        return screen(screening, feeds)
