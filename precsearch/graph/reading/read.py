"""Reading an ONNX file as hostile input: sizes, external data and structure are checked first."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.graph.reading.external import digest, external_files, taken_in
from precsearch.graph.reading.messages import check_utf8
from precsearch.graph.reading.widen import exported_in, widened
from precsearch.system.regular_file import is_regular, read_regular

__all__ = ["SourceModel", "read_model"]

_MAX_BYTES = (1 << 31) - 1
"""What a protobuf message can have; the weights of a larger model lie in files beside it."""

_NEWEST_OPSET = 1 << 16
"""Far beyond any; what is above is damage."""


@dataclass(frozen=True)
class SourceModel:
    """An ONNX model as it lies on disk.

    Attributes:
        path: The file.
        proto: Parsed; of external data, the weights of the main graph are not loaded, all others
            are.
        digest: SHA-256 of the file followed by its external files in order of name, as hex.
        external: Its external weight files, resolved, all inside the model's folder.
        exported: The float type of the file. ``proto`` is in FP32 all the same, with the weights
            inside, see `precsearch.graph.reading.widen`.
    """

    path: Path
    proto: onnx.ModelProto
    digest: str
    external: tuple[Path, ...]
    exported: Precision = Precision.FP32

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about how the model is read."""
        if self.exported is Precision.FP32:
            return ()
        name = self.exported.value.upper()
        fed = self.exported.spec.format.in_numpy
        ends = "" if fed else f", inputs and outputs of {name} too"
        return (
            f"the model is exported in {name}; it is read in FP32 with the same weights{ends}, "
            "which errors and speeds are relative to",
        )

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
        ModelError: The file is missing, is no ONNX model, has a name that ONNX Runtime cannot
            open, has no nodes, holds a name that is not UTF-8, or names external data that is
            missing or lies outside of the model's folder; or it is exported in FP16 or BF16 and has
            a malformed weight or takes over 2 GB in FP32.
    """
    path = Path(path)
    _check_name(path)
    if not is_regular(path):
        raise ModelError(f"there is no model file {str(path)!r}; name an .onnx file")
    proto = _parsed(path)
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
    check_utf8(proto)
    try:
        external = external_files(proto, path)
        loaded = taken_in(proto, path) if external else proto
        exported = exported_in(loaded)
        if exported is not Precision.FP32:
            loaded = widened(loaded, str(path.resolve().parent))
        return SourceModel(path, loaded, digest([path, *external]), external, exported)
    except OSError as error:
        raise ModelError(
            f"the files of {str(path)!r} cannot be read ({error.strerror}); check them"
        ) from error


def _check_name(path: Path) -> None:
    """Refuse a path of which ONNX Runtime's binding can make no text."""
    try:
        os.fspath(path.resolve()).encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"the path {str(path)!r} of the model is not UTF-8, which ONNX Runtime cannot open; "
            "rename the file or its folder"
        ) from error
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links: there is no such file
        return


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(read_regular(path, _MAX_BYTES))
    except (DecodeError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise ModelError(
                f"{str(path)!r} is over 2 GB, which no ONNX file can be; save the model with "
                "external data"
            ) from error
        raise ModelError(
            f"{str(path)!r} is not a readable ONNX model ({error}); export it again"
        ) from error
    return proto
