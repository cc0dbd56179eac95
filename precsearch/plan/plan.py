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
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from precsearch.codec import dumps, structure, unstructure
from precsearch.codec.canonical import canonical
from precsearch.core.errors import PlanError
from precsearch.plan.criteria import Criteria, WeightedShapes, criteria_fields
from precsearch.plan.evidence import (
    Continuation,
    CorrectionEvidence,
    Evidence,
    Finalist,
    Fp32Evidence,
    GroupEvidence,
    MissingEvidence,
    TrialEvidence,
)
from precsearch.plan.recipe import (
    GroupRecipe,
    Recipe,
    RewriteRecipe,
    ScaleRecipe,
    ShiftRecipe,
    recipe_fields,
)
from precsearch.plan.upgrade import OLDEST, digest_of_schema_1, from_schema_1
from precsearch.system.regular_file import read_regular

__all__ = [
    "SCHEMA",
    "Continuation",
    "CorrectionEvidence",
    "Criteria",
    "Evidence",
    "Finalist",
    "Fp32Evidence",
    "GroupEvidence",
    "GroupRecipe",
    "Plan",
    "Recipe",
    "RewriteRecipe",
    "ScaleRecipe",
    "ShiftRecipe",
    "TrialEvidence",
    "WeightedShapes",
    "evidence_path",
    "read_plan",
]

SCHEMA = 2
"""Raised with every change of the format; `precsearch.plan.upgrade` reads older ones."""

_MAX_BYTES = 64 << 20
_ADVICE = "restore it or make it again with 'precsearch optimize'"
_KEYS = {1: frozenset({"schema", "digest", "recipe", "evidence"})}
_KEYS[2] = _KEYS[1] | {"criteria", "evidence_digest"}
_NOT_THERE = (
    "what was measured is not known, since {} is missing: the plan builds, but kernels, versions "
    "and device cannot be compared with those of the search; put the file beside the plan"
)
_EDITED_EVIDENCE = (
    "the plan's evidence does not match its digest: it was edited, and may tell of measurements "
    "that nobody made"
)


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
            {"criteria": criteria_fields(self.criteria), "recipe": recipe_fields(self.recipe)}
        )

    @property
    def has_evidence(self) -> bool:
        """Whether `evidence` is at hand; reading anything of it raises `PlanError` otherwise."""
        return not isinstance(self.evidence, MissingEvidence)

    @property
    def evidence_digest(self) -> str:
        """SHA-256 of the canonical JSON of the evidence, as hex; "" where it is not known."""
        if isinstance(self.evidence, MissingEvidence):
            return self.evidence.digest
        return _sha256(unstructure(self.evidence))

    @property
    def made_by(self) -> str:
        """The version of precsearch that made the plan, for people."""
        return self.evidence.version if self.has_evidence else "of the version that made the plan"

    def to_json(self) -> str:
        """Canonical text with the evidence, if that is at hand; ends with a line break."""
        whole = {"evidence": unstructure(self.evidence)} if self.has_evidence else {}
        return canonical({**self._fields(), **whole}) + "\n"

    def without_evidence(self) -> str:
        """Canonical text without the evidence, of which it has the digest."""
        return canonical(self._fields()) + "\n"

    def evidence_json(self) -> str:
        """The evidence as a file of its own, see `evidence_path`.

        Raises:
            PlanError: It is not at hand.
        """
        if isinstance(self.evidence, MissingEvidence):
            raise PlanError(self.evidence.reason)
        data = {"schema": SCHEMA, "plan": self.digest, "evidence": unstructure(self.evidence)}
        return canonical(data) + "\n"

    def _fields(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "recipe": recipe_fields(self.recipe),
            "criteria": criteria_fields(self.criteria),
            "evidence_digest": self.evidence_digest,
        }

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
            given, messages = from_schema_1(data)
            notes.append(messages)
        try:
            plan = cls(
                structure(given.get("recipe"), Recipe),
                structure(given.get("criteria"), Criteria),
                _evidence(given, schema),
            )
        except ValueError as error:
            raise PlanError(f"the plan is malformed: {error}; {_ADVICE}") from error
        if (digest_of_schema_1(data) if schema == 1 else plan.digest) != data.get("digest"):
            parts = "recipe does" if schema == 1 else "recipe and criteria do"
            raise PlanError(
                f"the plan's {parts} not match its digest: it was edited by hand; {_ADVICE}"
            )
        # Of what the file says: a later version may know more fields than the one that wrote it.
        edited = _sha256(data.get("evidence")) != data.get("evidence_digest")
        if schema > 1 and "evidence" in data and edited:
            notes.append(_EDITED_EVIDENCE)
        return replace(plan, notes=tuple(notes))


def _evidence(given: Mapping[str, Any], schema: int) -> Evidence:
    """The evidence in a plan, or what stands for one that is not there.

    Raises:
        ValueError: It is malformed.
    """
    if schema == 1 or "evidence" in given:
        return structure(given.get("evidence"), Evidence)
    digest = structure(given.get("evidence_digest"), str)
    return cast(Evidence, MissingEvidence(digest, _NOT_THERE.format("its evidence")))


def _sha256(data: object) -> str:
    return hashlib.sha256(dumps(data).encode()).hexdigest()


def evidence_path(plan: Path) -> Path:
    """Where the evidence of a plan is: ``a.evidence.json`` for ``a.plan.json`` and ``a.json``."""
    stem = plan.name.removesuffix(".json").removesuffix(".plan")
    return plan.with_name(f"{stem or plan.name}.evidence.json")


def read_plan(path: str | Path) -> Plan:
    """Read a plan file, and its evidence where that lies beside it.

    Raises:
        PlanError: The plan or its evidence cannot be read, is too large, or is something else.
    """
    path = Path(path)
    plan = Plan.from_json(_text(path, "plan"))
    if plan.has_evidence:
        return plan
    beside = evidence_path(path)
    if not os.path.lexists(beside):
        return _without(plan, _NOT_THERE.format(repr(str(beside))))
    data = _parse(_text(beside, "evidence"))
    if set(data) != {"schema", "plan", "evidence"} or data["schema"] != SCHEMA:
        raise PlanError(f"{str(beside)!r} is not the evidence of a plan; restore it or remove it")
    if data["plan"] != plan.digest:
        return _without(plan, f"{str(beside)!r} is the evidence of another plan; restore it")
    try:
        evidence = structure(data["evidence"], Evidence)
    except ValueError as error:
        raise PlanError(f"{str(beside)!r} is malformed: {error}; restore it") from error
    edited = _sha256(data["evidence"]) != plan.evidence_digest
    return replace(plan, evidence=evidence, notes=(*plan.notes, *[_EDITED_EVIDENCE] * edited))


def _without(plan: Plan, reason: str) -> Plan:
    missing = cast(Evidence, MissingEvidence(plan.evidence_digest, reason))
    return replace(plan, evidence=missing, notes=(*plan.notes, reason))


def _text(path: Path, what: str) -> str:
    try:
        return read_regular(path, _MAX_BYTES).decode()
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise PlanError(f"{str(path)!r} is too large to be a {what}; check the file") from error
        reason = error.strerror or type(error).__name__
        message = f"the {what} {str(path)!r} cannot be read: {reason}; check the path"
        raise PlanError(message) from error
    except UnicodeDecodeError as error:
        raise PlanError(f"{str(path)!r} is not a plan: it is not text") from error


def _schema(schema: object) -> int:
    """The schema of a plan, if this version reads it."""
    if type(schema) is int and OLDEST <= schema <= SCHEMA:
        return schema
    advice = "make it again with 'precsearch optimize'"
    if type(schema) is int and schema > SCHEMA:
        advice = f"it was written by a newer precsearch: install that one, or {advice}"
    shown = f"{schema!r:.20}"
    raise PlanError(f"the plan has schema {shown}, this version reads {SCHEMA}; {advice}")


def _parse(text: str) -> dict[str, Any]:
    def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) != len(pairs):
            raise PlanError("the plan names a key twice in one object; restore it")
        return record

    def no_constants(name: str) -> float:
        raise PlanError(f"the plan holds {name}, which is not JSON; restore it")

    try:
        data = json.loads(text, object_pairs_hook=no_twins, parse_constant=no_constants)
    except (ValueError, RecursionError) as error:  # malformed, or a number of 5000 digits
        raise PlanError(f"the plan is not valid JSON ({error}); restore it") from error
    if not isinstance(data, dict):
        raise PlanError("the plan is not a JSON object; restore it")
    return data
