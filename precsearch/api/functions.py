"""A metric that was given as a function, as the file that a search and `verify` can name.

Engines are judged in processes of their own, and a plan records the digest of the file that its
metric is in. A function of a module is named by that module's file. One of a notebook, a prompt or
a script has its source written to a file, with what it uses beside it.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from precsearch.core.errors import OptionError
from precsearch.setup.files import write_bytes

__all__ = ["metric_name"]

_PLAIN = (bool, int, float, str, bytes, type(None))
_HEAD = '''"""Written by precsearch.optimize from a function that was given as a metric."""

from __future__ import annotations  # names in annotations need not be known here
'''


def metric_name(metric: str | Callable[..., object], folder: Path) -> str:
    """The name of a metric, as ``--metric`` takes it.

    Args:
        metric: A name, or a function of (outputs, reference) or (outputs, reference, labels).
        folder: Below which a function's source is written, if it is in no module's file.

    Raises:
        OptionError: The function cannot be named, or its source not be had.
        OutputError: The source cannot be written.
    """
    if isinstance(metric, str):
        return metric
    if not isinstance(metric, FunctionType) or metric.__name__ == "<lambda>":
        raise OptionError(
            "a metric is a name or a function that was defined with def, not "
            f"{_called(metric)}; define one"
        )
    module = inspect.getmodule(metric)
    file = getattr(module, "__file__", None)
    inner = "<locals>" in metric.__qualname__ or metric.__closure__
    if module is not None and module.__name__ != "__main__" and file and not inner:
        return f"{file}:{metric.__name__}"
    text = "\n\n".join([_HEAD, *_sources(metric, {})])
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = folder / "given" / digest[:12] / "metric.py"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    return f"{path}:{metric.__name__}"


def _called(metric: object) -> str:
    return "a lambda" if isinstance(metric, FunctionType) else f"a {type(metric).__name__}"


def _sources(function: FunctionType, done: dict[str, object]) -> Iterator[str]:
    """What the function uses, then its own source."""
    done[function.__name__] = function
    for name in _names(function.__code__):
        if name not in done and (value := _value(function, name)) is not None:
            done[name] = value[0]
            yield from _definition(function, name, value[0], done)
    try:
        yield _own_source(function)
    except (OSError, TypeError) as error:
        raise OptionError(
            f"the source of the metric {function.__name__!r} cannot be had ({error}); put it into "
            "a .py file and give 'file.py:function'"
        ) from error


def _own_source(function: FunctionType) -> str:
    """The source of a function, checked: of what `exec` made, Python 3.13 may give another text.

    Raises:
        OSError: There is none, or it defines no such function.
        TypeError: The function is built in.
    """
    text = textwrap.dedent(inspect.getsource(function))
    wanted = function.__code__
    try:
        made = [c for c in compile(text, "<metric>", "exec").co_consts if isinstance(c, CodeType)]
    except SyntaxError as error:
        raise OSError("could not get source code") from error
    if not any((c.co_name, c.co_varnames) == (wanted.co_name, wanted.co_varnames) for c in made):
        raise OSError("could not get source code")
    return text


def _definition(
    function: FunctionType, name: str, value: object, done: dict[str, object]
) -> Iterator[str]:
    if isinstance(value, ModuleType):
        yield f"import {value.__name__} as {name}"
    elif isinstance(value, _PLAIN):
        yield f"{name} = {value!r}"
    elif isinstance(value, FunctionType) and value.__module__ == function.__module__:
        yield from _sources(value, done)
    elif callable(value) and getattr(value, "__module__", None):
        yield f"from {value.__module__} import {getattr(value, '__name__', name)} as {name}"
    else:
        raise OptionError(
            f"the metric {function.__name__!r} uses {name!r}, a {type(value).__name__} of the "
            "notebook or script; put both into a .py file and give 'file.py:function'"
        )


def _names(code: CodeType) -> Iterator[str]:
    """Names that code looks up outside of itself, functions inside of it included."""
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _value(function: FunctionType, name: str) -> tuple[object] | None:
    """What a name stands for in a function; ``None`` for an attribute or a built-in."""
    captured = inspect.getclosurevars(function).nonlocals
    if name in captured:
        return (captured[name],)
    if name in function.__globals__ and not hasattr(builtins, name):
        return (function.__globals__[name],)
    return None
