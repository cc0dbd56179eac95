"""Random data is as a model would be fed: masks, token types, batches and sequences."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.errors import DataError
from precsearch.data import InputSpec
from precsearch.data.synthetic import random_feeds
from precsearch.metrics import metric
from precsearch.metrics.blocks import _CELLS
from precsearch.setup.shapes import shape_table

INT64, FLOAT = np.dtype(np.int64), np.dtype(np.float32)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("input_ids", 0, 9), ("attention_mask", 1, 1), ("token_type_ids", 0, 0), ("segment", 0, 0)],
)
def test_integers_follow_the_names_of_their_inputs(name: str, low: int, high: int) -> None:
    feeds, _ = random_feeds([InputSpec(name, INT64, ("batch", "sequence"))], 4, 0)
    values = np.stack([f[name] for f in feeds])
    assert (int(values.min()), int(values.max())) == (low, high)
    assert values.dtype == INT64


def test_a_first_axis_without_a_name_is_the_batch() -> None:
    specs = [InputSpec("x", FLOAT, (None, 3)), InputSpec("ids", INT64, (None, None))]
    feeds, notes = random_feeds(specs, 5, 0)
    assert feeds[0]["x"].shape == (5, 3)
    assert feeds[0]["ids"].shape == (5, 16)
    assert any("taken as 16" in note for note in notes)
    with pytest.raises(DataError, match="the size of axis 2 of input"):
        random_feeds([InputSpec("x", FLOAT, (None, 3, None))], 5, 0)


def test_both_values_of_flags_are_drawn() -> None:
    feeds, _ = random_feeds([InputSpec("keep", np.dtype(bool), ("batch", 64))], 2, 0)
    assert {bool(v) for v in feeds[0]["keep"].ravel()} == {True, False}


def feed(*shape: int) -> dict[str, np.ndarray]:
    return {"x": np.zeros(shape, np.float32), "y": np.zeros((shape[0], 2), np.float32)}


def test_of_many_shapes_the_first_and_the_extremes_are_kept() -> None:
    few = [feed(2, 8), feed(1, 9), feed(2, 8)]
    assert [s["x"] for s in shape_table(few)] == [(2, 8), (1, 9)]
    many = [feed(n, 20 - n) for n in (3, 1, 2, 5, 4)]
    first, least, most = shape_table(many)
    assert first == {"x": (3, 17), "y": (3, 2)}
    assert least == {"x": (1, 15), "y": (1, 2)}
    assert most == {"x": (5, 19), "y": (5, 2)}


@pytest.mark.parametrize("widths", [(4, 4, 4), (4, 6, 4), (_CELLS // 4, _CELLS // 4, 4)])
def test_a_loss_does_not_depend_on_how_feeds_are_put_together(widths: tuple[int, ...]) -> None:
    """Feeds of one width are compared as one block, of several or very large ones in several."""
    rng = np.random.default_rng(0)
    wanted = [{"y": rng.standard_normal((3, w)).astype(np.float32)} for w in widths]
    found = [{"y": f["y"] * np.float32(1 + 0.01 * i)} for i, f in enumerate(wanted)]
    rows = metric("rel-l2").score(found, wanted, sizes=[3] * len(widths))
    assert rows.per_sample == pytest.approx([0.0] * 3 + [0.01] * 3 + [0.02] * 3, rel=1e-3, abs=1e-9)
