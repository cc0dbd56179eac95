"""Prints what the installed Python bindings of TensorRT offer, as JSON: names and no more.

Run by `bindings.py` under the Python that a wheel is for; needs nothing but the bindings. Every
entry is one string: ``name(parameter, …) -> type`` for a function or method (one entry per
overload), ``name: type`` for a property that can be set, ``name -> type`` for one that cannot.
"""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType
from typing import Any

KEPT = ("__init__", "__enter__", "__exit__", "__iter__", "__len__", "__getitem__", "__getbuffer__")


def main() -> None:
    """Print the surface of ``import tensorrt``."""
    import tensorrt  # type: ignore[import-not-found, unused-ignore]

    json.dump(surface(tensorrt), sys.stdout)


def surface(module: ModuleType) -> dict[str, Any]:
    """The names of a module's enums, classes, functions and values."""
    found: dict[str, Any] = {"enums": {}, "classes": {}, "functions": [], "values": []}
    names = [n for n in sorted(vars(module)) if not n.startswith("_")]
    for name in names:
        thing = getattr(module, name)
        if isinstance(thing, type):
            _add_class(found, name, thing)
        elif isinstance(thing, ModuleType):
            continue
        elif callable(thing):
            found["functions"] += _signatures(name, thing)
        elif type(thing).__name__ == "DataType":
            found["values"].append(f"{name}: DataType")
    return {"version": str(module.__version__), **found}


def _add_class(found: dict[str, Any], name: str, cls: type) -> None:
    if hasattr(cls, "__members__"):
        found["enums"][name] = sorted(cls.__members__)
        return
    bases = [b.__name__ for b in cls.__bases__ if b.__module__.startswith("tensorrt")]
    entries: list[str] = []
    for attribute, thing in sorted(vars(cls).items()):
        if isinstance(thing, type):
            _add_class(found, f"{name}.{attribute}", thing)
        elif attribute.startswith("_") and attribute not in KEPT:
            continue
        elif isinstance(thing, property):
            entries.append(_property(attribute, thing))
        elif callable(getattr(cls, attribute)):
            entries += _signatures(attribute, getattr(cls, attribute))
        else:
            entries.append(f"{attribute}: {type(getattr(cls, attribute)).__name__}")
    found["classes"][name] = {"bases": bases, "has": entries}


def _property(name: str, thing: property) -> str:
    text = (thing.fget.__doc__ if thing.fget else "") or ""
    returned = re.search(r"\) -> ([^\n]+)", text)
    sort = _short(returned.group(1)) if returned else "object"
    return f"{name}: {sort}" if thing.fset else f"{name} -> {sort}"


def _signatures(name: str, thing: Any) -> list[str]:
    """One entry per overload, from the first lines that pybind11 writes into a docstring."""
    text = thing.__doc__ or ""
    lines = re.findall(rf"^(?:\d+\. )?{name}\((.*)\)(?: -> (.+))?$", text, re.MULTILINE)
    overloads = [(a, r) for a, r in lines if "*args, **kwargs" not in a] or [("...", "")]
    return [f"{name}({_parameters(a)})" + (f" -> {_short(r)}" if r else "") for a, r in overloads]


def _parameters(text: str) -> str:
    depth, parts, part = 0, [], ""
    for char in text:
        depth += (char in "[(<{") - (char in "])>}")
        if char == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += char
    names = [p.partition(":")[0].strip() + ("=" if "=" in p else "") for p in [*parts, part]]
    return ", ".join(n for n in names if n and n != "self")


def _short(text: str) -> str:
    """A type without its modules: ``tensorrt_bindings.tensorrt.ITensor`` is ``ITensor``."""
    return re.sub(r"\b(?:[A-Za-z_]\w*(?:\.|::))+(?=[A-Za-z_])", "", text.strip())


if __name__ == "__main__":
    main()
