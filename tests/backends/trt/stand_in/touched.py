"""Every attribute of TensorRT that a source file uses, with the class that it is looked up in.

Types are followed from expression to expression through the dumps of the bindings: what
``network.get_layer(i)`` gives is an ILayer because the real bindings say so. Where Python code
hands an object on (parameters, attributes of self), its name says what it is, see `NAMED`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.backends.trt.stand_in.surface import VERSIONS, Member, Surface, surface

NAMED = {
    "trt": "module",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "layer": "ILayer",
    "tensor": "ITensor",
    "cache": "ITimingCache",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "profile": "IOptimizationProfile",
}
"""Parameter or attribute → class, where the annotation is Any or missing."""

GIVES = {
    "layers": "ILayer",
    "layer_nodes": "ILayer",
    "_deserialized": ("ICudaEngine", "IExecutionContext"),
}
"""Our own functions that hand out TensorRT's objects: one by one, or as a tuple."""

ENUM_OWN = frozenset({"name", "value"})


@dataclass(frozen=True)
class Touch:
    """One access.

    Attributes:
        path: ``Class.attribute``, ``Enum.MEMBER`` or a name of the module.
        where: File and line.
        call: Number of positional arguments and the keywords, if it is called and these are plain.
        written: Whether it is assigned to.
    """

    path: str
    where: str
    call: tuple[int, frozenset[str]] | None = None
    written: bool = False


@dataclass
class Touches(ast.NodeVisitor):
    """Collects the accesses of one file."""

    file: str
    found: list[Touch] = field(default_factory=list)
    scopes: list[dict[str, object]] = field(default_factory=lambda: [{}])
    calls: dict[int, tuple[int, frozenset[str]] | None] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        scope: dict[str, object] = {}
        for argument in (*node.args.args, *node.args.kwonlyargs):
            annotation = argument.annotation
            plain = annotation is None or (
                isinstance(annotation, ast.Name) and annotation.id == "Any"
            )
            scope[argument.arg] = NAMED.get(argument.arg.lstrip("_")) if plain else None
        self.scopes.append(scope)
        self.generic_visit(node)
        self.scopes.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        kind = self.kind(node.value)
        for target in node.targets:
            self._bind(target, kind, node.value)
            if isinstance(target, ast.Attribute):
                self._touch(target, written=True)

    def visit_For(self, node: ast.For) -> None:
        self._bind_each(node.target, node.iter)
        self.generic_visit(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehend(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehend(node)

    def _comprehend(self, node: ast.GeneratorExp | ast.ListComp) -> None:
        self.scopes.append({})
        for part in node.generators:
            self._bind_each(part.target, part.iter)
        self.generic_visit(node)
        self.scopes.pop()

    def visit_Call(self, node: ast.Call) -> None:
        plain = not any(isinstance(a, ast.Starred) for a in node.args) and all(
            k.arg for k in node.keywords
        )
        words = frozenset(k.arg for k in node.keywords if k.arg)
        self.calls[id(node.func)] = (len(node.args), words) if plain else None
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) == 2:
            named = node.args[1]
            kind = self.kind(node.args[0])
            if isinstance(named, ast.Constant) and isinstance(kind, str):
                self._add(kind, str(named.value), node)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self._touch(node, written=False)
        self.generic_visit(node)

    # -- what an expression is ----------------------------------------------------------------

    def kind(self, node: ast.expr) -> object:
        """``module``, a class, ``enum E``, [class] of an iterable, a tuple of these, or None."""
        if isinstance(node, ast.Name):
            for scope in reversed(self.scopes):
                if node.id in scope:
                    return scope[node.id]
            return None
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        if isinstance(node, ast.Tuple):
            return tuple(self.kind(e) for e in node.elts)
        if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
            self.scopes.append({})
            for part in node.generators:
                self._bind_each(part.target, part.iter)
            element = self.kind(node.elt)
            self.scopes.pop()
            return [element]
        if isinstance(node, ast.IfExp):
            return self.kind(node.body) or self.kind(node.orelse)
        return None

    def _attribute(self, node: ast.Attribute) -> object:
        base = self.kind(node.value)
        if base is None:
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "here")
            nested = isinstance(node.value, ast.Attribute) and node.value.attr == "_here"
            if node.attr in self.ours or not (own or nested):
                return None
            return NAMED.get(node.attr.lstrip("_"))
        return _type_of(base, node.attr) if isinstance(base, str) else None

    def _called(self, node: ast.Call) -> object:
        named = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        named = node.func.id if isinstance(node.func, ast.Name) else named
        if named in GIVES:
            given = GIVES[named]
            return given if isinstance(given, tuple) else [given]
        kind = self.kind(node.func)
        if isinstance(kind, str) and kind.startswith("class "):
            return kind.removeprefix("class ")
        return kind

    # -- names --------------------------------------------------------------------------------

    def _bind(self, target: ast.expr, kind: object, value: ast.expr | None = None) -> None:
        if isinstance(target, ast.Name):
            if kind is None and _own_call(value):
                kind = NAMED.get(target.id)
            self.scopes[-1][target.id] = kind
        elif isinstance(target, ast.Tuple):
            kinds = kind if isinstance(kind, tuple) else (kind,) * len(target.elts)
            for element, each in zip(target.elts, kinds, strict=False):
                self._bind(element, each if isinstance(kind, tuple) else None)

    def _bind_each(self, target: ast.expr, iterable: ast.expr) -> None:
        kind = self.kind(iterable)
        element = kind[0] if isinstance(kind, list) else None
        if isinstance(target, ast.Tuple) and isinstance(element, str):
            self._bind(target.elts[0], element)  # (layer, its node)
        else:
            self._bind(target, element)

    def _touch(self, node: ast.Attribute, *, written: bool) -> None:
        kind = self.kind(node.value)
        if isinstance(kind, str):
            self._add(kind, node.attr, node, written=written)

    def _add(self, kind: str, name: str, node: ast.AST, *, written: bool = False) -> None:
        if kind.startswith("member "):
            assert name in ENUM_OWN, name
            return
        if name.startswith("__") and name != "__init__":
            return
        owner = kind.removeprefix("enum ").removeprefix("class ")
        path = name if owner == "module" else f"{owner}.{name}"
        line = getattr(node, "lineno", 0)
        touch = Touch(path, f"{self.file}:{line}", self.calls.get(id(node)), written)
        if touch not in self.found:
            self.found.append(touch)


def _own_call(value: ast.expr | None) -> bool:
    """``self.method(…)``, of which nothing but the name that it is given to tells the type."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return False
    owner = value.func.value
    return isinstance(owner, ast.Name) and owner.id == "self"


def _type_of(base: str, name: str) -> object:
    """What ``base.name`` is (or gives, if it is a method), in whichever version knows it."""
    for version in reversed(VERSIONS):
        offered = surface(version)
        found: object
        if base == "module" or base.startswith("class "):
            found = _of_module(offered, base.removeprefix("class "), name)
        elif base.startswith("enum "):
            found = f"member {base}" if name in offered.enums[base[5:]] else None
        else:
            found = _named_type(offered, offered.members(base, name))
        if found is not None:
            return found
    return None


def _of_module(offered: Surface, owner: str, name: str) -> str | None:
    path = name if owner == "module" else f"{owner}.{name}"
    if path in offered.enums:
        return f"enum {path}"
    if path in offered.own:
        return f"class {path}"
    return None


def _named_type(offered: Surface, members: tuple[Member, ...]) -> object:
    for member in members:
        element = re.fullmatch(r"(?i:list)\[(\w+)\]", member.type)
        if element and element.group(1) in offered.own:
            return [element.group(1)]
        for name in (member.type, member.type.removeprefix("I")):  # some give the C++ name
            if name in offered.own:
                return name
        if member.type in offered.enums:
            return f"member {member.type}"
    return None


def touches(folder: Path, without: str = "") -> list[Touch]:
    """What the Python files of a folder touch, but for those in a folder named ``without``."""
    files = (p for p in sorted(folder.rglob("*.py")) if without not in p.relative_to(folder).parts)
    return [touch for path in files for touch in _of_file(path)]


def _of_file(path: Path) -> Iterator[Touch]:
    tree = ast.parse(path.read_text())
    ours = frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))
    visitor = Touches(path.name, ours=ours)
    visitor.visit(tree)
    yield from visitor.found
