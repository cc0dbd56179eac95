"""The plan: a recipe (what to build), criteria (what it must meet), evidence (what was measured).

One digest covers recipe and criteria, another one the evidence. None of the three holds code, or a
place to import it from. A recipe holds no path, clock or host. Its JSON is canonical: sorted keys,
one line per group and per scale, floats that matter as hexadecimal, so that two plans can be
compared with any diff.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from precsearch.backend import Fingerprint, fp32_words
from precsearch.codec import dumps, structure, unstructure
from precsearch.codec.canonical import canonical
from precsearch.criteria import Criteria, WeightedShapes
from precsearch.errors import PlanError
from precsearch.mismatch import Mismatch
from precsearch.predictions import PredictionErrors
from precsearch.recipe import CureRecipe, GroupRecipe, Recipe, ScaleRecipe, recipe_fields
from precsearch.regular_file import read_regular
from precsearch.space import Precision
from precsearch.trial import Accuracy, Latency, Prediction
from precsearch.upgrade import OLDEST, from_schema_1

__all__ = [
    "SCHEMA",
    "Continuation",
    "Criteria",
    "CureRecipe",
    "Evidence",
    "Finalist",
    "Fp32Evidence",
    "GroupEvidence",
    "GroupRecipe",
    "Plan",
    "Recipe",
    "ScaleRecipe",
    "TrialEvidence",
    "WeightedShapes",
    "read_plan",
]

SCHEMA = 2
"""Raised with every change of the format; `precsearch.upgrade` reads older ones."""

_MAX_BYTES = 64 << 20
_ADVICE = "restore it or make it again with 'precsearch optimize'"
_KEYS = {1: frozenset({"schema", "digest", "recipe", "evidence"})}
_KEYS[2] = _KEYS[1] | {"criteria", "evidence_digest"}
_EDITED_EVIDENCE = (
    "the plan's evidence does not match its digest: it was edited, and may tell of measurements "
    "that nobody made"
)


@dataclass(frozen=True, slots=True)
class GroupEvidence:
    """What a group ran in, and why it was given its precision.

    ``achieved`` is ``None`` where the engine does not tell: what it fuses into one region shows no
    more than the tensors that go in and out.
    """

    key: str
    achieved: Precision | None
    reason: str


@dataclass(frozen=True, slots=True)
class TrialEvidence:
    """One trial, abridged.

    Attributes:
        number: Its position.
        assignment: First 12 hex digits of the assignment's digest.
        counts: Groups per precision below FP32.
        fidelity: ``engine`` or ``proxy``.
        loss, ratio: What came out; ``None`` where there was none.
        failed: ``stage/kind: message`` if it failed.
        why: Why the strategy asked.
        pareto: Whether it is on the front of loss and latency.
        predicted: What its models expected, ``None`` where they were not asked.
        mismatches: Samples that could not be compared.
    """

    number: int
    assignment: str
    counts: Mapping[str, int]
    fidelity: str
    loss: float | None = None
    ratio: float | None = None
    failed: str = ""
    why: str = ""
    pareto: bool = False
    predicted: Prediction | None = None
    mismatches: tuple[Mismatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Finalist:
    """An engine of a last round, in the order fixed before the holdout was looked at.

    Attributes:
        trial: Its number.
        ratio: Latency over FP32's, as confirmed.
        search_loss: On the search part.
        holdout_loss: On the holdout, ``None`` without one.
        passed: Whether it is within the bound.
        output: The output that is farthest off on the holdout, where the model has several.
        round: 0 after the search as asked for, then how often the search had gone on.
    """

    trial: int
    ratio: float
    search_loss: float
    holdout_loss: float | None
    passed: bool
    output: str = ""
    round: int = 0


@dataclass(frozen=True, slots=True)
class Continuation:
    """A search that went on, since faster finalists missed the bound on the holdout.

    Attributes:
        tolerance: Bound on the loss that it worked with.
        trials: How many trials were known before.
        stopped: Why it ended.
    """

    tolerance: float
    trials: int
    stopped: str


@dataclass(frozen=True, slots=True)
class Fp32Evidence:
    """An FP32 engine of one of the ways in which a backend computes FP32.

    Attributes:
        mode: ``tf32``, ``strict``, …; see `precsearch.backend.Fp32Mode`.
        loss: Against the reference, on the search part.
        seconds: Of one inference. Engines of different modes were timed apart, minutes may lie
            between them.
        passed: Whether it is within the bound.
        baseline: Whether speeds are relative to this one, and FP32 groups of all engines are
            computed so.
    """

    mode: str
    loss: float
    seconds: float
    passed: bool
    baseline: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, where and when. Not part of the plan's digest; it has its own.

    Attributes:
        version: precsearch's.
        created: UTC, ISO 8601.
        where: Versions and device.
        strategy: Its name.
        calibration: Method.
        noise: Relative floor of latency.
        baseline: FP32's latency.
        latency: The chosen engine's, confirmed.
        accuracy: The chosen engine's on the search part.
        holdout: The chosen engine's on the holdout, ``None`` without one.
        groups: Achieved precision and reason by group, in graph order.
        finalists: Who was looked at on the holdout.
        trials: Every trial.
        warnings: What the user should know.
        stopped: Why the search ended, the last one if it went on.
        seconds: Wall time of the run.
        engine: What the chosen engine was made of, where that differs from build to build.
        tactics: What the builder chose by timing: key of a layer → hash of its kernel. For all
            engines of the search; empty where it does not tell (TensorRT before 10.8).
        predictions: How right the strategy's models were, ``None`` where it has none.
        fp32: The FP32 engines that were measured, where the backend has several ways to compute
            FP32.
        continued: Searches that went on after a miss on the holdout.
    """

    version: str
    created: str
    where: Fingerprint
    strategy: str
    calibration: str
    noise: float
    baseline: Latency
    latency: Latency
    accuracy: Accuracy
    holdout: Accuracy | None = None
    groups: tuple[GroupEvidence, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    trials: tuple[TrialEvidence, ...] = ()
    warnings: tuple[str, ...] = ()
    stopped: str = "done"
    seconds: float = 0.0
    engine: tuple[str, ...] = ()
    tactics: Mapping[str, str] = field(default_factory=dict)
    predictions: PredictionErrors | None = None
    fp32: tuple[Fp32Evidence, ...] = ()
    continued: tuple[Continuation, ...] = ()

    @property
    def fp32_mode(self) -> str:
        """What FP32 was computed in; "" where the backend has one way alone."""
        return next((e.mode for e in self.fp32 if e.baseline), "")

    @property
    def fp32_words(self) -> str:
        """What people call the FP32 that speeds are relative to."""
        return fp32_words(self.fp32_mode)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build, what it must meet, and what was measured.

    Attributes:
        recipe: Decides the bytes of the model.
        criteria: What `verify` judges by.
        evidence: What the search measured.
        notes: What is to be said about the file that the plan was read from, a sentence each.
    """

    recipe: Recipe
    criteria: Criteria
    evidence: Evidence
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of recipe and criteria, as hex."""
        return _sha256(
            {"criteria": unstructure(self.criteria), "recipe": recipe_fields(self.recipe)}
        )

    def to_json(self) -> str:
        """Canonical text, ending with a line break."""
        evidence = unstructure(self.evidence)
        data = {
            "schema": SCHEMA,
            "digest": self.digest,
            "recipe": recipe_fields(self.recipe),
            "criteria": unstructure(self.criteria),
            "evidence": evidence,
            "evidence_digest": _sha256(evidence),
        }
        return canonical(data) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `to_json` writes, or wrote in an older version.

        Raises:
            PlanError: It is malformed, of another schema, or its recipe or criteria were edited.
        """
        data = _parse(text)
        schema = _schema(data.get("schema"))
        extra = sorted(set(data) - _KEYS[schema])
        if extra:
            raise PlanError(f"the plan has an unknown key {extra[0]!r}; remove it")
        given, notes = data, []
        if schema == 1:
            given, said = from_schema_1(data)
            notes.append(said)
        try:
            plan = cls(
                structure(given.get("recipe"), Recipe),
                structure(given.get("criteria"), Criteria),
                structure(given.get("evidence"), Evidence),
            )
        except ValueError as error:
            raise PlanError(f"the plan is malformed: {error}; {_ADVICE}") from error
        if (plan.recipe.digest if schema == 1 else plan.digest) != data.get("digest"):
            parts = "recipe does" if schema == 1 else "recipe and criteria do"
            raise PlanError(
                f"the plan's {parts} not match its digest: it was edited by hand; {_ADVICE}"
            )
        if schema > 1 and _sha256(unstructure(plan.evidence)) != data.get("evidence_digest"):
            notes.append(_EDITED_EVIDENCE)
        return replace(plan, notes=tuple(notes))


def _sha256(data: object) -> str:
    return hashlib.sha256(dumps(data).encode()).hexdigest()


def read_plan(path: str | Path) -> Plan:
    """Read a plan file.

    Raises:
        PlanError: It is missing, too large, or not a plan.
    """
    path = Path(path)
    try:
        return Plan.from_json(read_regular(path, _MAX_BYTES).decode())
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise PlanError(f"{str(path)!r} is too large to be a plan; check the file") from error
        reason = error.strerror or type(error).__name__
        said = f"the plan {str(path)!r} cannot be read: {reason}; check the path"
        raise PlanError(said) from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{str(path)!r} is not a plan: it is not text") from error


def _schema(found: object) -> int:
    """The schema of a plan, if this version reads it."""
    if type(found) is int and OLDEST <= found <= SCHEMA:
        return found
    advice = "make it again with 'precsearch optimize'"
    if type(found) is int and found > SCHEMA:
        advice = f"it was written by a newer precsearch: install that one, or {advice}"
    shown = f"{found!r:.20}"
    raise PlanError(f"the plan has schema {shown}, this version reads {SCHEMA}; {advice}")


def _parse(text: str) -> dict[str, Any]:
    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise PlanError("the plan names a key twice in one object; restore it")
        return found

    def no_constants(name: str) -> float:
        raise PlanError(f"the plan holds {name}, which is not JSON; restore it")

    try:
        data = json.loads(text, object_pairs_hook=no_twins, parse_constant=no_constants)
    except (ValueError, RecursionError) as error:  # malformed, or a number of 5000 digits
        raise PlanError(f"the plan is not valid JSON ({error}); restore it") from error
    if not isinstance(data, dict):
        raise PlanError("the plan is not a JSON object; restore it")
    return data
