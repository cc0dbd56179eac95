"""`doctor`: what is installed, what each backend truly runs here, and what is missing."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.text import Text

from precsearch._version import __version__
from precsearch.backends.auto import AutoBackend, auto_backend
from precsearch.cli.cells import clean, many
from precsearch.cli.output.dependencies import Dependency, dependencies, untested
from precsearch.cli.output.page import Page
from precsearch.core.backend import BackendOptions, facts_of
from precsearch.core.errors import PrecsearchError
from precsearch.core.precision import Precision
from precsearch.registry import backend_factory, backend_names, strategy_names
from precsearch.system.cpu import cpu_features, physical_cores

__all__ = ["BackendState", "Diagnosis", "diagnose", "doctor_fields", "doctor_lines"]

_OPTIONAL = {
    "openvino": "OpenVINO engines run FP32, INT8 and often BF16 on a CPU; run: pip install "
    "'precsearch[openvino]'",
    "tensorrt": "TensorRT engines need an NVIDIA GPU; run: pip install 'precsearch[tensorrt]'",
    "polygraphy": "only exported scripts need it; run: pip install polygraphy",
}
_BROKEN = "does not work: "
_DRIVER = Path("/proc/driver/nvidia/version")
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class BackendState:
    """A backend as it is here.

    Attributes:
        name: As ``--backend`` takes it.
        runs: What it truly runs, highest first; empty if it does not work.
        device: What it runs on.
        scheme: Name of its quantization scheme here.
        note: Why it does not run the rest, or why it does not work.
        kind: Of the device that its engines run on, ``cpu`` or ``gpu``.
    """

    name: str
    runs: tuple[str, ...]
    device: str
    scheme: str
    note: str
    kind: str = "cpu"


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `doctor` found.

    Attributes:
        versions: Package → version, "" where it is not installed; Python and precsearch first.
        backends: Each that can be named.
        auto: The backend that ``--backend auto`` takes, and why.
        strategies: Names.
        system: Operating system and processor architecture.
        cores: Physical cores that this process may use.
        features: Instruction sets that decide which integer kernels run.
        int8: What they mean for INT8, a sentence.
        gpus: A line each, as the driver tells.
        missing: What is not there and how to get it, a sentence each.
        untested: Installed versions that no check of precsearch ran with, a sentence each.
    """

    versions: Mapping[str, str]
    backends: tuple[BackendState, ...]
    auto: AutoBackend
    strategies: tuple[str, ...]
    system: str
    cores: int
    features: tuple[str, ...]
    int8: str
    gpus: tuple[str, ...]
    missing: tuple[str, ...]
    untested: tuple[str, ...]


def diagnose() -> Diagnosis:
    """Look around; never fails."""
    needed = dependencies()
    versions = _versions(needed)
    backends = tuple(map(_backend, backend_names()))
    features, cores = _processor()
    gpus = _gpus()
    return Diagnosis(
        versions=versions,
        backends=backends,
        auto=auto_backend(),
        strategies=strategy_names(),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores,
        features=features,
        int8=_meaning(features),
        gpus=gpus,
        missing=_missing(needed, versions, backends, gpus),
        untested=untested(needed),
    )


def _versions(needed: tuple[Dependency, ...]) -> dict[str, str]:
    versions = {"python": platform.python_version(), "precsearch": __version__}
    versions |= {row.name: row.installed for row in needed}
    for name in _OPTIONAL:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # noqa: PERF203 - two names
            # A wheel may be called otherwise (onnxruntime-gpu, tensorrt-cu12).
            versions[name] = "installed" if _importable(name.replace("-", "_")) else ""
    return versions


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _backend(name: str) -> BackendState:
    kind = "cpu"
    try:
        backend = backend_factory(name)(BackendOptions())
        kind = facts_of(backend).device
        where = backend.fingerprint()
    except (PrecsearchError, ImportError, OSError, RuntimeError) as error:
        first = str(error).strip().split("\n")[0]
        status = f"{_BROKEN}{first or type(error).__name__}"
        return BackendState(name, (), "", "", status, kind)
    runs = tuple(p.value for p in Precision.ordered() if p in backend.precisions)
    rest = [p.value for p in Precision.ordered() if p not in backend.precisions]
    note = f"no {', '.join(rest)}: {backend.refusal}" if rest else ""
    return BackendState(name, runs, where.device, backend.scheme.name, note, kind)


def _processor() -> tuple[tuple[str, ...], int]:
    """Instruction sets and cores that this process may use."""
    return cpu_features(), physical_cores()


def _meaning(features: tuple[str, ...]) -> str:
    names = set(features)
    if {"avx512_vnni", "avx_vnni", "amx_int8"} & names:
        return (
            "VNNI: products of 8-bit numbers are summed in 32 bits, so weights keep 8 bits and "
            "INT8 is usually much faster than FP32"
        )
    if {"i8mm", "asimddp"} & names:
        return "Arm dot products: weights keep 8 bits, and INT8 is usually faster than FP32"
    if "avx2" in names or "avx512bw" in names:
        return (
            "no VNNI: sums of 8-bit products would overflow in 16 bits, so weights are given 7 "
            "bits; INT8 gains less than on a newer CPU"
        )
    return "unknown instruction sets: INT8 works, and only a measurement tells whether it is faster"


def _gpus() -> tuple[str, ...]:
    """GPUs as nvidia-smi tells, or the driver alone; none where there is neither."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        rows = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
        if done.returncode == 0 and rows:
            return rows
    except (OSError, ValueError, subprocess.SubprocessError):
        pass
    try:
        return tuple(_DRIVER.read_text(encoding="utf-8", errors="replace").splitlines()[:1])
    except OSError:
        return ()


def _missing(
    needed: tuple[Dependency, ...],
    versions: Mapping[str, str],
    backends: tuple[BackendState, ...],
    gpus: tuple[str, ...],
) -> tuple[str, ...]:
    lines = [
        f"{row.name} is not installed: run 'pip install {row.name}'"
        for row in needed
        if not row.installed
    ]
    absent = [name for name in _OPTIONAL if not versions[name]]
    broken = (
        b for b in backends if not b.runs and b.name not in absent and (gpus or b.kind != "gpu")
    )
    lines += [f"the backend {b.name} {b.note}" for b in broken]
    lines += [f"{name} is not installed: {_OPTIONAL[name]}" for name in absent]
    if not gpus:
        lines.append("no NVIDIA GPU or driver was found: only CPU backends can be measured here")
    return tuple(lines)


def doctor_fields(diagnosis: Diagnosis) -> dict[str, object]:
    """As one JSON object, of type ``Doctor``."""
    return {
        "type": "Doctor",
        "versions": dict(diagnosis.versions),
        "backends": [
            {
                "name": b.name,
                "runs": list(b.runs),
                "device": b.device,
                "scheme": b.scheme,
                "note": b.note,
            }
            for b in diagnosis.backends
        ],
        "auto": {"name": diagnosis.auto.name, "reason": diagnosis.auto.reason},
        "strategies": list(diagnosis.strategies),
        "system": diagnosis.system,
        "cores": diagnosis.cores,
        "features": list(diagnosis.features),
        "int8": diagnosis.int8,
        "gpus": list(diagnosis.gpus),
        "missing": list(diagnosis.missing),
        "untested": list(diagnosis.untested),
    }


def doctor_lines(diagnosis: Diagnosis, page: Page) -> list[Text]:
    """For people."""
    lines = [Text("versions", style="bold")]
    lines += [
        Text(f"  {name:<12} {clean(number) or '-'}") for name, number in diagnosis.versions.items()
    ]
    lines += [Text(), Text("backends", style="bold")]
    width = max(12, *(len(backend.name) for backend in diagnosis.backends))
    for backend in diagnosis.backends:
        runs = f"runs {', '.join(backend.runs)}" if backend.runs else "does not run here"
        lines.append(Text(f"  {clean(backend.name):<{width}} {runs}"))
        note = backend.note.removeprefix(_BROKEN)
        lines += page.facts([("", text) for text in (backend.device, note) if text])
    lines += page.facts([("auto", f"takes {diagnosis.auto.name}: {diagnosis.auto.reason}")])
    lines += [Text(), Text("machine", style="bold")]
    lines += page.facts(
        [
            ("system", diagnosis.system),
            ("cores", many(diagnosis.cores, "core")),
            ("CPU", ", ".join(diagnosis.features) or "no known instruction sets"),
            ("INT8", diagnosis.int8),
            *(("GPU", gpu) for gpu in diagnosis.gpus or ("none",)),
            ("strategy", ", ".join(diagnosis.strategies)),
        ]
    )
    for sentence in (*diagnosis.missing, *diagnosis.untested):
        lines += page.sentence(sentence, "! ", "yellow")
    return lines
