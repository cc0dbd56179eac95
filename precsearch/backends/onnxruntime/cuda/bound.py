"""Inputs and outputs of a session that stay in device memory from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from precsearch.backends.onnxruntime.cuda.provider import Provider
from precsearch.core.backend import Array, Feed
from precsearch.core.errors import RunError

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["BoundTensors", "Shape", "shape_of"]

Shape = tuple[tuple[str, tuple[int, ...], str], ...]
"""Name, dimensions and element type of each input."""


def shape_of(names: Sequence[str], feed: Feed) -> Shape:
    """What decides which buffers a feed needs.

    Raises:
        RunError: An input has no value.
    """
    try:
        return tuple((n, feed[n].shape, feed[n].dtype.str) for n in names)
    except KeyError as error:
        raise RunError(f"there is no value for the input {error}") from error


class BoundTensors:
    """The buffers for feeds of one shape.

    Args:
        session: Runs with them.
        feed: The first feed.
        provider: Says whose memory it is.
        device: The number of the device.
    """

    def __init__(
        self, session: ort.InferenceSession, feed: Feed, provider: Provider, device: int
    ) -> None:
        import onnxruntime as ort

        self.binding: Any = session.io_binding()
        self.fixed = False
        self._memory, self._device = provider.memory, device
        self._inputs: dict[str, Any] = {}
        self._host: list[str] = []
        for name in (i.name for i in session.get_inputs()):
            value = np.array(feed[name], order="C")  # in host memory, what is given is what is kept
            if value.dtype.kind in "OSU" or value.size == 0:
                self._host.append(name)
                continue
            bound = ort.OrtValue.ortvalue_from_numpy(value, self._memory, device)
            self.binding.bind_ortvalue_input(name, bound)
            self._inputs[name] = bound
        self._outputs = [o.name for o in session.get_outputs()]
        open_ones = [o for o in session.get_outputs() if not _settled(o)]
        self._open = [o.name for o in open_ones if o.type.startswith("tensor(")]
        self._texts = {o.name for o in session.get_outputs() if "string" in o.type}
        for name in self._outputs:
            self._bind_output(name)

    @property
    def on_device(self) -> bool:
        """Whether every input lies in device memory."""
        return not self._host and not self._texts

    def _bind_output(self, name: str) -> None:
        if name in self._texts:
            self.binding.bind_output(name)
        else:
            self.binding.bind_output(name, self._memory, self._device)

    def fill(self, feed: Feed) -> None:
        """Copy a feed into the buffers."""
        for name, value in self._inputs.items():
            value.update_inplace(np.asarray(feed[name], order="C"))
        for name in self._host:
            self.binding.bind_cpu_input(name, np.asarray(feed[name], order="C"))
        if not self.fixed:
            # Their size may depend on the values. A buffer of the last run would be refused.
            for name in self._open:
                self._bind_output(name)

    def values(self) -> dict[str, Array]:
        """The outputs of the last run."""
        return dict(zip(self._outputs, self.binding.copy_outputs_to_cpu(), strict=True))


def _settled(output: Any) -> bool:  # noqa: ANN401 - ONNX Runtime's NodeArg has no types
    """Whether the model says how large an output is."""
    shape = output.shape
    return shape is not None and all(isinstance(d, int) and d >= 0 for d in shape)
