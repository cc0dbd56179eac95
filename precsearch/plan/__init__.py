"""The plan file."""

from precsearch.plan.plan import (
    SCHEMA,
    Continuation,
    Criteria,
    Evidence,
    Finalist,
    Fp32Evidence,
    GroupEvidence,
    GroupRecipe,
    Plan,
    Recipe,
    RewriteRecipe,
    ScaleRecipe,
    ShiftRecipe,
    TrialEvidence,
    WeightedShapes,
    read_plan,
)

__all__ = [
    "SCHEMA",
    "Continuation",
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
