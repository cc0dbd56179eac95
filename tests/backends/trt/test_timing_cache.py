"""Tactics are read from an editable timing cache and put back into one, where a version has it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from precsearch.backends.tensorrt.building.builder import EngineBuilder
from precsearch.backends.tensorrt.capabilities import probe
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.backend import TYPED_HALF, WEAK
from tests.backends.trt.simulation.test_simulated_build import flags_of, lowered
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.simulated import Simulated
from tests.backends.trt.stand_in.surface import VERSIONS

EDITABLE, PLAIN = VERSIONS[3:], VERSIONS[:3]
NONE = 2**64 - 1


class Key:
    """A ``TimingCacheKey``: its text is what a plan may hold."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class Chooser:
    """Chooses another tactic for a layer in every cache, unless the cache has one.

    Attributes:
        used: Key → tactic of the last engine.
        builds: How many there were.
        refused: A tactic that no engine builds with.
        declined: One that the cache does not take.
    """

    def __init__(self, made: Simulated, first: int) -> None:
        self.made, self.numbers = made, count(first)
        self.used: dict[str, int] = {}
        self.builds, self.refused, self.declined = 0, NONE, NONE
        self.built = made.behaviour["Builder.build_serialized_network"]
        made.behaviour |= {
            "IBuilderConfig.create_timing_cache": lambda _, data: self.cache(),
            "IBuilderConfig.set_timing_cache": self.attached,
            "Builder.build_serialized_network": self.build,
            "ITimingCache.queryKeys": lambda cache: [Key(k) for k in cache.__dict__["entries"]],
            "ITimingCache.query": lambda cache, key: cache.__dict__["entries"][str(key)],
            "ITimingCache.update": self.update,
            "TimingCacheValue.__init__": lambda value, tactic, ms: value.__dict__.update(
                _tacticHash=tactic, _timingMSec=ms
            ),
        }

    def cache(self) -> Any:
        made = self.made.make("ITimingCache")
        made.__dict__["entries"] = {}
        return made

    def attached(self, config: Any, cache: Any, ignore_mismatch: bool) -> bool:
        config.__dict__["cache"] = cache
        return True

    def update(self, cache: Any, key: Any, value: Any) -> bool:
        taken = str(key) in cache.__dict__["entries"] and value.tacticHash != self.declined
        if taken:
            cache.__dict__["entries"][str(key)] = value
        return taken

    def build(self, builder: Any, network: Any, config: Any) -> Any:
        self.builds += 1
        entries = config.__dict__["cache"].__dict__["entries"]
        for layer in network.layers:
            if f"0x{layer.name}" not in entries:
                value = self.made.make("TimingCacheValue")
                value.__dict__.update(_tacticHash=next(self.numbers), _timingMSec=0.5)
                entries[f"0x{layer.name}"] = value
        self.used = {key: value.tacticHash for key, value in entries.items()}
        failed = self.refused in self.used.values()
        return None if failed else self.built(builder, network, config)


def started(version: str, first: int, **knobs: str) -> tuple[EngineBuilder, Chooser, bool]:
    made = tensorrt(version)
    chooser = Chooser(made, first)
    trt, lines = made.module, Lines()
    caps = probe(trt)
    logger, weak = make_logger(trt, lines), not caps.typed
    return (
        EngineBuilder(trt, caps, TensorRtOptions.of(knobs), logger, lines, weak=weak),
        chooser,
        weak,
    )


def model(folder: Path, weak: bool) -> bytes:
    return lowered(folder, WEAK if weak else TYPED_HALF, second="int8", dense="fp16")


@pytest.mark.parametrize("version", EDITABLE)
def test_a_later_build_takes_the_tactics_of_the_first(version: str, tmp_path: Path) -> None:
    first, chosen, weak = started(version, 1)
    first.build(model(tmp_path, weak), "", ())
    wanted = first.tactics()
    assert wanted == {key: f"{tactic:#018x}" for key, tactic in chosen.used.items()}
    assert "EDITABLE_TIMING_CACHE" in flags_of(chosen.made)

    other, alone, _ = started(version, 1000)
    other.build(model(tmp_path, weak), "", ())
    assert alone.builds == 1
    assert not set(other.tactics().values()) & set(wanted.values())

    again, held, _ = started(version, 1000)
    again.hold(wanted)
    assert again.build(model(tmp_path, weak), "", ()).engine
    assert held.builds == 2, "once to know the keys, once with their tactics"
    assert held.used == chosen.used
    assert again.tactics() == wanted


@pytest.mark.parametrize("version", EDITABLE)
def test_tactics_that_do_not_build_are_given_up(version: str, tmp_path: Path) -> None:
    builder, chooser, weak = started(version, 1000)
    key = "0xsecond"
    builder.hold({key: f"{7:#018x}", "0xof no layer here": f"{8:#018x}"})
    chooser.refused = 7
    assert builder.build(model(tmp_path, weak), "", ()).engine
    assert chooser.builds == 2
    assert int(builder.tactics()[key], 16) >= 1000
    assert "0xof no layer here" not in builder.tactics()


@pytest.mark.parametrize("version", EDITABLE)
def test_tactics_that_the_cache_declines_are_left_out(version: str, tmp_path: Path) -> None:
    builder, chooser, weak = started(version, 1000)
    builder.hold({"0xsecond": f"{7:#018x}"})
    chooser.declined = 7
    assert builder.build(model(tmp_path, weak), "", ()).engine
    assert chooser.builds == 1, "nothing was changed"
    assert int(builder.tactics()["0xsecond"], 16) >= 1000


@pytest.mark.parametrize("version", EDITABLE)
def test_without_recorded_tactics_the_cache_is_an_ordinary_one(
    version: str, tmp_path: Path
) -> None:
    builder, chooser, weak = started(version, 1, record_tactics="false")
    builder.hold({"0xsecond": f"{7:#018x}"})
    builder.build(model(tmp_path, weak), "", ())
    assert builder.tactics() == {}
    assert chooser.builds == 1
    assert "EDITABLE_TIMING_CACHE" not in flags_of(chosen := chooser.made)
    assert chosen.named("ITimingCache.queryKeys") == []


@pytest.mark.parametrize("version", PLAIN)
def test_older_versions_record_no_tactics_and_require_none(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    trt, lines = made.module, Lines()
    caps = probe(trt)
    weak = not caps.typed
    builder = EngineBuilder(trt, caps, TensorRtOptions(), make_logger(trt, lines), lines, weak=weak)
    builder.hold({"0xsecond": f"{7:#018x}"})
    assert builder.build(model(tmp_path, weak), "", ()).engine
    assert builder.tactics() == {}


@pytest.mark.parametrize("version", EDITABLE)
def test_a_cache_without_tactics_is_accepted(version: str, tmp_path: Path) -> None:
    builder, chooser, weak = started(version, 1)

    def fails(cache: Any) -> Any:
        raise RuntimeError("no keys")

    chooser.made.behaviour["ITimingCache.queryKeys"] = fails
    builder.hold({"0xsecond": f"{7:#018x}"})
    assert builder.build(model(tmp_path, weak), "", ()).engine
    assert builder.tactics() == {}
