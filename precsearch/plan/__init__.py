"""The plan file."""

from precsearch.plan.plan import (
    SCHEMA,
    Continuation,
    Criteria,
    CureRecipe,
    Evidence,
    Finalist,
    Fp32Evidence,
    GroupEvidence,
    GroupRecipe,
    Plan,
    Recipe,
    ScaleRecipe,
    TrialEvidence,
    WeightedShapes,
    read_plan,
)

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
