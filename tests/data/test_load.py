"""From files to feeds: what is accepted, how it is cut, and the sentence for what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, ModelError, OptionError
from precsearch.data import InputSpec, input_specs, load, resolve
from tests.data.data_files import F4, FIXED, I8, IMAGE, STATE, TEXT, rows, save


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(n=st.integers(1, 20), batch=st.integers(1, 6))
def test_samples_are_cut_into_feeds(tmp_path: Path, n: int, batch: int) -> None:
    path = save(tmp_path, x=rows(n), labels=np.arange(n), __ref__y=rows(n) * 2)
    if n < batch:
        with pytest.raises(DataError, match="fewer than one batch"):
            load(path, IMAGE, batch=batch)
        return
    data = load(path, IMAGE, batch=batch, outputs=["y"])
    kept = n // batch * batch
    assert data.sizes == (batch,) * (n // batch)
    assert data.samples == kept
    np.testing.assert_array_equal(np.concatenate([f["x"] for f in data.feeds]), rows(n)[:kept])
    assert data.flat_labels is not None
    assert data.flat_labels.tolist() == list(range(kept))
    assert data.references is not None
    np.testing.assert_array_equal(data.references[-1]["y"], data.feeds[-1]["x"] * 2)
    assert bool(data.notes) == (kept != n)
    assert all(f["x"].flags.c_contiguous and not f["x"].flags.writeable for f in data.feeds)


def test_the_fixed_batch_of_a_model_is_kept(tmp_path: Path) -> None:
    data = load(save(tmp_path, x=rows(7)), FIXED)
    assert data.sizes == (2, 2, 2)
    assert "the last 1 of 7" in data.notes[0]
    with pytest.raises(OptionError, match="fixes it at 2"):
        load(save(tmp_path, x=rows(7)), FIXED, batch=4)


def test_one_more_axis_means_whole_feeds(tmp_path: Path) -> None:
    path = save(tmp_path, x=rows(6).reshape(3, 2, 3), labels=np.arange(6).reshape(3, 2))
    data = load(path, FIXED)
    assert data.sizes == (2, 2, 2)
    assert data.flat_labels is not None
    assert data.flat_labels.tolist() == list(range(6))
    path = save(tmp_path, x=np.ones((5, 1, 3), np.float32), state=np.ones((5, 2, 1, 4), np.float32))
    data = load(path, STATE)
    assert len(data) == 5
    assert data.sizes == (1,) * 5
    assert data.feeds[0]["state"].shape == (2, 1, 4)


def test_one_label_per_whole_feed(tmp_path: Path) -> None:
    chw = (InputSpec("x", F4, (3, 4, 4)),)
    path = save(tmp_path, x=np.ones((5, 3, 4, 4), np.float32), labels=np.arange(5))
    data = load(path, chw)
    assert data.sizes == (1,) * 5
    assert data.flat_labels is not None
    assert data.flat_labels.shape == (5,)


def test_an_input_that_does_not_start_with_the_batch_asks_for_whole_feeds(tmp_path: Path) -> None:
    path = save(tmp_path, x=rows(4), state=np.ones((4, 2, 4), np.float32))
    with pytest.raises(DataError, match=r"'state'.*whole feeds"):
        load(path, STATE)
    time_first = (InputSpec("x", F4, ("time", "batch", 3)),)
    with pytest.raises(DataError, match="whole feeds"):
        load(save(tmp_path, x=np.ones((4, 2, 3), np.float32)), time_first)


def test_a_mixture_of_samples_and_whole_feeds_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, ids=np.ones((4, 8), np.int64), mask=np.ones((4, 1, 8), np.int64))
    with pytest.raises(DataError, match=r"'mask'.*reshape"):
        load(path, TEXT)


@pytest.mark.parametrize(
    ("given_dtype", "wanted", "cast"),
    [
        (np.float32, np.float32, False),
        (np.float64, np.float32, True),
        (np.int32, np.int64, True),
        (np.dtype(">f4"), np.float32, False),
        (np.int64, np.float32, None),
        (np.float32, np.int64, None),
        (np.float16, np.float32, None),
        (np.int64, np.int32, None),
        (np.uint8, np.bool_, None),
        (np.dtype("<U2"), np.float32, None),
    ],
)
def test_only_lossless_casts_are_made(
    tmp_path: Path, given_dtype: object, wanted: type, cast: bool | None
) -> None:
    array: Array = np.ones((2, 3)).astype(np.dtype(given_dtype))  # type: ignore[call-overload]
    specs = (InputSpec("x", np.dtype(wanted), ("batch", 3)),)
    path = save(tmp_path, x=array)
    if cast is None:
        with pytest.raises(DataError, match="convert it with"):
            load(path, specs)
        return
    data = load(path, specs)
    assert data.feeds[0]["x"].dtype == np.dtype(wanted)
    assert len(data.notes) == cast


BAD = {
    "missing": ({"y": rows(2)}, "lacks 'x'"),
    "unknown": ({"x": rows(2), "z": rows(2)}, "'z', which is no input.*expects 'x'"),
    "output": ({"x": rows(2), "__ref__logit": rows(2)}, "outputs are logits"),
    "columns": ({"x": np.ones((2, 4), np.float32)}, r"takes 'x' \(float32 \[batch, 3\]\)"),
    "rank": ({"x": np.ones((2, 3, 3, 1), np.float32)}, "reshape"),
    "scalar": ({"x": np.float32(1).reshape(())}, "reshape"),
    "empty": ({"x": rows(0)}, "no samples"),
    "overflow in the cast": ({"x": np.full((2, 3), 1e300)}, "beyond float32 in feed 0"),
    "labels": ({"x": rows(2), "labels": np.arange(3)}, "'labels'.*3 entries.*2 samples"),
    "reference": ({"x": rows(2), "__ref__logits": rows(3)}, "'__ref__logits'.*3 entries"),
    "text": ({"x": rows(2), "__ref__logits": np.array(["a", "b"])}, "not numbers"),
    "objects": ({"x": np.array([[1], [1, 2]], dtype=object)}, "Python objects"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD.keys())
def test_data_that_does_not_fit_is_refused(
    tmp_path: Path, arrays: dict[str, Array], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(save(tmp_path, "data.npz", **arrays), IMAGE, outputs=["logits"])


def test_inputs_of_different_lengths_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, ids=np.ones((3, 8), np.int64), mask=np.ones((4, 8), np.int64))
    with pytest.raises(DataError, match="'ids' 3, 'mask' 4"):
        load(path, TEXT)


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_are_accepted_as_data(tmp_path: Path, odd: float) -> None:
    data = load(save(tmp_path, x=np.full((2, 3), odd)), IMAGE)
    np.testing.assert_array_equal(data.feeds[0]["x"], np.full((1, 3), odd, np.float32))


def test_an_input_may_have_a_size_of_zero_but_a_batch_may_not(tmp_path: Path) -> None:
    specs = (InputSpec("past", F4, ("batch", 4, "past_len")), InputSpec("x", F4, ("batch", 3)))
    feeds = save(tmp_path, past=np.ones((2, 4, 0), np.float32), x=rows(2))
    assert load(feeds, specs, shapes={"past": (1, 4, 0)}).feeds[0]["past"].shape == (1, 4, 0)
    with pytest.raises(DataError, match="no samples"):
        load(None, IMAGE, shapes={"x": (0, 3)})


@pytest.mark.parametrize("name", ["?", "", "??", "None", "-1", "unknown"])
def test_dimensions_without_a_name_are_independent(name: str) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [name, 3, name, name])
    (spec,) = input_specs([value])
    assert spec.dims == (None, 3, None, None)
    (resolved,) = resolve((spec,), {"x": (1, 3, 48, 192)})
    assert resolved.dims == (1, 3, 48, 192)


def test_references_may_hold_infinities(tmp_path: Path) -> None:
    data = load(save(tmp_path, x=rows(2), __ref__y=np.full((2, 1), -np.inf)), IMAGE)
    assert data.references is not None


@pytest.mark.parametrize(
    "shapes",
    [{"z": (1, 3)}, {"x": (1, 4)}, {"x": (3,)}, {"x": (1, 3), "state": (2, 2, 4)}],
)
def test_shapes_that_contradict_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(OptionError):
        load(None, STATE, shapes=shapes)


def test_a_batch_that_contradicts_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, x=np.ones((4, 1, 3), np.float32))
    with pytest.raises(OptionError, match="whole feeds"):
        load(path, IMAGE, batch=2)
    with pytest.raises(OptionError, match="batch of 0"):
        load(path, IMAGE, batch=0)
    with pytest.raises(OptionError, match="at 4"):
        load(path, IMAGE, batch=2, shapes={"x": (4, 3)})


def test_specs_come_from_the_graph() -> None:
    make = helper.make_tensor_value_info
    values = [
        make("a", TensorProto.FLOAT, ["batch", 3, None, 0]),
        make("b", TensorProto.INT64, None),
        make("c", TensorProto.BOOL, []),
    ]
    specs = input_specs(values)
    assert [s.dims for s in specs] == [("batch", 3, None, None), None, ()]
    assert [s.dtype for s in specs] == [F4, I8, np.dtype(np.bool_)]
    assert str(specs[0]) == "'a' (float32 [batch, 3, ?, ?])"
    strings = make("s", TensorProto.STRING, [1])
    sequence = onnx.helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None)
    for value in (strings, sequence):
        with pytest.raises(ModelError, match="numeric"):
            input_specs([value])


def test_an_input_of_unknown_rank_takes_samples(tmp_path: Path) -> None:
    specs = (InputSpec("x", F4, None),)
    assert load(save(tmp_path, x=rows(4)), specs, batch=2).sizes == (2, 2)
