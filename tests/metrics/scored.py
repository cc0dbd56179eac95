"""What the tests of metrics share: metrics, outputs that are drawn, a score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.core.backend import Array, Feed
from precsearch.core.trial import Accuracy
from precsearch.metrics import metric

CONTINUOUS = ["rel-l2", "rel-l2-max", "max-abs", "cosine", "sqnr", "psnr"]
RELATIVE = ["rel-l2", "rel-l2-max", "cosine", "sqnr", "psnr"]
names = st.sampled_from(CONTINUOUS)
finite = st.floats(-1e4, 1e4, width=32)


@st.composite
def pairs(draw: st.DrawFn, least: int = 1) -> tuple[npt.NDArray[np.float32], ...]:
    """Reference and output of the same shape [samples, elements]."""
    shape = draw(st.tuples(st.integers(least, 20), st.integers(1, 6)))
    reference = draw(hnp.arrays(np.float32, shape, elements=finite))
    noise = draw(hnp.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)))
    return reference, reference + noise


def feeds(rows: Array, name: str = "y") -> list[Feed]:
    return [{name: rows[i : i + 1]} for i in range(len(rows))]


def score(name: str, output: Array, reference: Array, labels: Array | None = None) -> Accuracy:
    return metric(name).score(feeds(output), feeds(reference), labels, sizes=[1] * len(output))
