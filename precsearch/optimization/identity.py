"""What tells one run from another: the identity that a journal records."""

from __future__ import annotations

from precsearch._version import __version__
from precsearch.codec import dumps, unstructure
from precsearch.metrics import metric_key
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.devices import devices_of
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target, rewrites_of

__all__ = ["identity"]


def identity(config: OptimizeConfig, target: Target, inputs: Inputs) -> dict[str, str]:
    """What a resumed run must agree in, by name."""
    holdout = inputs.parts.holdout
    calibration = inputs.parts.calibration
    return {
        "model": target.source.digest,
        "rewrites": rewrites_of(target),
        "precisions": ",".join(str(p) for p in target.space.precisions),
        "space": target.space.digest,
        "data": inputs.data.digest,
        "corrections": ",".join(config.corrections),
        "calibration": f"{config.calibration_method} {calibration.digest}",
        "holdout": "none" if holdout is None else holdout.digest,
        "backend": config.backend,
        "devices": _devices(config, target),
        "scheme": target.scheme.name,
        "tol": repr(config.tol),
        "timed": _timed(config),
        "objective": config.objective.value,
        "limits": " ".join(f"{name}={value!r}" for name, value in config.limits.given.items()),
        "metric": metric_key(inputs.metric),
        "strategy": config.strategy,
        "strategy-option": dumps(unstructure(dict(config.strategy_options))),
        "seed": str(config.seed),
        "threads": str(config.threads),
        "build": dumps(unstructure(dict(config.build_options))),
        "batch": str(config.batch),
        "input-shape": dumps(unstructure(dict(config.input_shapes))),
        "shapes": " ".join(map(str, config.shapes)),
        "control": config.control.text,
        "version": __version__,
    }


def _timed(config: OptimizeConfig) -> str:
    """Which number of its times is an engine's latency, and whether its groups are weighed."""
    return config.objective.timing.value + " and sizes" * config.weighs_groups


def _devices(config: OptimizeConfig, target: Target) -> str:
    """The devices as far as they are known before a run, and where they are."""
    names = (d.name for d in devices_of(config, target.facts))
    return " ".join(filter(None, (config.where, *names)))
