"""What a model takes in FP32, group by group, and the run beside it that measured it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.core.errors import InputError
from precsearch.setup.config import OptimizeConfig

if TYPE_CHECKING:
    from precsearch.core.trial import Latency
    from precsearch.setup.target import Target

__all__ = ["Fp32Time", "found_beside"]


@dataclass(frozen=True)
class Fp32Time:
    """Time of one inference of the FP32 engine, and how groups share it.

    Attributes:
        latency: Of the engine, not profiled.
        profiles: Seconds by group key, "" for what no group owns, once for each profile that was
            made; each sums up to the latency.
        noise: Relative difference between two timings of one engine that means nothing.
        source: The run directory that it comes from; "" if it was timed now.
        device: Where it was timed.
    """

    latency: Latency
    profiles: tuple[Mapping[str, float], ...]
    noise: float
    source: str
    device: str

    @property
    def samples(self) -> int:
        """Samples in one inference."""
        return self.latency.by_shape[0].samples if self.latency.by_shape else 1

    @property
    def groups(self) -> Mapping[str, float]:
        """Seconds by group key, the mean over the profiles."""
        keys = dict.fromkeys(key for profile in self.profiles for key in profile)
        count = len(self.profiles)
        return {key: sum(p.get(key, 0.0) for p in self.profiles) / count for key in keys}

    def share(self, keys: Collection[str]) -> tuple[float, float, float]:
        """Share of the time that these groups take: the mean, the lowest, the highest profile's."""
        shares = [
            sum(s for key, s in profile.items() if key in keys) / sum(profile.values())
            for profile in self.profiles
        ]
        return sum(shares) / len(shares), min(shares), max(shares)


def found_beside(target: Target) -> Fp32Time | None:
    """The time from a run of this model, beside the model or in the working directory.

    Returns:
        ``None`` where there is no such run, or it is of another model, backend or grouping.
    """
    name = OptimizeConfig(target.source.path).run_path.name
    for folder in dict.fromkeys((Path(name), target.source.path.parent / name)):
        if os.path.isdir(folder):  # noqa: PTH112 - this one never raises
            from precsearch.optimization.preview.fp32_sources import from_run  # late: large

            with suppress(InputError):
                return from_run(target, folder)
    return None
