"""Buffers, shapes, graphs and profiles of an engine, with a simulated memory and clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from precsearch.backends.tensorrt.inspector import EngineLayer
from precsearch.backends.tensorrt.runtime.engine import TensorRtSession
from precsearch.core.errors import RunError
from tests.backends.trt.simulation.test_simulated_run import SHAPES, FakeCuda, with_engine
from tests.backends.trt.stand_in.simulated import Simulated

ONES = {"x": np.ones((2, 3), np.float32)}
VERSION = "10.0.1"


class Counting(FakeCuda):
    """Counts what is copied, given back and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[bytes] = []
        self.freed: list[int] = []
        self.closed: list[str] = []
        self.took = 1e-3
        self.broken = ""

    def upload(self, address: int, array: Any, stream: Any) -> None:
        super().upload(address, array, stream)
        self.uploads.append(array.tobytes())

    def free(self, *args: Any) -> None:
        self.freed += args

    def seconds(self, events: list[int]) -> list[float]:
        return [self.took] * (len(events) - 1)

    def end_capture(self, stream: Any) -> str:
        if self.broken:
            raise RunError(self.broken)
        return super().end_capture(stream)

    def close_graph(self, graph: Any) -> None:
        self.closed.append(graph)

    def wait(self, *args: Any) -> None:
        pass

    record = begin_capture = close_events = wait

    def close_stream(self, stream: Any) -> None:
        self.closed.append("stream")


def session(
    behaviour: dict[str, Any] | None = None, **options: Any
) -> tuple[TensorRtSession, Any, Simulated]:
    made, engine, context = with_engine(VERSION)
    made.behaviour |= behaviour or {}
    cuda: Any = Counting()
    return TensorRtSession(made.module, cuda, engine, context, **options), cuda, made


def ranged(*profiles: tuple[int, int, int]) -> dict[str, Any]:
    """An engine of these profiles of batches, whose outputs are as large as its inputs."""

    def shape(self: Any, name: str) -> tuple[int, ...]:
        taken = self.__dict__["given"]
        return (taken[0], SHAPES[name][1])

    def give(self: Any, name: str, given: tuple[int, ...]) -> bool:
        self.__dict__["given"] = given
        return True

    return {
        "ICudaEngine.num_optimization_profiles": lambda self: len(profiles),
        "ICudaEngine.get_tensor_profile_shape": lambda self, name, index: [
            (n, 3) for n in profiles[index]
        ],
        "IExecutionContext.get_tensor_shape": shape,
        "IExecutionContext.set_input_shape": give,
    }


def batch(n: int) -> dict[str, np.ndarray]:
    return {"x": np.full((n, 3), n, np.float32)}


def test_the_same_arrays_are_copied_once_and_others_again() -> None:
    found, cuda, made = session()
    found.run(ONES)
    found.run(ONES)
    assert len(cuda.uploads) == 1
    found.run({"x": ONES["x"] * 2})
    assert len(cuda.uploads) == 2
    assert len(made.named("IExecutionContext.set_input_shape")) == 1


def test_the_first_profile_that_fits_is_selected_when_it_changes() -> None:
    found, _, made = session(ranged((1, 1, 1), (2, 4, 8)))
    for n in (1, 1, 4, 8, 1):
        assert found.run(batch(n))["y"].shape == (n, 4)
    chosen = made.named("IExecutionContext.set_optimization_profile_async")
    assert [index for index, _ in chosen] == [1, 0]
    with pytest.raises(RunError, match=r"was not built for the shapes {'x': \(9, 3\)}"):
        found.run(batch(9))


def test_memory_grows_with_the_largest_shape_and_is_given_back() -> None:
    found, cuda, _ = session(ranged((1, 4, 8)))
    found.run(batch(2))
    found.run(batch(1))
    assert cuda.freed == []
    found.run(batch(8))
    assert len(cuda.freed) == 2, "of x and of y, which were too small"
    found.close()
    assert sorted(cuda.freed) == sorted(cuda.memory)


def test_an_input_of_a_fixed_shape_has_no_range() -> None:
    fixed = {"ICudaEngine.get_tensor_profile_shape": lambda self, name, index: [()] * 3}
    assert session(fixed)[0].run(ONES)["y"].shape == (2, 4)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"IExecutionContext.set_input_shape": lambda *a: False}, "does not take 'x' of shape"),
        (
            {
                "IExecutionContext.get_tensor_shape": lambda self, n: (2, -1),
                "IExecutionContext.set_output_allocator": lambda *a: False,
            },
            "depends on data, and the engine takes no allocator",
        ),
        (
            {"IExecutionContext.get_tensor_shape": lambda self, n: (2, -1 if n == "y" else 3)},
            "does not tell how large the output 'y' is",
        ),
        (
            {"IExecutionContext.set_tensor_address": lambda *a: False},
            "does not take a buffer for 'x'",
        ),
        ({"IExecutionContext.execute_async_v3": lambda *a: False}, "could not run the engine"),
    ],
)
def test_a_refusal_of_the_execution_context_is_reported(
    behaviour: dict[str, Any], said: str
) -> None:
    with pytest.raises(RunError, match=said):
        session(behaviour)[0].run(ONES)


@pytest.mark.parametrize("name", ["reallocate_output", "reallocate_output_async"])
def test_an_output_whose_size_depends_on_data_is_read_at_the_size_that_each_run_tells(
    name: str,
) -> None:
    sizes = iter([3, 1, 0, 5])
    allocators: list[Any] = []

    def ran(context: Any, stream: int) -> bool:
        count = next(sizes)
        last = (7,) if name.endswith("async") else ()
        address = getattr(allocators[0], name)("y", 0, 16 * count, 256, *last)
        allocators[0].notify_shape("y", [count, 4])
        return bool(address > 0)

    def taken(context: Any, output: str, allocator: Any) -> bool:
        allocators.append(allocator)
        return output == "y"

    found, cuda, _ = session(
        {
            "IExecutionContext.get_tensor_shape": lambda self, n: (-1, 4) if n == "y" else (2, 3),
            "IExecutionContext.set_output_allocator": taken,
            "IExecutionContext.execute_async_v3": ran,
        }
    )
    assert [found.run(ONES)["y"].shape for _ in range(4)] == [(3, 4), (1, 4), (0, 4), (5, 4)]
    assert len(cuda.freed) == 1, "five rows need more memory than three"
    found.close()
    assert sorted(cuda.freed) == sorted(cuda.memory)


def test_a_type_that_numpy_lacks_is_reported() -> None:
    def lacks(self: Any, kind: Any) -> None:
        raise TypeError("bfloat16")

    with pytest.raises(RunError, match="which NumPy lacks"):
        session({"nptype": lacks})


def test_an_input_that_is_missing_or_of_another_type_is_reported() -> None:
    found, _, _ = session()
    with pytest.raises(RunError, match="the feed lacks the input 'x'"):
        found.run({"y": ONES["x"]})
    with pytest.raises(RunError, match="'x' is float64, the engine takes float32"):
        found.run({"x": np.ones((2, 3))})


@pytest.mark.parametrize(
    "given", [[[1, 2, -3]] * 2, [[1, 2, 2**31]] * 2, [[-(2**31) - 1, 0, 0]] * 2]
)
def test_integers_are_narrowed_only_if_they_fit(given: list[list[int]]) -> None:
    found, cuda, _ = session({"nptype": lambda self, kind: np.int32})
    wide = np.array(given, np.int64)
    if abs(wide).max() > 2**31 - 1:
        with pytest.raises(RunError, match="'x' holds integers beyond int32"):
            found.run({"x": wide})
    else:
        found.run({"x": wide})
        assert cuda.uploads == [wide.astype(np.int32).tobytes()]


@pytest.mark.parametrize("how", ["off", "capture", "run"])
def test_without_a_graph_the_engine_is_timed_and_a_warning_says_so(how: str) -> None:
    warnings: list[str] = []
    runs: list[int] = []

    def ran(context: Any, stream: int) -> bool:
        runs.append(stream)
        return not (how == "run" and len(runs) == 3)  # the third is the captured one

    behaviour = {"IExecutionContext.execute_async_v3": ran}
    found, cuda, _ = session(behaviour, warnings=warnings, graphs=how != "off")
    cuda.broken = "no capture here" if how == "capture" else ""
    assert found.time(ONES, 4) == [1e-3] * 4
    assert cuda.launched == 0
    why = {"off": [], "capture": ["no capture here"], "run": ["TensorRT could not run the engine"]}
    assert warnings == [f"timed without a CUDA graph: {w}" for w in why[how]]


@pytest.mark.parametrize(("took", "together"), [(1e-3, 1), (20e-6, 3), (1e-7, 16)])
def test_an_engine_of_microseconds_is_run_several_times_between_events(
    took: float, together: int
) -> None:
    found, cuda, _ = session()
    cuda.took = took
    times = found.time(ONES, 4)
    assert times == pytest.approx([took / together] * 4)
    assert cuda.launched == 5 + 4 * together
    found.time(ONES, 2)
    assert cuda.launched == 5 + 6 * together, "it is warm"


def test_a_profile_reports_time_that_it_cannot_attribute() -> None:
    layer = EngineLayer("dense", "gemm", ("dense", "elsewhere"), (), (), None, "")
    found, _, _ = session(layers=(layer,), nodes=("dense", "silent"))
    known, silent = found.profile(ONES, 2)
    assert (known.nodes, known.precision) == (("dense",), None)
    assert (silent.nodes, silent.seconds) == (("silent",), 0.0)
    bare, _, _ = session()
    first, rest = bare.profile(ONES, 2)
    assert (first.nodes, first.op_type, rest.nodes) == ((), "", ())
    unnamed, _, _ = session(layers=(layer,))
    assert unnamed.profile(ONES, 2)[0].nodes == ("dense", "elsewhere")


def test_a_closed_session_releases_everything_once() -> None:
    found, cuda, _ = session()
    found.time(ONES, 2)
    found.close()
    found.close()
    assert cuda.closed == ["graph", "stream"]
    for use in (found.run, lambda f: found.time(f, 1), lambda f: found.profile(f, 1)):
        with pytest.raises(RunError, match="the session is closed"):
            use(ONES)
