"""A model, prepared and grouped for a backend, and what makes two runs the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from precsearch._version import __version__
from precsearch.api.config import OptimizeConfig
from precsearch.api.inputs import Inputs
from precsearch.api.shapes import ShapeTable
from precsearch.backend import Backend, BackendOptions, GraphForm, QuantScheme
from precsearch.codec import dumps, unstructure
from precsearch.errors import ModelError, OptionError
from precsearch.metrics import code_digest
from precsearch.onnxio.convert import without_names
from precsearch.onnxio.cures import Recorded
from precsearch.onnxio.graph import GraphView
from precsearch.onnxio.group import group
from precsearch.onnxio.prepare import prepare
from precsearch.onnxio.read import SourceModel, read_model
from precsearch.registry import BackendFactory, backend_factory
from precsearch.space import Precision, SearchSpace

__all__ = [
    "Target",
    "identity",
    "open_target",
]


@dataclass(frozen=True)
class Target:
    """A model and the backend that it is for.

    Attributes:
        source: The model as read.
        graph: Prepared.
        space: Its groups.
        backend: For its declarations; engines are opened in workers.
        scheme: How INT8 is written: the backend's own, or that of a plan.
        form: What kind of graph it builds from, likewise.
        factory: Constructs the backend there.
        options: Its knobs.
        cures: Rewrites that the source has gone through since it was read.
    """

    source: SourceModel
    graph: GraphView
    space: SearchSpace
    backend: Backend
    scheme: QuantScheme
    form: GraphForm
    factory: BackendFactory
    options: BackendOptions
    cures: tuple[Recorded, ...] = ()

    @property
    def digest(self) -> str:
        """Of the model, with its cures if it has any."""
        digest = self.source.digest
        return f"{digest} {_cures(self)}" if self.cures else digest

    @property
    def reference_model(self) -> bytes | str:
        """What the reference runs: the file itself, so that external weights are found."""
        source = read_model(self.source.path) if self.cures else self.source
        anonymous = without_names(source.proto)
        if anonymous is not None:
            return bytes(anonymous.SerializeToString())
        return str(self.source.path.resolve())


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
) -> Target:
    """Prepare and group a model for a backend.

    Args:
        source: The model as read.
        backend: Name of the backend.
        precisions: What groups may be given; ``None`` is all that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        threads: CPU threads of one inference.
        scheme: Name of a plan's quantisation scheme; ``None`` is the one for this machine.
        form: Name of a plan's graph form, likewise.
        build: Options that the backend alone knows, by name.
        shapes: Sets of input shapes that engines are built for, if known already.

    Raises:
        OptionError: The backend is unknown or does not truly run a precision.
        ModelError: The graph is malformed, or of a newer operator set than the backend reads.
    """
    factory = backend_factory(backend)
    folder = str(source.folder) if source.external else ""
    options = BackendOptions(threads, folder, shapes, dict(build or {}))
    made = factory(options)
    wanted = frozenset(precisions or made.precisions) | {Precision.FP32}
    missing = wanted - made.precisions
    if missing:
        raise OptionError(
            f"the {backend} backend does not truly run {min(missing)}: {made.refusal}; leave it "
            "out of --precisions"
        )
    chosen = made.scheme if scheme is None else made.scheme_named(scheme)
    written = made.form if form is None else made.form_named(form)
    if written.max_opset is not None and source.opset > written.max_opset:
        raise ModelError(
            f"the {backend} backend reads operator sets up to {written.max_opset} here, the model "
            f"has {source.opset}; export it with opset {written.max_opset}"
        )
    graph = prepare(source, written.min_opset)
    space = group(graph, chosen, wanted, granularity)
    return Target(source, graph, space, made, chosen, written, factory, options)


def identity(config: OptimizeConfig, target: Target, inputs: Inputs) -> dict[str, str]:
    """What a resumed run must agree in, by name."""
    holdout = inputs.parts.holdout
    calibration = inputs.parts.calibration
    return {
        "model": target.source.digest,
        "cures": _cures(target),
        "precisions": ",".join(str(p) for p in target.space.precisions),
        "space": target.space.digest,
        "data": inputs.data.digest,
        "calibration": f"{config.calibration_method} {calibration.digest}",
        "holdout": "none" if holdout is None else holdout.digest,
        "backend": config.backend,
        "scheme": target.scheme.name,
        "tol": repr(config.tol),
        "metric": f"{inputs.metric.name} {code_digest(inputs.metric)}".rstrip(),
        "strategy": config.strategy,
        "seed": str(config.seed),
        "threads": str(config.threads),
        "build": dumps(unstructure(dict(config.build_options))),
        "batch": str(config.batch),
        "input-shape": dumps(unstructure(dict(config.input_shapes))),
        "shapes": " ".join(map(str, config.shapes)),
        "version": __version__,
    }


def _cures(target: Target) -> str:
    return dumps([[name, dict(params)] for name, params in target.cures])
