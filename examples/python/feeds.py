"""An iterable of feeds, a metric of your own, a layer that stays in FP32, and progress."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

import precsearch
from precsearch.core.events import Event, TrialFinished

Array = npt.NDArray[np.float32]


def feeds() -> Iterator[Mapping[str, Array]]:
    """Rows or batches; a DataLoader or a data set of Hugging Face does as well."""
    generator = np.random.default_rng(0)
    for _ in range(16):
        yield {"x": generator.normal(size=(1, 8, 8)).astype(np.float32)}


def worst(
    outputs: Sequence[Mapping[str, Array]], reference: Sequence[Mapping[str, Array]]
) -> float:
    """Largest difference of any output element."""
    return max(float(abs(o["y"] - r["y"]).max()) for o, r in zip(outputs, reference, strict=True))


def progress(event: Event) -> None:
    if isinstance(event, TrialFinished):
        print(f"{event.builds} engines in {event.elapsed:.1f} s")


result = precsearch.optimize(
    "model.onnx",
    feeds(),
    tol=1e3,
    metric=worst,
    pin={"op:MatMul": "fp32"},
    max_builds=4,
    output="pinned.plan.json",
    on_event=progress,
)
report = result.verify("data.npz")
print(report.passed, report.loss, report.latency.ratio)
