"""Reference outputs: the original model in FP32."""

from __future__ import annotations

from collections.abc import Iterable

from precsearch.backend import Array, Feed
from precsearch.errors import ModelError
from precsearch.reference.session import first_line, open_reference, ort_errors

__all__ = ["reference_outputs"]


def reference_outputs(
    model: bytes | str, feeds: Iterable[Feed], model_folder: str = ""
) -> tuple[dict[str, Array], ...]:
    """Every output of the original model, one dictionary a feed.

    Args:
        model: A serialised ``ModelProto``, or the path of one.
        feeds: Input name → array.
        model_folder: Folder of external weights, where ``model`` is bytes.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
    """
    errors = ort_errors()
    try:
        session = open_reference(model, model_folder)
    except errors as error:
        line = first_line(error)
        if "; " not in line:
            line = f"{line.rstrip('.')}; export a model that ONNX Runtime opens"
        raise ModelError(f"ONNX Runtime refuses the model: {line}") from error
    names = [o.name for o in session.get_outputs()]
    found = []
    for feed in feeds:
        try:
            values = session.run(names, dict(feed))
        except errors as error:
            line = first_line(error)
            raise ModelError(f"the model does not run on the data given: {line}") from error
        found.append(dict(zip(names, values, strict=True)))
    return tuple(found)
