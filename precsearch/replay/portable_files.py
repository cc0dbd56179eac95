"""Writes a lowered model in the format of its engine, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from precsearch.executors.open import open_executor
from precsearch.lowering.lower import Lowered
from precsearch.measurement.build_service import BUILD_LIMIT_S, BuildService, open_build_service
from precsearch.replay.portable import portable_suffixes
from precsearch.setup.target import Target

__all__ = ["portable_files"]


def portable_files(target: Target, path: Path, lowered: Lowered) -> Mapping[Path, bytes]:
    """The files of a lowered model in the format of its backend, the named one first.

    They are made in a process of their own, for the input shapes of the target's options.

    Raises:
        OptionError: The backend is not installed here.
        BuildError: It refuses the model.
        WorkerError: It crashed or took too long.
    """
    given = replace(target.options, model_folder="", cache="")
    with (
        open_executor(target.source, target.facts) as executor,
        executor.open(
            executor.devices()[0],
            open_build_service,
            target.factory,
            given,
            limit_s=BUILD_LIMIT_S,
        ) as worker,
    ):
        files = worker.call(BuildService.portable, lowered.model)
    suffixes = portable_suffixes(target.backend, path)
    places = (path, *(path.with_suffix(suffix) for suffix in suffixes[1:]))
    return dict(zip(places, files, strict=True))
