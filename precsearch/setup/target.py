"""A model, prepared and grouped for a backend, and what makes two runs the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from precsearch.codec import dumps
from precsearch.core.backend import (
    Backend,
    BackendFacts,
    BackendOptions,
    GraphForm,
    QuantScheme,
    facts_of,
)
from precsearch.core.backend.facts import LimitsPrecisions
from precsearch.core.errors import ModelError, OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.graph.opset import without_names
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.control import NO_CONTROL, Control, controlled
from precsearch.grouping.group import group
from precsearch.lowering.cast_opset import with_cast_opset
from precsearch.registry import BackendFactory, backend_factory

if TYPE_CHECKING:
    from precsearch.rewrites import Recorded
    from precsearch.setup.shapes import ShapeTable

__all__ = ["Target", "formats_of", "open_target", "rewrites_of"]


@dataclass(frozen=True)
class Target:
    """A model and the backend that it is for.

    Attributes:
        source: The model as read.
        graph: Prepared.
        space: Its groups.
        backend: For its declarations; engines are opened in workers.
        scheme: How INT8 is written: the backend's own, or that of a plan.
        form: What kind of graph it builds from: the backend's own, or that of a plan.
        factory: Constructs the backend there.
        options: Its knobs.
        rewrites: Rewrites that the source has gone through since it was read.
        kept: Group → why the user's control leaves it fewer choices, half a sentence.
        plain: The same without the corrections of INT8 that changed the model; ``None`` if there
            are none.
    """

    source: SourceModel
    graph: GraphView
    space: SearchSpace
    backend: Backend
    scheme: QuantScheme
    form: GraphForm
    factory: BackendFactory
    options: BackendOptions
    rewrites: tuple[Recorded, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    plain: Target | None = None

    @property
    def facts(self) -> BackendFacts:
        """What the backend declares about its engines."""
        return facts_of(self.backend)

    @property
    def digest(self) -> str:
        """Of the model, with its rewrites if it has any."""
        digest = self.source.digest
        return f"{digest} {rewrites_of(self)}" if self.rewrites else digest

    @property
    def reference_model(self) -> bytes | None:
        """What the reference runs, serialized; ``None`` is the file itself."""
        source = read_model(self.source.path) if self.rewrites else self.source
        anonymous = without_names(source.proto)
        if anonymous is not None:
            return bytes(anonymous.SerializeToString())
        if source.exported is not Precision.FP32:
            return bytes(source.proto.SerializeToString())
        return None


def open_target(
    source: SourceModel,
    backend: str,
    precisions: tuple[Precision, ...] | None,
    granularity: str,
    threads: int,
    scheme: str | None = None,
    *,
    form: str | None = None,
    build: Mapping[str, str] | None = None,
    shapes: ShapeTable = (),
    control: Control = NO_CONTROL,
) -> Target:
    """Prepare and group a model for a backend.

    Args:
        source: The model as read.
        backend: Name of the backend.
        precisions: What groups may be given; ``None`` is what the backend offers.
        granularity: ``node``, ``group`` or ``block``.
        threads: CPU threads of one inference.
        scheme: Name of a plan's quantization scheme; ``None`` is the one for this machine.
        form: Name of a plan's graph form; ``None`` is the one for this machine.
        build: Options that the backend alone knows, by name.
        shapes: Sets of input shapes that engines are built for, if known already.
        control: What the user has settled for some groups.

    Raises:
        OptionError: The backend is unknown or does not truly run a precision; ``control`` names
            what the model does not have.
        ModelError: The graph is malformed, or of a newer operator set than the backend reads.
    """
    factory = backend_factory(backend)
    folder = str(source.folder) if source.external else ""
    options = BackendOptions(threads, folder, shapes, dict(build or {}))
    opened = factory(options)
    offered = frozenset(precisions or _offered(source, opened)) | {Precision.FP32}
    missing = offered - opened.precisions
    if missing:
        first = Precision.ordered(missing)[0]
        raise OptionError(
            f"the {backend} backend does not truly run {first}: {opened.refusal}; leave it "
            "out of --precisions"
        )
    if form is None and isinstance(opened, LimitsPrecisions):
        why = opened.unavailable(offered)
        if why:
            raise OptionError(f"{why}; leave it out of --precisions")
    source, own = _as_fused(source, facts_of(opened).rewrites if form is None else ())
    chosen = opened.scheme if scheme is None else opened.scheme_named(scheme)
    written = _form_for(source, opened.form, offered) if form is None else form_of(opened, form)
    if written.max_opset is not None and source.opset > written.max_opset:
        raise ModelError(
            f"the {backend} backend reads operator sets up to {written.max_opset} here, the model "
            f"has {source.opset}; export it with opset {written.max_opset}"
        )
    graph = _prepared(source, written, opened.form if form is None else written, offered)
    space, kept = controlled(group(graph, chosen, offered, granularity, written), graph, control)
    return Target(source, graph, space, opened, chosen, written, factory, options, own, kept)


def _form_for(source: SourceModel, form: GraphForm, wanted: Set[Precision]) -> GraphForm:
    """A backend's form, raised to the operator set that these precisions need."""
    nodes = (*source.proto.graph.node, *(n for f in source.proto.functions for n in f.node))
    operators = {n.op_type for n in nodes if n.domain in ("", "ai.onnx")}
    return with_cast_opset(form.holding(wanted), operators, source.opset, wanted)


def _prepared(
    source: SourceModel, written: GraphForm, plain: GraphForm, wanted: Set[Precision]
) -> GraphView:
    """The graph in the operator set of a form.

    Raises:
        ModelError: It is malformed or cannot be raised so far; if it is the precisions that need
            the operator set, it names them.
    """
    try:
        return prepare(source, written.min_opset)
    except ModelError as error:
        if written == plain:
            raise
        prepare(source, plain.min_opset)  # where this fails, too, no precision is the cause
        needing = [p for p in Precision.ordered(wanted) if _form_for(source, plain, {p}) != plain]
        names = " and ".join(p.value for p in needing)
        raise ModelError(f"{error}, or leave {names} out of --precisions") from error


def _as_fused(
    source: SourceModel, names: Sequence[str]
) -> tuple[SourceModel, tuple[Recorded, ...]]:
    """The model with a backend's own rewrites, and those that changed something."""
    if not names:
        return source, ()
    from precsearch.rewrites import with_rewrites  # late: most backends have none

    recorded: list[Recorded] = []
    for name in names:
        try:
            changed = with_rewrites(source, [(name, {})])
        except ModelError:  # it cannot be raised to the operator set of the rewrite
            continue
        if changed is not source:
            source = changed
            recorded.append((name, {}))
    return source, tuple(recorded)


def _offered(source: SourceModel, backend: Backend) -> frozenset[Precision]:
    """What a search offers unless it is told which: the type of the file is among it.

    Whoever exports a model in 16 bits runs it so today, and wants to see that engine beside the
    others, on a device that has the type.
    """
    offered = facts_of(backend).offered or backend.precisions
    own = frozenset({source.exported}) & backend.precisions
    lacks = isinstance(backend, LimitsPrecisions) and own - offered and backend.unavailable(own)
    return offered if lacks else offered | own


def form_of(backend: Backend, name: str) -> GraphForm:
    """A plan's graph form, raised to a later operator set if its name says so.

    Raises:
        OptionError: The backend builds from none of this name.
    """
    base, _, opset = name.rpartition("-")
    if opset.isdigit():
        return backend.form_named(base).raised(int(opset))
    return backend.form_named(name)


def rewrites_of(target: Target) -> str:
    """The rewrites of a target with their parameters, as JSON."""
    return dumps([[name, dict(params)] for name, params in target.rewrites])


def formats_of(target: Target, precisions: Set[Precision]) -> dict[str, str]:
    """The number formats that tensors are stored in, by precision, the most precise first."""
    formats = {}
    for precision in sorted(precisions, key=lambda p: p.rank):
        name = precision.spec.format.name
        if precision is Precision.INT8:
            stored = target.scheme.activation(precision).format.name
            name = f"{stored} activations, {name} weights"
        formats[precision.value] = name
    return formats
