"""`diagnose` from Python, of a model and data that may be in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from precsearch.api.given import Data, Model, data_file, model_file
from precsearch.api.options import FilePath, precisions_of
from precsearch.core.precision import Precision
from precsearch.diagnosis import compare
from precsearch.diagnosis.result import Diagnosis

__all__ = ["diagnose"]


def diagnose(
    model: Model,
    data: Data | None = None,
    *,
    precision: str | Precision = Precision.FP16,
    plan: FilePath | None = None,
    backend: str = "auto",
    granularity: str = "group",
    batch: int = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    columns: Mapping[str, str] | None = None,
    samples: int = 64,
    preprocess: str = "",
    memory_mb: int = compare.BUDGET_MB,
    suggest: bool = False,
) -> Diagnosis:
    """Every tensor of a model in a precision beside FP32's, and where the difference begins.

    Args:
        model: As for `precsearch.optimize`.
        data: Samples, as `optimize` takes them; the first 64 are used. ``None`` is random numbers.
        precision: Everything that can, in this precision; not with ``plan``.
        plan: A plan's assignment and scales.
        backend: Name of the engine whose rules are followed.
        granularity: ``node``, ``group`` or ``block``.
        batch: Samples of one feed.
        input_shapes: Input → shape, where random numbers are made.
        columns: Column of the data → input of the model.
        samples: Most samples to take of an iterable.
        preprocess: As for `precsearch.optimize`.
        memory_mb: For tensors under comparison, in MB.
        suggest: Whether to look for rewrites that make FP16 accurate.

    Raises:
        InputError: The model, data or plan cannot be read, or an option is wrong.
        ReplayError: The plan is another model's.
        RunError: The model fails on the data.
    """
    (asked,) = precisions_of([precision]) or (Precision.FP16,)
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        config = compare.DiagnoseConfig(
            model=path,
            data=data_file(data, path, Path(folder), columns=columns, samples=samples),
            precision=asked,
            plan=None if plan is None else Path(plan),
            backend=backend,
            granularity=granularity,
            batch=batch,
            input_shapes=dict(input_shapes or {}),
            memory_mb=memory_mb,
            suggest=suggest,
            preprocess=preprocess,
        )
        return compare.diagnose(config)
