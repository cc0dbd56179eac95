"""Files for what was given in memory: the model, the data, and a metric's function.

A search runs in processes of its own, can be resumed and is verified later, so that what it was
given is on disk: in the folder ``given`` of the run directory, under the digest of its content.
Nothing is written twice, and nothing of the user's is ever replaced.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, ModelError
from precsearch.data.spec import LABELS, REFERENCE, InputSpec, batch_axis, input_specs
from precsearch.graph import ir
from precsearch.graph.reading.read import read_model
from precsearch.setup.files import write_bytes

__all__ = ["GIVEN", "Data", "Model", "data_file", "model_file", "model_name", "specs_of"]

Model: TypeAlias = "str | os.PathLike[str] | onnx.ModelProto | ir.Model"
"""An ONNX model: its path, or the model itself."""
Data: TypeAlias = "str | os.PathLike[str] | Mapping[str, object] | Iterable[object]"
"""Samples: a path as on the command line; arrays with the samples along axis 0, as a dictionary by
name, as a tuple in the order of the inputs, or alone; or an iterable of feeds, such as a DataLoader
or a data set of Hugging Face."""

GIVEN = "given"
_LARGE = 1 << 30
"""Bytes from which weights go into a file of their own: Protocol Buffers end at 2 GB."""
_DIGITS = 12


def model_name(model: Model) -> str:
    """What files of the model are called: the stem of its path, or its graph's name.

    Raises:
        ModelError: It is no model.
    """
    if isinstance(model, (str, os.PathLike)):
        return Path(model).stem
    if not isinstance(model, (onnx.ModelProto, ir.Model)):
        raise ModelError(
            f"a model is a path, an onnx.ModelProto or an onnx_ir.Model, not a "
            f"{type(model).__name__}; export it to ONNX first"
        )
    name = model.graph.name or ""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:64] or "model"


def model_file(model: Model, folder: Path) -> Path:
    """The path of a model; one in memory is written below ``folder``.

    Args:
        model: The model. The weights of an ``onnx.ModelProto`` must be inside it.
        folder: Of the run.

    Raises:
        ModelError: It is no model, or its weights are in files that nobody can find.
        OutputError: It cannot be written.
    """
    if isinstance(model, (str, os.PathLike)):
        return Path(model)
    name = model_name(model)
    if isinstance(model, ir.Model):
        return _written_ir(model, name, folder)
    external = onnx.TensorProto.EXTERNAL
    if any(t.data_location == external for t in model.graph.initializer):
        raise ModelError(
            "the weights of this onnx.ModelProto are in files of their own; give the path of the "
            "model, or load it with onnx.load, which takes the weights in"
        )
    content = model.SerializeToString(deterministic=True)
    return _keep(folder, f"{name}.onnx", content)


def _written_ir(model: ir.Model, name: str, folder: Path) -> Path:
    values = [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]
    if sum(v.nbytes for v in values) < _LARGE:
        content = ir.serde.serialize_model(_within(model)).SerializeToString(deterministic=True)
        return _keep(folder, f"{name}.onnx", content)
    sha = hashlib.sha256()
    for value in values:
        sha.update(f"{value.name} {value.shape}".encode())
        sha.update(value.tobytes())
    place = folder / GIVEN / sha.hexdigest()[:_DIGITS]
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.onnx"
    ir.save(model, path, external_data=f"{name}.weights")
    return path


def _within(model: ir.Model) -> ir.Model:
    """A model whose weights are in memory; the caller's own stays as it is."""
    if any(isinstance(v.const_value, ir.ExternalTensor) for v in model.graph.initializers.values()):
        return ir.external_data.load_to_model(model.clone())
    return model


def specs_of(model: Path) -> tuple[InputSpec, ...]:
    """The inputs that a model's data must have.

    Raises:
        ModelError: The model cannot be read.
    """
    graph = read_model(model).proto.graph
    constants = {t.name for t in graph.initializer}
    return input_specs(v for v in graph.input if v.name not in constants)


def data_file(
    data: Data | None,
    model: Path,
    folder: Path,
    *,
    columns: Mapping[str, str] | None = None,
    samples: int = 1024,
) -> Path | None:
    """The path of some data; what is in memory is written below ``folder``.

    Args:
        data: The samples; ``None`` for none.
        model: The model that they are for.
        folder: Of the run.
        columns: Name in the data → name of the input, or ``labels``; others are left out.
        samples: Most samples to take of an iterable.

    Raises:
        DataError: It is no data, or does not fit the model's inputs.
        OutputError: It cannot be written.
    """
    if data is None or isinstance(data, (str, os.PathLike)):
        return None if data is None else Path(data)
    from precsearch.api.arrays import feeds_of, stacked_of  # late: a path needs none of it

    specs = specs_of(model)
    stacked = stacked_of(data, specs, columns)
    if stacked is not None:
        return _keep(folder, "data.npz", *_packed(stacked))
    if not isinstance(data, Iterable):
        raise DataError(
            f"data is a path, arrays or an iterable of feeds, not a {type(data).__name__}"
        )
    feeds = feeds_of(data, specs, columns, samples)
    joined = _joined(feeds, specs)
    if joined is not None:
        return _keep(folder, "data.npz", *_packed(joined))
    packed = [_packed(feed) for feed in feeds]
    digest = hashlib.sha256(" ".join(d for _, d in packed).encode()).hexdigest()
    for number, (content, _) in enumerate(packed):
        path = _keep(folder, f"feeds/{number:06}.npz", content, digest)
    return path.parent


def _joined(
    feeds: Sequence[Mapping[str, Array]], specs: Sequence[InputSpec]
) -> dict[str, Array] | None:
    """All samples along axis 0; ``None`` where feeds have to stay whole.

    Feeds stay whole if an input does not lead with the batch, or if shapes differ beyond it.
    """
    if batch_axis(specs).offender is not None:
        return None
    first = feeds[0]
    if any(set(feed) != set(first) for feed in feeds):
        return None
    if len({tuple((k, a.shape[1:]) for k, a in sorted(feed.items())) for feed in feeds}) != 1:
        return None
    sides = [k for k in first if k == LABELS or k.startswith(REFERENCE)]
    if any(feed[k].ndim == 0 for feed in feeds for k in first if k not in sides):
        return None
    rows = {k: [feed[k] for feed in feeds] for k in first}
    return {k: np.concatenate(v) if v[0].ndim else np.stack(v) for k, v in rows.items()}


def _packed(arrays: Mapping[str, Array]) -> tuple[bytes, str]:
    """An archive, and the digest of what is in it."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue(), sha.hexdigest()


def _keep(folder: Path, name: str, content: bytes, digest: str = "") -> Path:
    """Write a file under its digest, unless it is there."""
    digest = digest or hashlib.sha256(content).hexdigest()
    path = folder / GIVEN / digest[:_DIGITS] / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    return path
