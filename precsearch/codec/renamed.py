"""Words of schema 1 as those of schema 2, at the places where records hold them.

Schema 1 is what precsearch 0.1.0 wrote. Keys that a user chose (names of groups, outputs and
options of a backend) are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BUILD_OPTIONS", "event", "evidence", "recipe", "renamed"]

BUILD_OPTIONS = {"pin": "layer_precisions"}
"""Build options of the TensorRT backend, old name → new name."""

_PREDICTION = {"slack": "usage"}
_MEASUREMENT = {"remarks": "warnings"}
_EVIDENCE = {"where": "fingerprint"}
_RECIPE = {"cures": "rewrites"}


def renamed(record: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - parsed JSON
    """An object with some of its keys renamed; what is no object stays as it is.

    A key whose new name is there, too, keeps its old name, so that reading refuses it.
    """
    if not isinstance(record, dict):
        return record
    return {
        (names[key] if key in names and names[key] not in record else key): value
        for key, value in record.items()
    }


def _inside(record: Any, key: str, change: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """A record with one of its values changed, where it has that value."""
    if not isinstance(record, dict) or key not in record:
        return record
    return {**record, key: change(record[key])}


def _each(rows: Any, change: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return [change(row) for row in rows] if isinstance(rows, list) else rows


def _prediction(record: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return renamed(record, _PREDICTION)


def _proposal(record: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return _inside(record, "predicted", _prediction)


def _trial(record: Any) -> Any:  # noqa: ANN401 - parsed JSON
    record = _inside(record, "proposal", _proposal)
    return _inside(record, "outcome", _outcome)


def _outcome(record: Any) -> Any:  # noqa: ANN401 - parsed JSON
    return _inside(record, "measurement", lambda r: renamed(r, _MEASUREMENT))


def event(data: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """A line of a journal."""
    data = _inside(data, "proposal", _proposal)
    data = _inside(data, "proposals", lambda rows: _each(rows, _proposal))
    return _inside(data, "trial", _trial)


def evidence(data: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """The evidence of a plan."""
    data = renamed(data, _EVIDENCE)
    data = _inside(data, "predictions", _prediction)
    return _inside(data, "trials", lambda rows: _each(rows, _proposal))


def recipe(data: Any) -> Any:  # noqa: ANN401 - parsed JSON
    """The recipe of a plan."""
    data = renamed(data, _RECIPE)
    if not isinstance(data, dict) or data.get("backend") != "tensorrt":
        return data
    return _inside(data, "options", lambda r: renamed(r, BUILD_OPTIONS))
