"""`upgrade`: a plan of an older schema, or in one file, as this version writes plans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precsearch.plan.plan import evidence_path, read_plan
from precsearch.setup.files import check_free, write_output

__all__ = ["UpgradeReport", "upgrade"]


@dataclass(frozen=True)
class UpgradeReport:
    """What was written.

    Attributes:
        plan: The plan.
        evidence: What was measured, beside it; ``None`` if the given plan had none at hand.
        digest: Of the new plan; ``verify --expect`` takes it.
        lines: What the user should know, a sentence each.
    """

    plan: Path
    evidence: Path | None
    digest: str
    lines: tuple[str, ...]


def upgrade(plan: Path, output: Path, *, force: bool = False) -> UpgradeReport:
    """Write a plan in the present schema, with its evidence in a file beside it.

    What is built from the plan stays the same, byte for byte.

    Args:
        plan: The plan as it is; it is not changed.
        output: The new plan.
        force: Replace what is at ``output``.

    Raises:
        PlanError: The plan cannot be read, was edited, or is of a schema that is not known.
        OutputError: There is something at ``output``, or it cannot be written.
    """
    read = read_plan(plan)
    evidence = evidence_path(output) if read.has_evidence else None
    check_free([output, *filter(None, [evidence])], force=force, inputs=[plan, evidence_path(plan)])
    if evidence is not None:
        write_output(evidence, read.evidence_json(), force=force)
    write_output(output, read.without_evidence(), force=force)
    return UpgradeReport(output, evidence, read.digest, read.notes)
