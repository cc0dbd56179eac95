"""Reading an ONNX file as hostile input: sizes, external data and structure are checked first."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from precsearch.errors import ModelError

__all__ = ["SourceModel", "read_model"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SourceModel:
    """An ONNX model as it lies on disk.

    Attributes:
        path: The file.
        proto: Parsed, external weights not loaded.
        digest: SHA-256 of the file followed by its external files in order of name, as hex.
        external: Its external weight files, resolved, all inside the model's folder.
    """

    path: Path
    proto: onnx.ModelProto
    digest: str
    external: tuple[Path, ...]

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
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} is not a readable ONNX model ({error}); export it again"
        ) from error
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(
            f"{str(path)!r} holds no ONNX graph with nodes and outputs; check the file"
        )
    external = _external_files(proto, path)
    return SourceModel(path, proto, _digest([path, *external]), external)


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Every tensor of a graph and its subgraphs: initializers and attribute values."""
    found = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        found += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            found += [attribute.t, *attribute.tensors]
            for sub in (attribute.g, *attribute.graphs):
                if sub.node:
                    found += _tensors(sub)
    return found


def _external_files(proto: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    folder = path.resolve().parent
    files: set[Path] = set()
    for tensor in _tensors(proto.graph):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        # ONNX Runtime before 1.24 opens whatever is named here, so nothing may leave the folder,
        # by an absolute path, by '..' or through a symbolic link.
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ModelError(
                f"tensor {tensor.name!r} keeps its data in {location!r}, outside of the model's "
                "folder; move the file beside the model and save it with a relative path"
            )
        if not target.is_file():
            raise ModelError(
                f"the external data file {location!r} is missing; copy it beside {path.name!r}"
            )
        _check_extent(tensor.name, entries, target)
        files.add(target)
    return tuple(sorted(files))


def _check_extent(name: str, entries: dict[str, str], target: Path) -> None:
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", 0))
    except ValueError as error:
        raise ModelError(
            f"tensor {name!r} has a malformed external-data entry ({error}); export the model again"
        ) from error
    if offset < 0 or length < 0 or offset + length > target.stat().st_size:
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
