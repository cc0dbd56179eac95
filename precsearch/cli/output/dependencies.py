"""Which packages precsearch needs, which versions are installed, and which ones were tested.

What is needed comes from the metadata of the installed package, what was tested from
``precsearch/constraints.txt``, which `./check` and CI install.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

__all__ = ["Dependency", "dependencies", "untested"]


@dataclass(frozen=True)
class Dependency:
    """A package that precsearch needs.

    Attributes:
        name: As pip takes it.
        installed: Its version here, "" where it is not installed.
        allowed: Whether the installed version is in the range that precsearch declares.
        wanted: That range, for example ``>=1.23``.
        tested: The versions that the checks ran with, oldest first.
    """

    name: str
    installed: str
    allowed: bool
    wanted: str
    tested: tuple[str, ...]


def _requirements() -> list[Requirement]:
    """What every installation needs here."""
    try:
        lines = requires("precsearch") or []
    except PackageNotFoundError:  # a source tree that was never installed
        lines = []
    rows = [Requirement(line) for line in lines]
    return [r for r in rows if r.marker is None or r.marker.evaluate({"extra": ""})]


def _tested() -> dict[str, tuple[str, ...]]:
    """Package to the versions in the constraints, for whatever Python."""
    tested: dict[str, set[Version]] = {}
    text = files("precsearch").joinpath("constraints.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        try:
            row = Requirement(line)
        except InvalidRequirement:  # a comment
            continue
        versions = tested.setdefault(canonicalize_name(row.name), set())
        versions.update(Version(s.version) for s in row.specifier)
    return {name: tuple(map(str, sorted(versions))) for name, versions in tested.items()}


_OTHERS = {"onnxruntime": ("onnxruntime-gpu",)}
"""Package → others that bring the same module."""


def _installed(name: str) -> str:
    for each in (name, *_OTHERS.get(canonicalize_name(name), ())):
        try:
            return version(each)
        except PackageNotFoundError:  # noqa: PERF203 - two names
            continue
    return ""


def dependencies() -> tuple[Dependency, ...]:
    """What every installation of precsearch needs, in the order of its metadata."""
    tested = _tested()
    return tuple(
        Dependency(
            row.name,
            installed := _installed(row.name),
            _allows(row, installed),
            str(row.specifier),
            tested.get(canonicalize_name(row.name), ()),
        )
        for row in _requirements()
    )


def _allows(row: Requirement, installed: str) -> bool:
    try:
        return row.specifier.contains(installed, prereleases=True)
    except InvalidVersion:  # a build of somebody's own
        return True


def untested(packages: tuple[Dependency, ...]) -> tuple[str, ...]:
    """A sentence for each installed version that no check of precsearch ran with."""
    sentences = []
    for row in packages:
        if not row.installed or row.installed in row.tested:
            continue
        if not row.allowed:
            sentences.append(
                f"{row.name} {row.installed} is not supported: "
                f"run 'pip install \"{row.name}{row.wanted}\"'"
            )
        elif row.tested:
            sentences.append(
                f"{row.name} {row.installed} was never tested with precsearch, which was tested "
                f"with {' and '.join(row.tested)}"
            )
    return tuple(sentences)
