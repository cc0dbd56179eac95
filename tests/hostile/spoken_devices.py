"""Devices, workers and strategy options: one situation for each message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from precsearch.api import OptimizeConfig
from precsearch.cli.options.parse import parse_strategy_options
from precsearch.core.backend import BackendFacts, Fingerprint
from precsearch.core.options import constructed
from precsearch.executors.client import MeasurementClient
from precsearch.executors.fleet import _check_kind
from precsearch.registry import strategy
from precsearch.setup.devices import devices_of
from tests.executors.here import Here
from tests.hostile.spoken_data import Say

__all__ = ["DEVICES"]


def on(devices: str, threads: int = 0, kind: str = "cpu") -> Say:
    """A run on these devices."""
    config = OptimizeConfig(Path("model.onnx"), devices=devices, threads=threads)
    return lambda _: devices_of(config, BackendFacts(device=kind))


def with_options(**options: str) -> Say:
    return lambda _: strategy("auto", options)


def gone(_: Path) -> object:
    """A worker whose process dies at each start."""
    channel: Here[object] = Here(devices_of(OptimizeConfig(Path("m")), BackendFacts())[0], list, ())
    channel.deaths = ["warm_up"] * 3
    channel._make = lambda *_: object()
    return MeasurementClient(channel).revive()  # type: ignore[arg-type, func-returns-value]


@dataclass(frozen=True)
class Odd:
    """Options of a plug-in."""

    table: Mapping[str, int] = field(default_factory=dict)
    count: int = 1

    def __post_init__(self) -> None:
        if self.count > 1:
            raise ValueError("one is enough")


def unequal(_: Path) -> object:
    """A second device that is none like the first."""
    here = Fingerprint("fake", {"numpy": "2"}, "a CPU")
    return _check_kind(here, replace(here, device="another CPU"), "cpu:0", "cpu:1")  # type: ignore[func-returns-value]


DEVICES: list[Say] = [
    lambda _: OptimizeConfig(Path("model.onnx"), devices="0,1", target="ssh://jetson"),
    lambda _: OptimizeConfig(Path("model.onnx"), devices="0,1", ray="10.0.0.1:6379"),
    unequal,
    lambda _: constructed(Odd, {"table": "{}"}, "the strategy 'odd'"),
    lambda _: constructed(Odd, {"count": "2"}, "the strategy 'odd'"),
    on("one"),
    on("0-3", kind="gpu"),
    on("1,0,1", kind="gpu"),
    on("0,0"),
    on("0,4095"),
    on("0,0+1"),
    on("0,1+2"),
    on("0", threads=2),
    with_options(patience="long"),
    with_options(patience="1.5"),
    with_options(margins="x"),
    with_options(speed="1"),
    lambda _: strategy("uniform", {"builds": "x"}),
    lambda _: strategy("tpe", {"screen": "maybe"}),
    lambda _: parse_strategy_options(["patience"]),
    lambda _: parse_strategy_options(["a=1", "a=2"]),
    gone,
]
