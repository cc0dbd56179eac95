"""OpenVINO's own model format: an ``.xml`` of operations and a ``.bin`` of weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from precsearch.backends.openvino.runtime import error_line, import_openvino, openvino_errors
from precsearch.core.errors import BuildError

__all__ = ["SUFFIXES", "intermediate_representation"]

SUFFIXES = (".xml", ".bin")


def intermediate_representation(model: Any) -> tuple[bytes, bytes]:  # noqa: ANN401
    """Both files of an ``openvino.Model``; equal models give equal bytes.

    Raises:
        BuildError: OpenVINO does not write it.
    """
    with tempfile.TemporaryDirectory(prefix="precsearch-") as folder:
        written = [Path(folder) / f"model{suffix}" for suffix in SUFFIXES]
        try:
            # save_model would store FP32 weights in FP16, unless told otherwise.
            import_openvino().serialize(model, *map(str, written))
        except openvino_errors() as error:
            raise BuildError(error_line(error)) from error
        operations, weights = (path.read_bytes() for path in written)
    return operations, weights
