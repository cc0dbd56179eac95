"""Weights outside of a model's file: where they can stand, and what is written of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch import api
from precsearch.cli.main import run
from precsearch.core.errors import ModelError, OutputError, ReplayError
from precsearch.graph.prepare import prepare
from precsearch.graph.reading import external
from precsearch.graph.reading.messages import tensors
from precsearch.graph.reading.read import read_model
from precsearch.replay.weights import placed, write_model
from precsearch.system.regular_file import resolved
from tests.hostile.situations.world import data_bytes, model

Model = onnx.ModelProto


def outside(location: str, count: int = 3, name: str = "out", kind: int = 1) -> TensorProto:
    """A tensor of ``count`` elements whose bytes are in another file."""
    tensor = TensorProto(name=name, data_type=kind, dims=[count])
    size = count * (8 if kind == TensorProto.INT64 else 4)
    move(tensor, location, 0, size)
    return tensor


def move(tensor: TensorProto, location: str, offset: int, size: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(size))):
        tensor.external_data.add(key=key, value=value)


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def added(made: Model, nodes: list[onnx.NodeProto]) -> Model:
    """The model with nodes between its MatMul and its output."""
    made.graph.node[-1].output[0] = "product"
    made.graph.node.extend(nodes)
    return made


def in_initializer(made: Model, tensor: TensorProto) -> None:
    added(made, [helper.make_node("Add", ["product", "out"], ["y"])]).graph.initializer.append(
        tensor
    )


def in_constant(made: Model, tensor: TensorProto) -> None:
    added(made, [constant(tensor), helper.make_node("Add", ["product", "c"], ["y"])])


def in_function(made: Model, tensor: TensorProto) -> None:
    nodes = [constant(tensor), helper.make_node("Add", ["i", "c"], ["o"])]
    _call(made, nodes)


def in_function_default(made: Model, tensor: TensorProto) -> None:
    node = constant(tensor)
    del node.attribute[:]
    node.attribute.add(name="value", ref_attr_name="val", type=onnx.AttributeProto.TENSOR)
    function = _call(made, [node, helper.make_node("Add", ["i", "c"], ["o"])])
    function.attribute_proto.append(helper.make_attribute("val", tensor))


def _call(made: Model, nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    added(made, [helper.make_node("F", ["product"], ["y"], domain="own")])
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.functions.append(
        helper.make_function("own", "F", ["i"], ["o"], nodes, [helper.make_opsetid("", 17)])
    )
    called: onnx.FunctionProto = made.functions[-1]
    return called


def in_branch(made: Model, tensor: TensorProto) -> None:
    _branches(made, [helper.make_node("Add", ["product", "out"], ["z"])], [tensor])


def in_constant_of_a_branch(made: Model, tensor: TensorProto) -> None:
    _branches(made, [constant(tensor), helper.make_node("Add", ["product", "c"], ["z"])], [])


def _branches(made: Model, nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> None:
    value = helper.make_tensor_value_info("z", 1, None)
    branch = helper.make_graph(nodes, "then", [], [value], weights)
    other = helper.make_graph(
        [helper.make_node("Identity", ["product"], ["z"])], "else", [], [value]
    )
    made.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    added(made, [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=other)])


def in_sparse_values(made: Model, tensor: TensorProto) -> None:
    _sparse(made, tensor, numpy_helper.from_array(np.arange(3), "places"))


def _sparse(made: Model, values: TensorProto, places: TensorProto) -> None:
    in_initializer(made, values)
    sparse = onnx.SparseTensorProto(values=values, indices=places, dims=[3])
    made.graph.sparse_initializer.append(sparse)
    del made.graph.initializer[-1]


USED: list[Callable[[Model, TensorProto], None]] = [
    in_initializer,
    in_constant,
    in_function,
    in_function_default,
    in_branch,
    in_constant_of_a_branch,
    in_sparse_values,
]


def in_sparse_places(made: Model, tensor: TensorProto) -> None:
    values = numpy_helper.from_array(np.ones(3, np.float32), "out")
    _sparse(made, values, outside(tensor.external_data[0].value, kind=TensorProto.INT64))


def in_training(made: Model, tensor: TensorProto) -> None:
    made.training_info.add().algorithm.initializer.append(tensor)


def in_a_list(made: Model, tensor: TensorProto) -> None:
    made.graph.node[0].attribute.append(helper.make_attribute("extra", [tensor]))


def in_a_sparse_attribute(made: Model, tensor: TensorProto) -> None:
    places = numpy_helper.from_array(np.arange(3), "places")
    sparse = onnx.SparseTensorProto(values=tensor, indices=places, dims=[3])
    made.graph.node[0].attribute.append(helper.make_attribute("extra", sparse))


def in_a_nested_attribute(made: Model, tensor: TensorProto) -> None:
    """A graph in a list of graphs of a node of a function."""
    inner = helper.make_graph([constant(tensor)], "inner", [], [])
    node = helper.make_node("Identity", ["i"], ["o"])
    node.attribute.append(helper.make_attribute("graphs", [inner]))
    _call(made, [node])


UNUSED = [in_sparse_places, in_training, in_a_list, in_a_sparse_attribute, in_a_nested_attribute]


def name_of(place: Callable[..., None]) -> str:
    return place.__name__


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``in/`` with data and weights, ``secret.bin`` outside of it, and work in a third folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "away").mkdir()
    (tmp_path / "in" / "data.npz").write_bytes(data_bytes())
    for name in ("secret.bin", "in/w.bin"):
        (tmp_path / name).write_bytes(np.array([0.5, -1, 2, 0, 0, 0], np.float32).tobytes())
    monkeypatch.chdir(tmp_path / "away")
    return tmp_path / "in"


def put(folder: Path, place: Callable[[Model, TensorProto], None], location: str = "w.bin") -> Path:
    made = model()
    place(made, outside(location))
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("place", [*USED, *UNUSED], ids=name_of)
def test_wherever_a_tensor_stands_it_does_not_leave_the_folder(
    here: Path, place: Callable[[Model, TensorProto], None]
) -> None:
    (here / "link.bin").symlink_to("../secret.bin")
    for location in ("../secret.bin", str(here.parent / "secret.bin"), "link.bin"):
        with pytest.raises(ModelError, match="outside of the model's folder"):
            read_model(put(here, place, location))


@pytest.mark.parametrize("place", [*USED, *UNUSED], ids=name_of)
def test_wherever_a_tensor_stands_its_bytes_are_in_the_digest(
    here: Path, place: Callable[[Model, TensorProto], None]
) -> None:
    path = put(here, place)
    before = read_model(path)
    assert before.external == (here / "w.bin",)
    (here / "w.bin").write_bytes(bytes(24))
    assert read_model(path).digest != before.digest


@pytest.mark.parametrize("place", USED, ids=name_of)
def test_a_lowered_model_has_the_original_s_numbers(
    here: Path, place: Callable[[Model, TensorProto], None]
) -> None:
    path = put(here, place)
    line = f"optimize {path} --data {here / 'data.npz'} --tol 9 --threads 1 --precisions fp32"
    assert run([*line.split(), "--artifact", "a.onnx"]) == 0
    feed = {"x": np.load(here / "data.npz")["x"]}
    found, wanted = (
        ort.InferenceSession(str(p), providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for p in (dense(Path("a.onnx").resolve()), dense(path))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    plain = ort.InferenceSession(model().SerializeToString()).run(None, feed)[0]
    assert np.abs(found - plain - np.array([0.5, -1, 2], np.float32)).max() < 1e-4


def dense(path: Path) -> Path:
    """ONNX Runtime finds the values of a sparse weight inside of the file alone."""
    made = onnx.load(path, load_external_data=False)
    for sparse in made.graph.sparse_initializer:
        sparse.values.raw_data = (path.parent / "w.bin").read_bytes()[:12]
        sparse.values.ClearField("data_location")
        sparse.values.ClearField("external_data")
        path = path.with_name("dense.onnx")
        path.write_bytes(made.SerializeToString())
    return path


def with_weights(folder: Path, location: str) -> Path:
    """All weights of the model in one file, which the model calls what it likes."""
    made = model()
    data = b"before"
    for tensor in made.graph.initializer:
        values = tensor.raw_data
        tensor.ClearField("raw_data")
        move(tensor, location, len(data), len(values))
        data += values + b"between"
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    (folder / location).write_bytes(data)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return folder / "model.onnx"


@pytest.mark.parametrize("location", ["json.py", ".github/workflows/x.yml", "a/b/w"])
def test_a_model_names_no_file_that_is_written(here: Path, location: str) -> None:
    path = with_weights(here, location)
    line = f"optimize {path} --data {here / 'data.npz'} --tol 9 --threads 1 --max-builds 1"
    assert run([*line.split(), "--artifact", "a.onnx", "-o", "p.json"]) == 0
    assert run(["build", "p.json", "--model", str(path), "-o", "b.onnx"]) == 0
    assert run(["export", "p.json", "--model", str(path), "--to", "polygraphy", "-o", "e"]) == 0
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    (weights,) = (p.name for p in Path().glob("*.weights"))
    assert sorted(p.name for p in Path("e").iterdir()) == [weights, "p.onnx", "p.polygraphy.sh"]
    written = {p.name for p in Path().iterdir()} - {"e", "p.precsearch"}
    assert written == {"a.onnx", "b.onnx", "p.json", "p.evidence.json", weights}
    assert weights == f"{hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]}.weights"
    assert {t.external_data[0].value for t in tensors(onnx.load("a.onnx", load_external_data=False))
            if t.data_location == TensorProto.EXTERNAL} == {weights}  # fmt: skip


def test_a_model_moved_with_its_weights_runs_anywhere(here: Path) -> None:
    source = read_model(with_weights(here, "json.py"))
    write_model(source, Path("m.onnx"), source.proto.SerializeToString())
    there = here.parent / "there"
    shutil.copytree(".", there)
    shutil.rmtree(here)
    feed = {"x": np.ones((2, 1, 8, 8), np.float32)}
    found, wanted = (
        ort.InferenceSession(m, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for m in (str(there / "m.onnx"), model().SerializeToString())
    )
    np.testing.assert_array_equal(found, wanted)


def test_equal_extents_are_stored_once_and_large_ones_on_pages(here: Path) -> None:
    made = model()
    big = np.arange(5000, dtype=np.float32)
    (here / "big").write_bytes(big.tobytes())
    for name in ("one", "two"):
        made.graph.initializer.append(outside("big", 5000, name))
    (here / "model.onnx").write_bytes(made.SerializeToString())
    source = read_model(here / "model.onnx")
    found = placed(source, source.proto.SerializeToString())
    assert b"".join(found.pieces()) == big.tobytes()
    assert [offset % 4096 for offset, _ in found.extents] == [0]


def test_weights_of_a_wrong_digest_are_neither_used_nor_replaced(here: Path) -> None:
    path = with_weights(here, "w")
    line = f"optimize {path} --data {here / 'data.npz'} --tol 9 --threads 1 --max-builds 1"
    assert run([*line.split(), "--artifact", "a.onnx", "-o", "p.json"]) == 0
    (weights,) = Path().glob("*.weights")
    weights.write_bytes(b"others")
    with pytest.raises(ReplayError, match=r"beside 'a\.onnx' are missing or others"):
        api.verify("p.json", path, here / "data.npz", artifact="a.onnx")
    with pytest.raises(OutputError, match="is not what its name says"):
        api.build("p.json", path, "b.onnx")
    assert weights.read_bytes() == b"others"
    weights.unlink()
    Path("secret").write_bytes(b"kept")
    weights.symlink_to("secret")
    with pytest.raises(OutputError, match="is not what its name says"):
        api.build("p.json", path, "b.onnx")
    assert Path("secret").read_bytes() == b"kept"
    weights.unlink()
    api.build("p.json", path, "b.onnx")
    assert api.verify("p.json", path, here / "data.npz", artifact="b.onnx", tol=99).loss < 99


@pytest.mark.parametrize(
    ("key", "value"), [("location", "x"), ("offset", "0"), ("offset", "1_0"), ("length", "٣")]
)
def test_entries_that_readers_understand_differently_are_refused(
    here: Path, key: str, value: str
) -> None:
    made = model()
    tensor = outside("w.bin")
    if not value.isascii() or "_" in value:
        entry = next(e for e in tensor.external_data if e.key == key)
        entry.value = value
    else:
        tensor.external_data.add(key=key, value=value)
    in_initializer(made, tensor)
    (here / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelError, match="malformed external-data entry"):
        read_model(here / "model.onnx")


def test_too_many_bytes_for_a_message_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precsearch.graph.reading.external._MOST_TAKEN_IN", 11)
    with pytest.raises(ModelError, match="keeps 12 bytes outside of its file"):
        read_model(put(here, in_function))
    assert read_model(put(here, in_initializer)).external


def test_a_pipe_is_refused_as_a_file_of_weights(here: Path) -> None:
    (here / "w.bin").unlink()
    os.mkfifo(here / "w.bin")
    with pytest.raises(ModelError, match="is missing"):
        read_model(put(here, in_initializer))


def test_preparing_reads_no_file_of_the_working_directory(here: Path) -> None:
    Path("w.bin").write_bytes(bytes(24))  # here is away: another file of the same name
    for place in USED:
        graph = prepare(read_model(put(here, place)))
        values = [w.array for w in graph.weights.values() if w.shape == (3,)]
        assert all(v.any() for v in values)


def test_a_file_of_many_weights_is_looked_up_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(40))
    weights = [outside("a.bin", 2, f"w{i}") for i in range(5)]
    for i, tensor in enumerate(weights):
        move(tensor, "a.bin", 8 * i, 8)
    followed: list[Path] = []

    def counted(path: Path) -> Path:
        followed.append(path)
        return resolved(path)

    monkeypatch.setattr("precsearch.graph.reading.external.resolved", counted)
    places = list(external.extents(weights, tmp_path, "m.onnx"))
    assert [(p.file, p.offset, p.length) for p in places] == [
        (tmp_path / "a.bin", 8 * i, 8) for i in range(5)
    ]
    assert followed == [tmp_path / "a.bin"]


@pytest.mark.parametrize("bad", ["../a.bin", "link.bin", "missing.bin"])
def test_a_good_file_does_not_vouch_for_the_next_one(tmp_path: Path, bad: str) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a.bin").write_bytes(bytes(12))
    (tmp_path / "a.bin").write_bytes(bytes(12))
    (folder / "link.bin").symlink_to(tmp_path / "a.bin")
    weights = [outside("a.bin"), outside(bad)]
    with pytest.raises(ModelError, match=r"outside of the model's folder|is missing"):
        list(external.extents(weights, folder, "m.onnx"))
