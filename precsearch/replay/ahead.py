"""Building a plan's engine for a device that is not here, and saying what is not known of it."""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.backend import Backend, BackendOptions, BuildsAhead
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.executors.open import open_executor
from precsearch.lowering.lower import Lowered
from precsearch.measurement.build_service import (
    BUILD_LIMIT_S,
    BuildService,
    Engine,
    open_build_service,
)
from precsearch.plan.plan import Plan
from precsearch.registry import BackendFactory, backend_factory
from precsearch.setup.target import Target

__all__ = ["asked_and_ran", "built_ahead", "expect_backend", "fused_attention", "options_for"]

_SHOWN = 3


def built_ahead(
    plan: Plan, target: Target, lowered: Lowered, backend: str | None, device: str
) -> tuple[Engine, tuple[str, ...]]:
    """Build an engine ahead of time, in a process of its own.

    Args:
        plan: The plan.
        target: Its model and the backend that it was made with.
        lowered: Its lowered model.
        backend: Name of the backend to build with; ``None`` is the plan's.
        device: What to build for, such as ``sm89``.

    Returns:
        The engine, and what there is to say of it, a sentence each.

    Raises:
        OptionError: The backend does not build ahead of time, is not installed, does not take the
            plan's kind of graph or knows no such device.
        BuildError: It refuses the model.
        WorkerError: It crashed or took too long.
    """
    factory, options = options_for(plan, target, backend or plan.recipe.backend, device)
    with (
        open_executor(target.source, target.facts) as executor,
        executor.open(
            executor.devices()[0], open_build_service, factory, options, limit_s=BUILD_LIMIT_S
        ) as worker,
    ):
        where = worker.call(BuildService.fingerprint)
        engine = worker.call(BuildService.make, lowered.model, {})
    versions = ", ".join(f"{n} {v}" for n, v in where.versions.items() if n != "numpy")
    never = (
        f"built for {device} by {versions}; the engine has never run: neither its outputs nor its "
        f"speed are known. Run 'precsearch verify --artifact' where there is such a GPU"
    )
    notes = (*asked_and_ran(lowered, engine.ran), *fused_attention(engine.fused))
    return engine, (*notes, never)


def expect_backend(plan: Plan, backend: str | None) -> None:
    """Refuse to replay a plan on this machine with another backend than its own.

    Raises:
        OptionError: ``backend`` is another.
    """
    if backend not in (None, plan.recipe.backend):
        raise OptionError(
            f"the plan was made with the {plan.recipe.backend} backend; to build it with "
            f"{backend}, say for which GPU: add --target, such as --target sm89"
        )


def options_for(
    plan: Plan, target: Target, backend: str, device: str
) -> tuple[BackendFactory, BackendOptions]:
    """How to construct the backend that builds a plan ahead of time.

    Raises:
        OptionError: See `built_ahead`.
    """
    factory = backend_factory(backend)
    plain = factory(BackendOptions())
    if not isinstance(plain, BuildsAhead):
        raise OptionError(
            f"the {backend} backend builds for the device of this machine alone; leave out "
            "--target, or add --backend tensorrt-rtx"
        )
    kept = {n: v for n, v in target.options.build.items() if n in plain.shared_options}
    options = BackendOptions(0, "", plan.recipe.shapes, {**kept, "target": device})
    other: Backend = factory(options)
    try:
        other.form_named(target.form.base)
    except OptionError as error:
        raise OptionError(
            f"the plan was made for {plan.recipe.backend}, whose graphs {backend} does not take "
            f"({error}); make one with --backend {backend}, or with TensorRT 10 or later"
        ) from error
    return factory, options


def fused_attention(fused: tuple[int, int]) -> tuple[str, ...]:
    """How many attention cores one kernel computes, a sentence; none for a model without any.

    Args:
        fused: So many, of so many.
    """
    one, every = fused
    if not every:
        return ()
    if one == every:
        return (f"each of {every} attention cores runs in one kernel",)
    return (f"{one} of {every} attention cores run in one kernel, the others in several",)


def asked_and_ran(lowered: Lowered, ran: Mapping[str, Precision | None]) -> tuple[str, ...]:
    """Which groups run in something else than they were asked to, a sentence.

    Args:
        lowered: The model.
        ran: Node → precision that it runs in, ``None`` where that is not told.
    """
    rows: dict[str, str] = {}
    for node, precision in ran.items():
        requested = lowered.asked.get(node, Precision.FP32)
        if precision is not None and precision is not requested:
            rows.setdefault(lowered.owners.get(node, node), f"asked {requested}, runs {precision}")
    if not rows:
        return ()
    shown = "; ".join(f"{key!r}: {what}" for key, what in sorted(rows.items())[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return (f"the engine does not run everything as the plan asks: {shown}{more}",)
