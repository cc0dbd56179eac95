"""Inlining: the body of a model-local function takes the place of each call of it.

Exporters write every module as a function. What is inside of one could be neither grouped nor
quantized. `onnx.inliner` and onnx_ir's ``InlinePass`` name the tensors inside by rules of their
own, which may change with their version, and the latter refuses functions of another operator set;
names are part of a plan, so they are made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx

from precsearch.core.errors import ModelError

__all__ = ["inlined"]

_MOST_NODES = 1_000_000
_DEFAULT = ("", "ai.onnx")

Key = tuple[str, str, str]


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the functions whose bodies can stand in its graph.

    A function stays where it redefines an operator of ONNX, or where its body is written for
    another version of an operator than the model's.

    Args:
        proto: It is not changed.

    Returns:
        A model of its own; ``proto`` itself if it has no functions.

    Raises:
        ModelError: Functions call each other in a circle, are called with too many inputs or
            outputs, or are so nested that over a million nodes would result.
    """
    if not proto.functions:
        return proto
    flat = onnx.ModelProto()
    flat.CopyFrom(proto)
    functions = {_key(f): f for f in flat.functions if f.domain not in _DEFAULT}
    _check_circles(functions)
    opsets = _versions(flat.opset_import)
    able = {k: f for k, f in functions.items() if _fits(f, functions, opsets)}
    _check_size(flat.graph.node, able)
    inliner = _Inliner(able, _names(flat.graph))
    inliner.graph(flat.graph)
    kept = [f for f in flat.functions if _key(f) not in able]
    left = {_key(n) for n in _all_nodes(flat.graph.node)}
    left |= {_key(n) for f in kept for n in _all_nodes(f.node)}
    kept += [f for k, f in able.items() if k in left]
    del flat.functions[:]
    flat.functions.extend(kept)
    for domain, version in sorted(inliner.imports.items()):
        if domain not in opsets:
            flat.opset_import.add(domain=domain, version=version)
    return flat


def _key(item: onnx.FunctionProto | onnx.NodeProto) -> Key:
    name = item.name if isinstance(item, onnx.FunctionProto) else item.op_type
    return item.domain, name, item.overload


def _versions(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {"" if o.domain in _DEFAULT else o.domain: o.version for o in imports}


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _all_nodes(graph.node)


def _names(graph: onnx.GraphProto) -> set[str]:
    """Every tensor name of a graph and of the graphs inside of it."""
    names = {t.name for t in graph.initializer} | {i.name for i in graph.input}
    names |= {o.name for o in graph.output}
    for node in graph.node:
        names.update(node.input, node.output)
        for inner in _graphs(node):
            names |= _names(inner)
    return names


# What may be inlined.


def _check_circles(functions: Mapping[Key, onnx.FunctionProto]) -> None:
    calls = {
        k: {_key(n) for n in _all_nodes(f.node)} & set(functions) for k, f in functions.items()
    }
    while True:
        done = {k for k, called in calls.items() if not called}
        if not done:
            break
        calls = {k: called - done for k, called in calls.items() if k not in done}
    if calls:
        name = min(calls)[1]
        raise ModelError(f"the function {name!r} of the model calls itself; export the model again")


def _check_size(
    nodes: Iterable[onnx.NodeProto], functions: Mapping[Key, onnx.FunctionProto]
) -> None:
    sizes: dict[Key, int] = {}

    def size_of(body: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in _all_nodes(body):
            key = _key(node)
            if key in functions and key not in sizes:
                sizes[key] = size_of(functions[key].node)
            total += sizes.get(key, 1)
        return total

    if size_of(nodes) > _MOST_NODES:
        raise ModelError(
            f"the functions of the model stand for over {_MOST_NODES:,} nodes; export a smaller "
            "model"
        )


def _fits(
    function: onnx.FunctionProto,
    functions: Mapping[Key, onnx.FunctionProto],
    opsets: Mapping[str, int],
) -> bool:
    """Whether each operator of a body means the same in the model's operator sets."""
    own = _versions(function.opset_import)
    for node in _all_nodes(function.node):
        domain = "" if node.domain in _DEFAULT else node.domain
        if _key(node) in functions:
            continue
        theirs, ours = own.get(domain), opsets.get(domain)
        if theirs == ours or ours is None:
            continue
        if theirs is None or domain or not _same(node.op_type, theirs, ours):
            return False
    return True


def _same(op_type: str, one: int, other: int) -> bool:
    if not (onnx.defs.has(op_type, one) and onnx.defs.has(op_type, other)):
        return False
    versions = (onnx.defs.get_schema(op_type, v).since_version for v in (one, other))
    return len(set(versions)) == 1


# Inlining.


class _Inliner:
    """Replaces calls.

    Args:
        functions: By domain, name and overload.
        taken: Tensor names of the model; new ones are added.

    Attributes:
        imports: Operator sets that inlined bodies use.
    """

    def __init__(self, functions: Mapping[Key, onnx.FunctionProto], taken: set[str]) -> None:
        self._functions = functions
        self._taken = taken
        self.imports: dict[str, int] = {}

    def graph(self, graph: onnx.GraphProto) -> None:
        """Inline every call in a graph and in the graphs inside of it."""
        nodes = list(self._inlined(graph.node))
        del graph.node[:]
        graph.node.extend(nodes)

    def _inlined(self, nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        for node in nodes:
            function = self._functions.get(_key(node))
            if function is not None:
                # A body may call functions itself.
                yield from self._inlined(self._body(node, function))
                continue
            for inner in _graphs(node):
                self.graph(inner)
            yield node

    def _body(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
        if len(call.input) > len(function.input) or len(call.output) > len(function.output):
            raise ModelError(
                f"the function {function.name!r} is called with more inputs or outputs than it "
                "has; export the model again"
            )
        for domain, version in _versions(function.opset_import).items():
            self.imports.setdefault(domain, version)
        prefix = next(filter(None, call.output), "") or call.name or function.name
        given = [*call.input, *[""] * (len(function.input) - len(call.input))]
        names = dict(zip(function.input, given, strict=True))
        copies: list[tuple[str, str]] = []
        for inner, outer in zip(function.output, call.output, strict=False):
            if outer and inner in names:  # an input handed through, or one tensor given out twice
                copies.append((inner, outer))
            elif outer:
                names[inner] = outer
        attributes = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
        for node in function.node:
            yield self._copied(node, names, attributes, prefix)
        for inner, outer in copies:
            yield onnx.NodeProto(op_type="Identity", input=[names[inner]], output=[outer])

    def _copied(
        self,
        node: onnx.NodeProto,
        names: dict[str, str],
        attributes: Mapping[str, onnx.AttributeProto],
        prefix: str,
    ) -> onnx.NodeProto:
        inner = onnx.NodeProto(
            op_type=node.op_type, domain=node.domain, overload=node.overload, name=""
        )
        inner.input.extend(names.get(t, t) for t in node.input)
        for output in node.output:
            if output and output not in names:
                names[output] = self._new(f"{prefix}/{output}")
            inner.output.append(names.get(output, ""))
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                bound = attributes.get(attribute.ref_attr_name)
                if bound is not None:
                    inner.attribute.add().CopyFrom(bound)
                    inner.attribute[-1].name = attribute.name
                continue
            inner.attribute.add().CopyFrom(attribute)
            copy = inner.attribute[-1]
            for graph in (*([copy.g] if copy.HasField("g") else ()), *copy.graphs):
                self._renamed(graph, dict(names), attributes, prefix)
        return inner

    def _renamed(
        self,
        graph: onnx.GraphProto,
        names: dict[str, str],
        attributes: Mapping[str, onnx.AttributeProto],
        prefix: str,
    ) -> None:
        """Rename what a subgraph of a body defines, and what it reads of the body."""
        for value in (*graph.input, *graph.initializer):
            names[value.name] = self._new(f"{prefix}/{value.name}")
            value.name = names[value.name]
        for sparse in graph.sparse_initializer:
            names[sparse.values.name] = self._new(f"{prefix}/{sparse.values.name}")
            sparse.values.name = names[sparse.values.name]
        nodes = [self._copied(n, names, attributes, prefix) for n in graph.node]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        for value in graph.output:
            value.name = names.get(value.name, value.name)

    def _new(self, name: str) -> str:
        # '//' stands between the name of a tensor and what a lowering makes of it.
        stem = name.replace("//", "/")
        unique, count = stem, 1
        while unique in self._taken:
            count += 1
            unique = f"{stem}_{count}"
        self._taken.add(unique)
        return unique
