"""`precsearch.graph.operators`: each class of operators is spelled out once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import onnx

from precsearch.graph import operators

SOURCES = Path(operators.__file__).parents[1]
CLASSES: dict[str, tuple[str, ...]] = {n: getattr(operators, n) for n in operators.__all__}


def words(node: ast.AST) -> frozenset[str]:
    """The strings that a tuple, list or set holds, or that a call is given."""
    within: list[ast.expr] = []
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        within = node.elts
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("is_op", "made_by"):
        within = node.args
    return frozenset(
        e.value for e in within if isinstance(e, ast.Constant) and e.value == str(e.value)
    )


def spelled_out() -> Iterator[str]:
    for path in sorted(SOURCES.rglob("*.py")):
        if path == Path(operators.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = words(node)
            for name, members in CLASSES.items() if len(found) > 1 else ():
                if found.issuperset(members):
                    place = f"{path.relative_to(SOURCES)}:{getattr(node, 'lineno', 0)}"
                    yield f"{place} holds all of {name}"


def test_no_other_module_spells_a_class_out() -> None:
    assert list(spelled_out()) == []


def test_every_member_is_an_operator_of_onnx() -> None:
    known = {
        schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain
    }
    for name, members in CLASSES.items():
        assert known.issuperset(members), name
        assert len(members) == len(set(members)) > 1, name
