"""Sessions with bound memory, on the CPU provider in the place of a GPU."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from precsearch.backends.onnxruntime.cuda.provider import SessionRequest, open_session
from precsearch.backends.onnxruntime.cuda.session import DeviceSession, HostClock
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.errors import BuildError, DeviceLost, OutOfMemory, RunError
from precsearch.core.precision import Precision
from tests.backends.ort_cuda.stand_in import CPU, StandIn
from tests.backends.ov.small_engines import cnn, encoder, lowered, samples
from tests.graph.small_layers import GraphBuilder


def by_ort(model: bytes, feed: Feed) -> list[np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


@pytest.mark.parametrize("model", [cnn(), encoder()], ids=["cnn", "encoder"])
def test_outputs_are_those_of_a_plain_session(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    session = StandIn(BackendOptions()).open(data)
    for batch in (2, 3, 2):
        feed = samples(model, batch)
        for mine, other in zip(session.run(feed).values(), by_ort(data, feed), strict=True):
            np.testing.assert_array_equal(mine, other)
        assert len(session.time(feed, 3)) == 3
    session.close()
    with pytest.raises(RunError, match="closed"):
        session.run(samples(model))


def test_a_feed_is_never_modified() -> None:
    model = cnn()
    session = StandIn(BackendOptions()).open(model.SerializeToString())
    first = samples(model)
    second = {name: value + 1 for name, value in first.items()}
    kept = {name: value.copy() for name, value in first.items()}
    for feed in (first, second, first):
        session.run(feed)
        session.time(feed, 2)
    for name, value in first.items():
        np.testing.assert_array_equal(value, kept[name])


def test_an_output_may_change_its_size_from_run_to_run() -> None:
    b = GraphBuilder()
    b.output(b.op("Cast", b.op("NonZero", b.input([4])), to=onnx.TensorProto.FLOAT))
    session = StandIn(BackendOptions()).open(b.model().SerializeToString())
    name = b.model().graph.input[0].name
    for row in ([1, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1]):
        (found,) = session.run({name: np.asarray(row, np.float32)}).values()
        assert found.shape == (1, sum(row))


def test_a_missing_input_is_named() -> None:
    session = StandIn(BackendOptions()).open(encoder().SerializeToString())
    feed = samples(encoder())
    del feed["mask"]
    with pytest.raises(RunError, match="mask"):
        session.run(feed)


def test_a_model_that_is_refused_is_a_failed_build() -> None:
    with pytest.raises(BuildError):
        StandIn(BackendOptions()).open(b"no model")


class Refusals:
    """Sessions on the CPU, and an error wherever a graph is captured."""

    def __init__(self, model: bytes, *, at_opening: bool) -> None:
        self.model = model
        self.at_opening = at_opening
        self.opened: list[bool] = []

    def __call__(self, graph: bool) -> ort.InferenceSession:
        self.opened.append(graph)
        if graph and self.at_opening:
            raise RuntimeError("This session cannot use the graph capture feature")
        session, _ = open_session(SessionRequest(self.model), CPU)
        if graph:
            run = session.run_with_iobinding

            def refusing(binding: object, options: ort.RunOptions) -> None:
                if options.get_run_config_entry("gpu_graph_id") != "-1":
                    raise RuntimeError("operation not permitted when stream is capturing")
                run(binding, options)

            session.run_with_iobinding = refusing
        return session


@pytest.mark.parametrize("at_opening", [True, False], ids=["opening", "capture"])
def test_without_a_graph_the_engine_runs_launch_by_launch_and_says_so(at_opening: bool) -> None:
    model = cnn()
    opens = Refusals(model.SerializeToString(), at_opening=at_opening)
    said: list[str] = []
    session = DeviceSession(opens, HostClock(), graphs=True, provider=CPU, tell=said.append)
    feed = samples(model)
    assert len(session.time(feed, 4)) == 4
    assert opens.opened == [True, False]
    (sentence,) = said
    assert sentence.startswith("the engine is timed without a CUDA graph")
    for mine, other in zip(session.run(feed).values(), by_ort(opens.model, feed), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Failed to allocate memory for requested buffer of size 1", OutOfMemory),
        ("CUDA failure 2: out of memory", OutOfMemory),
        ("CUDNN_STATUS_EXECUTION_FAILED", RunError),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", DeviceLost),
        ("CUDA failure 7000", RunError),
    ],
)
def test_the_kind_of_a_failure_is_read_from_its_text(text: str, kind: type[Exception]) -> None:
    model = cnn()
    session = StandIn(BackendOptions()).open(model.SerializeToString())

    def failing(*_: object) -> None:
        raise RuntimeError(text)

    session._ready().run_with_iobinding = failing
    for use in (lambda: session.run(samples(model)), lambda: session.time(samples(model), 1)):
        with pytest.raises(kind) as caught:
            use()
        assert type(caught.value) is kind


def nodes_of(model: bytes) -> Iterable[str]:
    return [n.name for n in onnx.load_model_from_string(model).graph.node]


@pytest.mark.parametrize("model", [cnn(), encoder()], ids=["cnn", "encoder"])
def test_each_node_belongs_to_one_kernel_and_its_precision_is_what_it_wrote(
    model: onnx.ModelProto,
) -> None:
    backend = StandIn(BackendOptions())
    made = lowered(model, backend, Precision.FP32)
    session = backend.open(made.model, profiled=True)
    kernels = session.profile(samples(model), 2)
    backend._profiles.close()
    owned = [n for k in kernels for n in k.nodes if n in set(nodes_of(made.model))]
    assert sorted(owned) == sorted(nodes_of(made.model))
    computing = [k for k in kernels if k.op_type not in ("stored", "Shape", "Cast")]
    assert computing
    assert {k.precision for k in computing} == {Precision.FP32}
    assert all(k.seconds > 0 for k in computing)


def test_fp16_on_the_cpu_is_seen_as_fp32() -> None:
    """ONNX Runtime's CPU provider has no FP16 kernels: it casts and computes in FP32."""
    backend, model = StandIn(BackendOptions()), cnn()
    made = lowered(model, backend, Precision.FP16)
    assert made.asked
    assert set(made.asked.values()) == {Precision.FP16}
    kernels = backend.open(made.model, profiled=True).profile(samples(model), 1)
    backend._profiles.close()
    convs = [k for k in kernels if "Conv" in k.op_type]
    assert convs
    assert {k.precision for k in convs} == {Precision.FP32}
