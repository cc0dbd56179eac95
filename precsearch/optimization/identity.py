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


def _devices(config: OptimizeConfig, target: Target) -> str:
    """The devices as far as they are known before a run, and where they are."""
    names = (d.name for d in devices_of(config, target.facts))
    return " ".join(filter(None, (config.where, *names)))
