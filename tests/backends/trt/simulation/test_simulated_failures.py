"""Builds that fail, are tried again or begin from a kept cache, on each version's own surface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from precsearch.backends.tensorrt.building.builder import Built, EngineBuilder
from precsearch.backends.tensorrt.building.precision_constraints import read_asked
from precsearch.backends.tensorrt.capabilities import probe
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.backend import TYPED_HALF, WEAK
from precsearch.core.errors import BuildError, OptionError
from precsearch.lowering.engines.annotate import METADATA_KEY
from tests.backends.trt.simulation.test_simulated_build import WEAKS, lowered, networks
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.simulated import Simulated
from tests.backends.trt.stand_in.surface import VERSIONS

Shapes = list[dict[str, tuple[int, ...]]]
CONTRADICTION = "Error Code 10: Could not find any implementation for node {ForeignNode[first]}"


def builder(
    made: Simulated, kept: Path | None = None, **knobs: str
) -> tuple[EngineBuilder, Lines, Any]:
    """Weak where the version can be; its lines and its logger."""
    trt, lines = made.module, Lines()
    caps, logger = probe(trt), make_logger(trt, lines)
    weak = caps.weak
    return (
        EngineBuilder(trt, caps, TensorRtOptions.of(knobs), logger, lines, weak=weak, kept=kept),
        lines,
        logger,
    )


def failing(made: Simulated, *said: tuple[str, str]) -> list[int]:
    """Let every build fail with these words; the list gets an entry for each."""
    tries: list[int] = []

    def started(self: Any, logger: Any) -> None:
        self.__dict__["heard_by"] = logger

    def none(self: Any, network: Any, config: Any) -> None:
        tries.append(len(tries))
        for severity, text in said:
            self.heard_by.log(made.module.ILogger.Severity.__members__[severity], text)

    made.behaviour["Builder.__init__"] = started
    made.behaviour["Builder.build_serialized_network"] = none
    return tries


def plain(folder: Path, made: Simulated) -> bytes:
    return lowered(folder, WEAK if probe(made.module).weak else TYPED_HALF)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("severity", ["ERROR", "INTERNAL_ERROR"])
def test_a_refusal_quotes_the_last_errors_once_and_is_not_retried(
    version: str, severity: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = tensorrt(version)
    lines = [(severity, f"error\n  {n}") for n in (1, 2, 2, 3, 4)]
    tries = failing(made, *lines, ("WARNING", "a warning"), ("INFO", "news"))
    with pytest.raises(BuildError) as caught:
        builder(made)[0].build(plain(tmp_path, made), "", ())
    assert str(caught.value) == "TensorRT could not build the engine: error 2; error 3; error 4"
    assert tries == [0]
    err = capfd.readouterr().err
    assert "error\n  1" in err, "the worker's log has all of it"
    assert "news" not in err


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_without_a_message_is_reported_as_such(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    failing(made)
    with pytest.raises(BuildError, match="engine: it does not say why"):
        builder(made)[0].build(plain(tmp_path, made), "", ())


@pytest.mark.parametrize(
    "said", ["Error Code 2: OutOfMemory (no further information)", "CUDA: Out of memory"]
)
def test_too_little_memory_is_recognized(said: str, tmp_path: Path) -> None:
    made = tensorrt("10.0.1")
    failing(made, ("ERROR", said))
    with pytest.raises(MemoryError) as caught:
        builder(made)[0].build(plain(tmp_path, made), "", ())
    assert str(caught.value) == said


@pytest.mark.parametrize("version", WEAKS)
@pytest.mark.parametrize(
    ("refusals", "said"),
    [
        (1, "it took them as wishes"),
        (2, "it took them as wishes, and nodes up to 2 tensors away were left to it"),
    ],
)
def test_pins_without_a_kernel_are_dropped_step_by_step(
    version: str, refusals: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tensorrt(version)
    model = lowered(tmp_path, WEAK, second="int8")
    usual, found = made.behaviour["Builder.build_serialized_network"], networks(made, monkeypatch)
    tries = failing(made, ("ERROR", CONTRADICTION))
    fails = made.behaviour["Builder.build_serialized_network"]

    def last(self: Any, network: Any, config: Any) -> Any:
        if len(tries) == refusals:
            self.heard_by.log(made.module.ILogger.Severity.WARNING, "slow")
            return usual(self, network, config)
        return fails(self, network, config)

    made.behaviour["Builder.build_serialized_network"] = last
    built = builder(made)[0].build(model, "", ())
    pinned = [sum("_precision" in x.__dict__ for x in network.layers) for network in found]
    assert pinned[0] == pinned[1] > 0, "first the same pins, as wishes"
    assert len(pinned) == refusals + 1, "one tensor away all was free before: it is not built again"
    assert refusals == 1 or pinned[1] > pinned[2]
    asked = [flag.name for (flag,) in made.named("IBuilderConfig.set_flag")]
    kinds = [name for name in asked if name.endswith("PRECISION_CONSTRAINTS")]
    prefer = ["PREFER_PRECISION_CONSTRAINTS"] * (1 + (refusals == 2 and pinned[2] > 0))
    assert kinds == ["OBEY_PRECISION_CONSTRAINTS", *prefer]
    first, slow = built.warnings
    assert first == f"TensorRT has no kernels for these pins beside Q/DQ: {said}"
    assert slow == "slow", "errors of the tries before are forgotten"


@pytest.mark.parametrize("version", VERSIONS)
def test_without_qdq_no_pin_is_dropped(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    tries = failing(made, ("ERROR", CONTRADICTION))
    with pytest.raises(BuildError, match="Could not find any implementation"):
        builder(made)[0].build(plain(tmp_path, made), "", ())
    assert len(tries) == 1


def test_a_refusal_of_the_parser_is_quoted(tmp_path: Path) -> None:
    made = tensorrt("10.0.1")

    class Error:
        def __init__(self, text: str) -> None:
            self.desc = lambda: text

    model = plain(tmp_path, made)
    made.behaviour |= {
        "OnnxParser.parse": lambda self, model, path=None: False,
        "OnnxParser.num_errors": lambda self: 2,
        "OnnxParser.get_error": lambda self, i: Error(f"no\n  plugin {i}"),
    }
    with pytest.raises(BuildError, match=r"refuses the model: no plugin 0; no plugin 1"):
        builder(made)[0].build(model, "", ())
    made.behaviour["OnnxParser.num_errors"] = lambda self: 0
    with pytest.raises(BuildError, match="refuses the model: it does not say why"):
        builder(made)[0].build(model, str(tmp_path), ())
    assert made.named("OnnxParser.parse")[-1][1] == str(tmp_path / "model.onnx")


def opened(model: bytes) -> bytes:
    """The same with an open batch."""
    proto = onnx.load_model_from_string(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return bytes(proto.SerializeToString())


def sizes(*batches: int) -> Shapes:
    return [{"x": (n, 3, 4, 4)} for n in batches]


@pytest.mark.parametrize(
    ("batches", "profiles"),
    [
        ((4,), [(4, 4, 4)]),
        ((4, 1), [(4, 4, 4), (1, 1, 1)]),
        ((4, 1, 16), [(1, 4, 16)]),
    ],
)
def test_open_shapes_have_a_profile_each_or_one_across(
    batches: tuple[int, ...], profiles: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    made = tensorrt("10.0.1")
    model = opened(plain(tmp_path, made))
    made.behaviour["IBuilderConfig.add_optimization_profile"] = lambda self, profile: 0
    builder(made)[0].build(model, "", sizes(*batches))
    asked = made.named("IOptimizationProfile.set_shape")
    assert [tuple(shape[0] for shape in shapes) for _, *shapes in asked] == profiles


def test_open_shapes_that_cannot_be_built_are_reported(tmp_path: Path) -> None:
    made = tensorrt("10.0.1")
    model = opened(plain(tmp_path, made))
    with pytest.raises(BuildError, match="no shapes to build for"):
        builder(made)[0].build(model, "", ())
    made.behaviour["IBuilderConfig.add_optimization_profile"] = lambda self, profile: -1
    with pytest.raises(BuildError, match=r"TensorRT refuses the shapes .*\(2, 3, 4, 4\)"):
        builder(made)[0].build(model, "", sizes(2))
    made.behaviour["ITensor.is_shape_tensor"] = lambda self: True
    with pytest.raises(BuildError, match="input 'x' holds a shape"):
        builder(made)[0].build(model, "", sizes(2))


@pytest.mark.parametrize(
    ("sources", "wanted"),
    [("none", set()), ("cublas", {"CUBLAS"}), ("cublas+cudnn", {"CUBLAS", "CUDNN"})],
)
def test_tactic_sources_are_a_mask(sources: str, wanted: set[str], tmp_path: Path) -> None:
    made = tensorrt("8.6.1")
    kinds = made.module.__dict__["TacticSource"]
    builder(made, tactic_sources=sources)[0].build(plain(tmp_path, made), "", ())
    ((mask,),) = made.named("IBuilderConfig.set_tactic_sources")
    assert {k for k, v in kinds.__members__.items() if mask & 1 << int(v)} == wanted


def test_a_tactic_source_that_a_version_lacks_is_reported(tmp_path: Path) -> None:
    made = tensorrt("11.0.0.114")
    with pytest.raises(OptionError, match=r"TensorRT 11\.\S+ has no tactic source 'cublas'"):
        builder(made, tactic_sources="cublas")[0].build(plain(tmp_path, made), "", ())
    made = tensorrt("10.0.1")
    builder(made)[0].build(plain(tmp_path, made), "", ())
    assert made.named("IBuilderConfig.set_tactic_sources") == []


def once(made: Simulated, folder: Path, kept: Path | None) -> tuple[EngineBuilder, Built]:
    found = builder(made, kept)[0]
    return found, found.build(plain(folder, made), "", ())


def test_a_kept_cache_begins_the_next_process(tmp_path: Path) -> None:
    kept = tmp_path / "timing.cache"
    made = tensorrt("10.0.1")
    first, _ = once(made, tmp_path, kept)
    assert made.named("IBuilderConfig.create_timing_cache") == [(b"",)]
    assert kept.read_bytes() == first.cache_bytes() == b"cache"
    assert [p.name for p in tmp_path.iterdir() if "cache." in p.name] == []
    again = tensorrt("10.0.1")
    second, _ = once(again, tmp_path, kept)
    assert again.named("IBuilderConfig.create_timing_cache") == [(b"cache",)]
    second.build(plain(tmp_path, again), "", ())
    assert len(again.named("IBuilderConfig.create_timing_cache")) == 1, "one for all builds"
    assert builder(tensorrt("10.0.1"))[0].cache_bytes() == b""


def test_timings_of_another_worker_on_the_device_are_taken_over(tmp_path: Path) -> None:
    kept = tmp_path / "timing.cache"
    made, beside = tensorrt("10.0.1"), tensorrt("10.0.1")
    first, _ = once(made, tmp_path, kept)
    first.build(plain(tmp_path, made), "", ())
    assert made.named("ITimingCache.combine") == [], "nobody else has built"
    once(beside, tmp_path, kept)
    first.build(plain(tmp_path, made), "", ())
    assert len(made.named("ITimingCache.combine")) == 1
    assert made.named("IBuilderConfig.create_timing_cache")[-1] == (b"cache",)
    first.build(plain(tmp_path, made), "", ())
    assert len(made.named("ITimingCache.combine")) == 1, "its own file is no news"


def test_what_an_equal_device_has_timed_is_taken_over_and_its_file_left(tmp_path: Path) -> None:
    mine, other = tmp_path / "build-gpu_0.cache", tmp_path / "build-gpu_1.cache"
    made = tensorrt("10.0.1")
    first, _ = once(made, tmp_path, mine)
    other.write_bytes(b"of the other device")
    (tmp_path / "model.cache").write_bytes(b"no timing cache")
    first.build(plain(tmp_path, made), "", ())
    assert made.named("IBuilderConfig.create_timing_cache") == [(b"",), (b"of the other device",)]
    assert len(made.named("ITimingCache.combine")) == 1
    first.build(plain(tmp_path, made), "", ())
    assert len(made.named("ITimingCache.combine")) == 1, "it has not changed"
    assert other.read_bytes() == b"of the other device"
    fresh = tensorrt("10.0.1")
    once(fresh, tmp_path, tmp_path / "build-gpu_2.cache")
    assert fresh.named("IBuilderConfig.create_timing_cache") == [
        (b"cache",),
        (b"of the other device",),
    ]


def test_a_cache_of_another_version_is_replaced_by_an_empty_one(tmp_path: Path) -> None:
    kept = tmp_path / "timing.cache"
    kept.write_bytes(b"of another device")
    made = tensorrt("10.0.1")
    fits: Callable[..., bool] = lambda self, cache, ignore_mismatch: (  # noqa: E731
        len(made.named("IBuilderConfig.set_timing_cache")) > 1
    )
    made.behaviour["IBuilderConfig.set_timing_cache"] = fits
    assert once(made, tmp_path, kept)[1].engine
    assert made.named("IBuilderConfig.create_timing_cache") == [(b"of another device",), (b"",)]


def test_a_build_succeeds_when_its_cache_cannot_be_written(tmp_path: Path) -> None:
    kept = tmp_path / "nowhere" / "timing.cache"
    assert once(tensorrt("10.0.1"), tmp_path, kept)[1].engine
    assert not kept.parent.exists()


def test_a_note_that_is_no_list_of_names_is_refused() -> None:
    value = onnx.helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"], "n")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], []))
    model.metadata_props.add(key=METADATA_KEY, value='{"fp16": 3}')
    with pytest.raises(BuildError, match="is malformed"):
        read_asked(model)
