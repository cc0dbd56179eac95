"""Record the profiles and the proxy's losses of recorded OpenVINO landscapes again.

    python -m benchmarks.landscapes.profile_openvino benchmarks/landscapes/openvino -o FOLDER

Latencies, losses of engines, groups and assignments stay those of the record: they need an idle
machine and hours, and neither profiles nor proxies do. For a change to either of the two.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.landscapes.models import write
from benchmarks.landscapes.record import BATCH, Opened, opened, profiles
from benchmarks.landscapes.record_openvino import SAMPLES, proxies
from benchmarks.landscapes.replay import load
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import Accuracy, Measurement
from precsearch.measurement.profiling import seconds_by_group

RUNS = 3


def recorded_space(case: Opened, path: Path) -> tuple[SearchSpace, list[Assignment]]:
    """The model's groups with the choices of the record, and its assignments in their order.

    Raises:
        ValueError: The model has other groups now.
    """
    found = load(path)
    space = case.target.space
    if [g.key for g in space.groups] != [g.key for g in found.space.groups]:
        raise ValueError(f"{path.name} was recorded with other groups: record it anew")
    chosen = {g.key: g.choices for g in found.space.groups}
    groups = tuple(replace(g, choices=chosen[g.key]) for g in space.groups)
    return replace(space, groups=groups), sorted(found.rows, key=lambda a: found.rows[a])


def profiled(
    case: Opened, assignments: Sequence[Assignment], latency: np.ndarray
) -> list[Measurement]:
    """A measurement with the profile of each assignment's engine, and nothing else that counts."""
    backend = case.target.factory(replace(case.target.options, shapes=case.inputs.shapes))
    feed = case.searched.data.feeds[0]
    made = []
    for assignment, seconds in zip(assignments, latency, strict=True):
        low = case.lowering.lower(assignment)
        session = backend.open(backend.build(low.model), profiled=True)
        kernels = session.profile(feed, RUNS)
        session.close()
        own = seconds_by_group(kernels, low.owners, float(seconds))["group_seconds"]
        made.append(Measurement(Accuracy(0.0, 0.0), None, own))
    return made


def renew(path: Path, folder: Path) -> None:
    """Write one record with its profiles and proxies taken anew."""
    name = path.stem
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    with tempfile.TemporaryDirectory() as scratch:
        model, data = write(name, Path(scratch), samples=SAMPLES)
        case = opened(model, data, Path(scratch), BATCH.get(name, 1), "openvino")
        if json.loads(str(arrays["header"]))["model_sha256"] != case.target.source.digest:
            raise ValueError(f"{path.name} is of another model: record it anew")
        space, assignments = recorded_space(case, path)
        latency = arrays["ratio_a"] * arrays["seconds"]
        found = profiled(case, assignments, latency)
        arrays["proxy"] = np.asarray(proxies(case, space, assignments), np.float32)
        arrays["profile"] = profiles(space, found)
    np.savez_compressed(folder / path.name, **arrays)
    print(f"{name}: {len(assignments)} engines profiled")


def main() -> None:
    """Renew every record of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("records", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.records.glob("*.npz")):
        renew(path, args.output)


if __name__ == "__main__":
    main()
