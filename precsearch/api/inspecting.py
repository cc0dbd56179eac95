"""`inspect` from Python, of a model and data that may be in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from precsearch.api.given import Data, Model, data_file, model_file
from precsearch.api.options import FilePath, control_of, precisions_of
from precsearch.core.precision import Precision
from precsearch.grouping.control import Control
from precsearch.optimization.preview import inspection
from precsearch.optimization.preview.inspection import Inspection

__all__ = ["inspect"]


def inspect(
    model: Model,
    data: Data | None = None,
    *,
    backend: str = "auto",
    precisions: Sequence[str | Precision] | None = None,
    granularity: str = "group",
    columns: Mapping[str, str] | None = None,
    samples: int = 64,
    preprocess: str = "",
    run: FilePath | None = None,
    profile: bool = False,
    threads: int = 0,
    pin: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    control: Control | None = None,
) -> Inspection:
    """A model's layer groups and their choices; with data, also what FP16 would get wrong.

    Args:
        model: As for `precsearch.optimize`.
        data: Samples, as `optimize` takes them: hazards are searched in them, and engines timed.
        backend: Name of the engine.
        precisions: What groups may be given; ``None`` is all that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        columns: Column of the data → input of the model.
        samples: Most samples to take of an iterable.
        preprocess: As for `precsearch.optimize`.
        run: The run directory or journal of an earlier `precsearch.optimize` of this model, to take
            the FP32 time from.
        profile: Time the FP32 engine now, for some seconds.
        threads: CPU threads of one inference that is timed; 0 is the number of physical cores.
        pin: As for `precsearch.optimize`: what a search would be left with.
        exclude: Patterns of groups that stay in FP32, as in `optimize`.
        only: Patterns of the groups that may be lowered, as in `optimize`.
        control: The same as ``pin``, ``exclude`` and ``only`` in one.

    Raises:
        InputError: The model or the data cannot be read, or an option is wrong.
        WorkerError: ONNX Runtime crashed or hung on the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        given = data_file(data, path, Path(folder), columns=columns, samples=samples)
        return inspection.inspect(
            path,
            backend=backend,
            precisions=precisions_of(precisions),
            granularity=granularity,
            data=given,
            run=None if run is None else Path(run),
            profile=profile,
            threads=threads,
            control=control or control_of(pin, exclude, only),
            preprocess=preprocess,
        )
