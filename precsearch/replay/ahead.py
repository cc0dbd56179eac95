"""Building a plan's engine with another backend, or for a device that is not here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from precsearch.core.backend import Backend, BackendOptions, BuildsAhead, SharesPlans
from precsearch.core.errors import OptionError
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
from precsearch.replay.achieved import asked_and_ran, fused_attention
from precsearch.setup.target import Target

__all__ = ["built_ahead", "handed_over", "options_for"]


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
    other = backend or plan.recipe.backend
    factory, options = options_for(plan, target, other, device)
    with (
        open_executor(target.source, target.facts) as executor,
        executor.open(
            executor.devices()[0], open_build_service, factory, options, limit_s=BUILD_LIMIT_S
        ) as worker,
    ):
        where = worker.call(BuildService.fingerprint)
        engine = worker.call(BuildService.make, lowered.model, {}, lowered.products)
    versions = ", ".join(f"{n} {v}" for n, v in where.versions.items() if n != "numpy")
    never = (
        f"built for {device} by {versions}; the engine has never run: neither its outputs nor its "
        f"speed are known. Run 'precsearch verify PLAN --backend {other} --artifact FILE' where "
        "there is such a GPU"
    )
    notes = (*asked_and_ran(lowered, engine.ran), *fused_attention(engine.fused))
    return engine, (*notes, never)


def handed_over(plan: Plan, target: Target, backend: str | None) -> Target:
    """The model of a plan with the backend that is to build it on this machine.

    TensorRT 10 and later and TensorRT-RTX take each other's typed plans: the model is the same,
    byte for byte, the kernels are others.

    Args:
        plan: The plan.
        target: Its model and the backend that it was made with.
        backend: Name of the backend to build with; ``None`` is the plan's.

    Raises:
        OptionError: There is no such backend, or it does not take the plan's kind of graph.
    """
    if backend in (None, plan.recipe.backend):
        return target
    assert backend is not None
    factory = backend_factory(backend)
    other = _for_plan(plan, target, backend, factory, {})
    return replace(target, backend=other[0], factory=factory, options=other[1])


def options_for(
    plan: Plan, target: Target, backend: str, device: str
) -> tuple[BackendFactory, BackendOptions]:
    """How to construct the backend that builds a plan ahead of time.

    Raises:
        OptionError: See `built_ahead`.
    """
    factory = backend_factory(backend)
    if not isinstance(factory(BackendOptions()), BuildsAhead):
        raise OptionError(
            f"the {backend} backend builds for the device of this machine alone; leave out "
            "--target, or add --backend tensorrt-rtx"
        )
    return factory, _for_plan(plan, target, backend, factory, {"target": device})[1]


def _for_plan(
    plan: Plan, made: Target, backend: str, factory: BackendFactory, more: Mapping[str, str]
) -> tuple[Backend, BackendOptions]:
    """A backend that takes the graphs of a plan, with those of the plan's options that it shares.

    Raises:
        OptionError: It takes no plans of others, or not this kind of graph.
    """
    plain = factory(BackendOptions())
    why = "it builds its own plans alone"
    if isinstance(plain, SharesPlans):
        kept = {n: v for n, v in made.options.build.items() if n in plain.shared_options}
        options = BackendOptions(0, "", plan.recipe.shapes, {**kept, **more})
        other: Backend = factory(options)
        try:
            other.form_named(made.form.base)
        except OptionError as error:
            why = str(error)
        else:
            return other, options
    raise OptionError(
        f"the plan was made for {plan.recipe.backend}, whose graphs {backend} does not take "
        f"({why}); make one with --backend {backend}, or with TensorRT 10 or later"
    )
