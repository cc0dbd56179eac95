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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from precsearch.codec import dumps, structure, unstructure
from precsearch.codec.canonical import canonical
from precsearch.core.errors import PlanError
from precsearch.plan.criteria import Criteria, WeightedShapes
from precsearch.plan.evidence import (
    Continuation,
    CorrectionEvidence,
    Evidence,
    Finalist,
    Fp32Evidence,
    GroupEvidence,
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
    "read_plan",
]

SCHEMA = 2
"""Raised with every change of the format; `precsearch.plan.upgrade` reads older ones."""

_MAX_BYTES = 64 << 20
_ADVICE = "restore it or make it again with 'precsearch optimize'"
_KEYS = {1: frozenset({"schema", "digest", "recipe", "evidence"})}
_KEYS[2] = _KEYS[1] | {"criteria", "evidence_digest"}
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
        if (digest_of_schema_1(data) if schema == 1 else plan.digest) != data.get("digest"):
            parts = "recipe does" if schema == 1 else "recipe and criteria do"
            raise PlanError(
                f"the plan's {parts} not match its digest: it was edited by hand; {_ADVICE}"
            )
        # Of what the file says: a later version may know more fields than the one that wrote it.
        if schema > 1 and _sha256(data.get("evidence")) != data.get("evidence_digest"):
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
