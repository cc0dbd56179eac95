"""Models, data and metrics that are in memory become files that a search can name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import precsearch
from precsearch.api.arrays import to_array
from precsearch.api.functions import metric_name
from precsearch.api.given import Data, data_file, model_file, model_name, specs_of
from precsearch.core.backend import Array
from precsearch.data import load
from precsearch.metrics import metric
from tests.hostile.situations.world import model

SAMPLES = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)
SCALE = 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    onnx.save(model(), str(tmp_path / "m.onnx"))
    return tmp_path / "m.onnx"


def read_back(path: Path, data: Data, **options: object) -> list[Array]:
    """The only input of each feed after a way through a file."""
    found = data_file(data, path, path.parent / "run", **options)  # type: ignore[arg-type]
    assert found is not None
    return [feed["x"] for feed in load(found, specs_of(path)).feeds]


class Tensor:
    """What PyTorch's tensors have that matters here."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Array:
        return self._array


class Loader:
    """Batches of 4 and of 2 with labels, as a DataLoader gives them; can be gone through often."""

    def __iter__(self) -> object:
        return iter([[Tensor(SAMPLES[:4]), np.zeros(4, int)], [Tensor(SAMPLES[4:]), np.ones(2)]])


ROWS = [{"pixels": row, "text": "a cat", "label": i % 3} for i, row in enumerate(SAMPLES)]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({"x": SAMPLES}, {}),
        (SAMPLES, {}),
        ((SAMPLES, np.arange(6)), {}),
        (Tensor(SAMPLES), {}),
        ([{"x": row[None]} for row in SAMPLES], {}),
        ([{"x": row} for row in SAMPLES], {}),
        (list(SAMPLES), {}),
        (({"x": row} for row in SAMPLES), {}),
        (Loader(), {}),
        (ROWS, {"columns": {"pixels": "x", "label": "labels"}}),
        ({"pixels": SAMPLES, "id": ["a"] * 6}, {"columns": {"pixels": "x"}}),
    ],
)
def test_all_ways_to_hold_samples_give_the_same(path: Path, data: Data, options: object) -> None:
    found = read_back(path, data, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.concatenate(found), SAMPLES)


def test_labels_come_along(path: Path) -> None:
    found = data_file(ROWS, path, path.parent, columns={"pixels": "x", "label": "labels"})
    labels = load(found, specs_of(path)).flat_labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_feeds_of_unequal_shapes_stay_whole(tmp_path: Path) -> None:
    proto = model()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(proto, str(tmp_path / "m.onnx"))
    feeds = [np.ones((1, 1, h, 8), np.float32) for h in (8, 10, 8)]
    found = read_back(tmp_path / "m.onnx", [{"x": f} for f in feeds])
    assert [f.shape for f in found] == [f.shape for f in feeds]


def test_the_first_samples_of_an_endless_iterable_are_used_and_a_warning_says_so(
    path: Path,
) -> None:
    def endless() -> object:
        while True:
            yield {"x": SAMPLES[:1]}

    with pytest.warns(UserWarning, match="the first 5 samples are used"):
        found = read_back(path, endless(), samples=5)  # type: ignore[arg-type]
    assert len(found) == 5


def test_data_given_twice_is_written_once(path: Path) -> None:
    first = data_file(SAMPLES, path, path.parent)
    assert first == data_file({"x": SAMPLES}, path, path.parent)
    assert first != data_file(SAMPLES[:5], path, path.parent)
    assert data_file(str(path), path, path.parent) == path
    assert data_file(None, path, path.parent) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "not a int"),
        ([], "no samples"),
        (["a cat"], "sample 0 of the data is a str"),
        ({"x": ["a", "b"]}, "not an array of numbers"),
        ((SAMPLES, SAMPLES, SAMPLES), "3 arrays for the model's 1 inputs"),
    ],
)
def test_a_value_that_is_not_data_is_refused_in_one_sentence(
    path: Path, data: Data, said: str
) -> None:
    with pytest.raises(precsearch.DataError, match=said):
        data_file(data, path, path.parent)
    with pytest.raises(precsearch.DataError, match="no column 'pixel'"):
        data_file({"x": SAMPLES}, path, path.parent, columns={"pixel": "x"})


def test_a_model_in_memory_is_the_same_model(path: Path, tmp_path: Path) -> None:
    proto = model()
    assert model_name(proto) == "small"
    written = model_file(proto, tmp_path / "run")
    assert written.name == "small.onnx"
    assert onnx.load(str(written)) == proto
    assert model_file(str(path), tmp_path) == path
    again = model_file(ir.serde.deserialize_model(proto), tmp_path / "run")
    names = [n.op_type for n in onnx.load(str(again)).graph.node]
    assert names == [n.op_type for n in proto.graph.node]
    with pytest.raises(precsearch.ModelError, match="not a int"):
        model_file(3, tmp_path)  # type: ignore[arg-type]
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(precsearch.ModelError, match=r"onnx\.load"):
        model_file(proto, tmp_path)


def _half(value: float) -> float:
    return value / SCALE


def test_a_function_with_what_it_uses_becomes_a_file(tmp_path: Path) -> None:
    offset = 1.0

    def loss(outputs: object, reference: object) -> float:
        return float(np.float64(_half(2.0))) + offset

    name = metric_name(loss, tmp_path)
    found = metric(name)
    feeds = [{"y": np.ones((1, 3), np.float32)}]
    assert found.score(feeds, feeds).loss == 2.0
    assert metric_name(loss, tmp_path) == name
    assert metric_name("rel-l2", tmp_path) == "rel-l2"
    assert metric_name(module_loss, tmp_path) == f"{__file__}:module_loss"


def module_loss(outputs: object, reference: object) -> float:
    return 0.0


def test_functions_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    held = object()

    def loss(outputs: object, reference: object) -> float:
        return float(id(held))

    for given, said in (
        (lambda a, b: 0.0, "a lambda"),
        (3, "a int"),
        (loss, "uses 'held', a object"),
    ):
        with pytest.raises(precsearch.OptionError, match=said):
            metric_name(given, tmp_path)  # type: ignore[arg-type]


def test_tensors_on_a_device_and_numbers_become_arrays() -> None:
    assert to_array(Tensor(SAMPLES), "x") is SAMPLES
    assert to_array(3, "x").shape == ()


def test_importing_loads_no_engine_and_no_library_of_data() -> None:
    heavy = "{'onnxruntime', 'optuna', 'pandas', 'IPython', 'vl_convert', 'PIL'}"
    code = f"import sys, precsearch; precsearch.PlanError; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_source_that_is_another_text_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.13 keeps the text of ``python -c`` as what every function of a string stands in."""
    names = dict[str, object](__name__="__main__")
    exec("def loss(a, b):\n    return 0.0", names)
    loss = names["loss"]
    assert isinstance(loss, FunctionType)
    monkeypatch.setattr(inspect, "getsource", lambda _: "import sys\nsys.exit(0)\n")
    with pytest.raises(
        precsearch.OptionError, match="the source of the metric 'loss' cannot be had"
    ):
        metric_name(loss, tmp_path)
