"""The options that say what is wanted of outputs and groups: --tol, --pin, --exclude, --only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from precsearch.cli.options.declare import value
from precsearch.cli.options.parse import real
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.setup.tolerances import Tolerances
from precsearch.system.regular_file import read_regular

if TYPE_CHECKING:
    from precsearch.grouping.control import Control, Pin

__all__ = ["Exclude", "Only", "PinOption", "Tolerance", "bounds", "parse_control"]

_PANEL = "Limits on precisions"
_MOST_BYTES = 1 << 22
_PATTERN = "a name or a glob of groups, nodes or tensors, or op:TYPE (also group:, node:, tensor:)"

Bounds = float | Tolerances | Mapping[str, float]
"""Of the loss; several in turn; or of single outputs, by name."""


def _parsed(text: str) -> Bounds:
    """``1e-2``, ``1e-2,3e-2``, or ``boxes=1e-2,scores=3e-2``.

    A bare number among single outputs is for all others.
    """
    one = real("--tol")
    if "=" not in str(text):  # a default comes as it is
        return Tolerances.parse(text) if "," in str(text) else one(text)
    values: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        name = name.strip() if equals else "*"
        if name in values:
            raise OptionError(f"--tol bounds {name!r} twice; keep one bound")
        values[name] = one(value.strip())
    return values


def bounds(given: Sequence[Bounds], metrics: Sequence[str]) -> list[tuple[str, Tolerances]]:
    """Each metric with its tolerances; of several for one metric, the last.

    Bounds of single outputs are a metric of their own, whose tolerance is 1.

    Raises:
        OptionError: There is neither one ``--tol`` for all metrics nor one for each; or a metric
            does not compare outputs by themselves.
    """
    if len(metrics) == 1:  # the last one counts, as of every option; so a script can be overridden
        given = given[-1:]
    if len(given) not in (1, len(metrics)):
        raise OptionError(
            f"--tol is given {len(given)} times and --metric {len(metrics)} times; give one --tol "
            "for all metrics, or one for each in the same order, with commas between the bounds of "
            "one metric"
        )
    each = list(given) * len(metrics) if len(given) == 1 else given
    return [_bounded(metric, bound) for metric, bound in zip(metrics, each, strict=True)]


def _bounded(metric: str, bound: Bounds) -> tuple[str, Tolerances]:
    if isinstance(bound, Mapping):
        from precsearch.metrics.per_output import per_output_name  # loads NumPy

        return per_output_name(metric, bound), Tolerances(("1",), (1.0,))
    if isinstance(bound, Tolerances):
        return metric, bound
    return metric, Tolerances((f"{bound:g}",), (bound,))


Tolerance = Annotated[
    list[Any] | None,
    value(
        "T",
        "Bound on the loss, which is the distance of the outputs from FP32's by the metric. "
        "boxes=1e-2,scores=3e-2 bounds single outputs; 1e-2,3e-2 makes a plan for each bound and "
        "measures nothing twice. Repeatable, once for each --metric. Default: 0.01.",
        "--tol",
        panel="What you want",
        parser=_parsed,
    ),
]
PinOption = Annotated[
    list[str] | None,
    value(
        "PATTERN=PRECISION",
        f"Keep groups in this precision or a more precise one. PATTERN is {_PATTERN}. "
        "@FILE reads one pin from each line, with the reason after a '#'. Repeatable.",
        "--pin",
        panel=_PANEL,
    ),
]
Exclude = Annotated[
    list[str] | None,
    value("PATTERN", "Leave these groups in FP32. Repeatable.", panel=_PANEL),
]
Only = Annotated[
    list[str] | None,
    value(
        "PATTERN", "Search only these groups; all others stay in FP32. Repeatable.", panel=_PANEL
    ),
]


def parse_control(
    pins: Iterable[str], exclude: Iterable[str] = (), only: Iterable[str] = ()
) -> Control:
    """What is settled, from the texts of the options.

    Args:
        pins: ``PATTERN=PRECISION``, or ``@FILE`` of such lines.
        exclude: Patterns that stay in FP32.
        only: Patterns outside of which everything stays in FP32.

    Raises:
        OptionError: A text is not of this form, or a file cannot be read.
    """
    from precsearch.grouping.control import Control, pin  # loads NumPy and ONNX

    chosen: list[Pin] = []
    for text in pins:
        if text.startswith("@"):
            chosen += _from_file(Path(text[1:]))
        else:
            chosen.append(_pin(text, "", f"--pin {text}"))
    for pattern in exclude:
        chosen.append(pin(pattern, Precision.FP32.value, option=f"--exclude {pattern}"))
    return Control(tuple(chosen), tuple(only))


def _pin(text: str, reason: str, option: str) -> Pin:
    from precsearch.grouping.control import pin  # loads NumPy and ONNX

    pattern, _, precision = text.rpartition("=")
    return pin(pattern, precision, reason=reason, option=option)


def _from_file(path: Path) -> Iterator[Pin]:
    """Pins of a file; empty lines and lines that begin with ``#`` are skipped."""
    try:
        lines = read_regular(path, _MOST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise OptionError(
            f"the file of pins {str(path)!r} cannot be read: {reason}; check the path"
        ) from error
    for line in lines:
        text, _, reason = line.partition(" #")
        if text.strip() and not text.startswith("#"):
            yield _pin(text.strip(), reason.strip(), f"--pin {text.strip()}")
