"""What must hold of a graph before anything looks into it: defined names, enough inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from precsearch.core.errors import ModelError

__all__ = ["check_names", "check_nodes", "is_sorted", "subgraphs"]

_ADVICE = "check the model with onnx.checker and export it again"


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The bodies of an If, a Loop or a Scan."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def check_names(graph: onnx.GraphProto, separator: str) -> None:
    """Check that no tensor is called what a lowering calls a form of another one.

    Args:
        graph: The graph.
        separator: What stands between a tensor's name and that of its form.

    Raises:
        ModelError: One is.
    """
    names = {t for n in graph.node for t in (*n.input, *n.output, *_inner(n)) if t}
    names |= {v.name for v in (*graph.input, *graph.output)}
    for name in names:
        at = name.find(separator)
        while at > 0:
            if name[:at] in names:
                raise ModelError(
                    f"tensor {name!r} has a name that precsearch needs for a form of {name[:at]!r};"
                    " rename it"
                )
            at = name.find(separator, at + 1)


def _inner(node: onnx.NodeProto) -> Iterator[str]:
    for sub in subgraphs(node):
        for inner in sub.node:
            yield from inner.output
            yield from _inner(inner)


def check_nodes(graph: onnx.GraphProto, opset: int, outer: frozenset[str] = frozenset()) -> None:
    """Check tensor names and numbers of inputs and outputs, in subgraphs too.

    Nodes may stand in any order, as ONNX Runtime takes them in any.

    Args:
        graph: The graph.
        opset: Version of the default operator set.
        outer: Names that it may use without defining them.

    Raises:
        ModelError: A node reads what nothing writes, writes what something else does, or has too
            few or too many inputs or outputs.
    """
    constants = {t.name for t in graph.initializer}
    constants |= {t.values.name for t in graph.sparse_initializer}
    written = constants | {i.name for i in graph.input}
    for node in graph.node:
        _check_count(node, opset)
        for name in filter(None, node.output):
            if name in written:
                raise ModelError(f"tensor {name!r} is written twice; {_ADVICE}")
            written.add(name)
    scope = outer | written
    for node in graph.node:
        _check_known(node.input, scope, f"{node.op_type} node {_called(node)!r} reads")
        for sub in subgraphs(node):
            check_nodes(sub, opset, frozenset(scope))
    _check_known((o.name for o in graph.output), scope, "the graph gives out")


def _check_known(names: Iterable[str], scope: Iterable[str], what: str) -> None:
    for name in names:
        if name and name not in scope:
            raise ModelError(f"{what} tensor {name!r}, which nothing writes; {_ADVICE}")


def _check_count(node: onnx.NodeProto, opset: int) -> None:
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
        return
    schema = onnx.defs.get_schema(node.op_type, opset)
    required = node.input[: schema.min_input]
    # An empty name stands for an input that is left out, which a required one must not be.
    named = next((i for i, name in enumerate(required) if not name), len(node.input))
    for kind, count, least, most in (
        ("input", named, schema.min_input, schema.max_input),
        ("output", len(node.output), schema.min_output, schema.max_output),
    ):
        if not least <= count <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            expected = f"at least {least}" if most > 1 << 16 else expected
            raise ModelError(
                f"{node.op_type} node {_called(node)!r} has {count} {kind}{'s' * (count != 1)} "
                f"where ONNX wants {expected}; {_ADVICE}"
            )


def _called(node: onnx.NodeProto) -> str:
    return next(filter(None, node.output), node.name)


def is_sorted(graph: onnx.GraphProto) -> bool:
    """Whether every node of the main graph stands after those whose results it uses."""
    later = {name for node in graph.node for name in node.output if name}
    for node in graph.node:
        if not later.isdisjoint(_used(node)):
            return False
        later.difference_update(node.output)
    return True


def _used(node: onnx.NodeProto) -> set[str]:
    """Names that a node and its subgraphs read."""
    names = set(node.input)
    for sub in subgraphs(node):
        names |= {o.name for o in sub.output}.union(*map(_used, sub.node))
    return names
