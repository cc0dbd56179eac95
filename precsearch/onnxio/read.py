"""Reading an ONNX file as hostile input: sizes, external data and structure are checked first."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from precsearch.errors import ModelError

__all__ = ["SourceModel", "read_model"]

_CHUNK = 1 << 20
_MAX_BYTES = (1 << 31) - 1
"""What a protobuf message can have; the weights of a larger model lie in files beside it."""

_NEWEST_OPSET = 1 << 16
"""Far beyond any; what is above is damage."""

_IN_MEMORY = "_ORT_MEM_ADDR_"
"""ONNX Runtime's mark for weights whose 'offset' is an address to read from."""


@dataclass(frozen=True)
class SourceModel:
    """An ONNX model as it lies on disk.

    Attributes:
        path: The file.
        proto: Parsed, external weights not loaded.
        digest: SHA-256 of the file followed by its external files in order of name, as hex.
        external: Its external weight files, resolved, all inside the model's folder.
        weights_files: The same by the place that the model names, relative to its folder.
    """

    path: Path
    proto: onnx.ModelProto
    digest: str
    external: tuple[Path, ...]
    weights_files: tuple[tuple[str, Path], ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that external weights are relative to."""
        return self.path.resolve().parent

    @property
    def opset(self) -> int:
        """Version of the default operator set, 1 if none is named."""
        return next((o.version for o in self.proto.opset_import if o.domain in ("", "ai.onnx")), 1)


def read_model(path: str | Path) -> SourceModel:
    """Read and check an ONNX model.

    Raises:
        ModelError: The file is missing, is no ONNX model, has no nodes, or names external data
            that is missing or lies outside of the model's folder.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"there is no model file {str(path)!r}; name an .onnx file")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ModelError(
                f"{str(path)!r} is over 2 GB, which no ONNX file can be; save the model with "
                "external data"
            )
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} is not a readable ONNX model ({error}); export it again"
        ) from error
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(
            f"{str(path)!r} holds no ONNX graph with nodes and outputs; check the file"
        )
    for opset in proto.opset_import:
        if not 1 <= opset.version <= _NEWEST_OPSET:
            raise ModelError(
                f"{str(path)!r} names version {opset.version} of the operators "
                f"{opset.domain or 'ai.onnx'!r}, which cannot be; export it again"
            )
    try:
        files = _external_files(proto, path)
        external = tuple(sorted(set(files.values())))
        return SourceModel(
            path, proto, _digest([path, *external]), external, tuple(sorted(files.items()))
        )
    except OSError as error:
        raise ModelError(
            f"the files of {str(path)!r} cannot be read ({error.strerror}); check them"
        ) from error


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: of its graphs, their subgraphs and its functions."""
    for info in proto.training_info:
        yield from _of_graph(info.initialization)
        yield from _of_graph(info.algorithm)
    for function in proto.functions:
        yield from _of_nodes(function.node)
    yield from _of_graph(proto.graph)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            yield from _of_sparse([attribute.sparse_tensor, *attribute.sparse_tensors])
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            for sub in attribute.graphs:
                yield from _of_graph(sub)


def _of_sparse(found: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for sparse in found:
        yield sparse.values
        yield sparse.indices


def _external_files(proto: onnx.ModelProto, path: Path) -> dict[str, Path]:
    """External files by the place that the model names."""
    folder = path.resolve().parent
    files: dict[str, Path] = {}
    for tensor in _tensors(proto):
        _check_size(tensor)
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        # ONNX Runtime before 1.24 opens whatever is named here, so nothing may leave the folder,
        # by an absolute path, by '..' or through a symbolic link.
        target = _resolved(folder, location)
        if (
            not location
            or Path(location).is_absolute()
            or ".." in Path(location).parts
            or _IN_MEMORY in location
            or target is None
            or not target.is_relative_to(folder)
        ):
            raise ModelError(
                f"tensor {tensor.name!r} keeps its data in {location[:100]!r}, outside of the "
                "model's folder; move the file beside the model and save it with a relative path"
            )
        if not target.is_file():
            raise ModelError(
                f"the external data file {location!r} is missing; copy it beside {path.name!r}"
            )
        _check_extent(tensor, entries, target)
        files[Path(location).as_posix()] = target
    return files


def _resolved(folder: Path, location: str) -> Path | None:
    try:
        target = (folder / location).resolve()
        target.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a loop of links
        return None
    return target


def _bytes_of(tensor: onnx.TensorProto) -> int | None:
    """What the data of a tensor takes; ``None`` where its type does not tell."""
    try:
        bits = ir.DataType(tensor.data_type).bitwidth
    except (ValueError, TypeError):
        return None
    return (math.prod(tensor.dims) * bits + 7) // 8 if min(tensor.dims, default=0) >= 0 else -1


def _check_size(tensor: onnx.TensorProto) -> None:
    wanted = _bytes_of(tensor)
    found = len(tensor.raw_data) if tensor.HasField("raw_data") else wanted
    if wanted is not None and (wanted < 0 or found != wanted):
        raise ModelError(
            f"tensor {tensor.name!r} has shape {list(tensor.dims)[:8]} and {found} bytes of data, "
            "which do not fit; the file is damaged: export the model again"
        )


def _check_extent(tensor: onnx.TensorProto, entries: dict[str, str], target: Path) -> None:
    name = tensor.name
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError as error:
        raise ModelError(
            f"tensor {name!r} has a malformed external-data entry ({error}); export the model again"
        ) from error
    wanted = _bytes_of(tensor)
    if length and wanted is not None and length != wanted:
        raise ModelError(
            f"tensor {name!r} needs {wanted} bytes, but its external-data entry names {length}; "
            "export the model again"
        )
    if offset < 0 or length < 0 or offset + (length or wanted or 0) > target.stat().st_size:
        raise ModelError(
            f"tensor {name!r} reaches past the end of {target.name!r}; the file is truncated or "
            "belongs to another model"
        )


def _digest(paths: list[Path]) -> str:
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
    return sha.hexdigest()
