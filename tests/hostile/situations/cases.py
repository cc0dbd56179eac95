"""Every hostile situation, by what is attacked."""

from __future__ import annotations

from tests.hostile.situations.data_cases import DATA_CASES
from tests.hostile.situations.model_cases import MODEL_CASES
from tests.hostile.situations.option_cases import OPTION_CASES
from tests.hostile.situations.output_cases import OUTPUT_CASES
from tests.hostile.situations.plan_cases import PLAN_CASES

__all__ = ["CASES"]

CASES = [*MODEL_CASES, *DATA_CASES, *PLAN_CASES, *OUTPUT_CASES, *OPTION_CASES]
