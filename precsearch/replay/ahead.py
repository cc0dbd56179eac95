"""Building a plan's engine for a device that is not here, and saying what is not known of it."""

from __future__ import annotations

from precsearch.core.backend import Backend, BackendOptions, BuildsAhead
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

__all__ = ["built_ahead", "expect_backend", "options_for"]


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
        engine = worker.call(BuildService.make, lowered.model, {}, lowered.products)
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
