"""What a plan is judged by, and how much of it the caller has to name."""

from __future__ import annotations

import re

from precsearch.core.errors import OptionError, PlanError, ReplayError
from precsearch.core.precision import Precision
from precsearch.metrics import named
from precsearch.plan.criteria import Criteria
from precsearch.plan.plan import Plan
from precsearch.system.user_code import find_function

__all__ = ["expect_digest", "metric_of"]

_DIGEST = re.compile("[0-9a-f]{64}")


def expect_digest(plan: Plan, digest: str | None) -> None:
    """Refuse another plan than the one that was reviewed.

    Args:
        plan: The plan.
        digest: Of the one that was reviewed; ``None`` for any.

    Raises:
        OptionError: ``digest`` is none.
        ReplayError: The plan has another one.
    """
    if digest is None:
        return
    if not _DIGEST.fullmatch(digest.lower()):
        raise OptionError(f"--expect takes a plan's digest, 64 hexadecimal digits, not {digest!r}")
    if plan.digest != digest.lower():
        raise ReplayError(
            f"the plan has the digest {plan.digest}, which is not the expected one: its recipe or "
            "its criteria are others; review it and expect its new digest"
        )


def metric_of(criteria: Criteria, given: str | None) -> str:
    """The metric to judge by, as `precsearch.metrics.metric` takes it.

    A plan that names code does not make it run: the caller names it as well, and it has to have
    the digest that the plan records. Until that is known, nothing of it runs.

    Args:
        criteria: The plan's.
        given: What the caller named.

    Raises:
        OptionError: The caller named none where one is needed, or another than the plan's.
        PlanError: The plan's metric is none, or has no digest.
        ReplayError: The caller's has another digest.
    """
    if criteria.baseline is not Precision.FP32:
        raise PlanError(
            f"the plan is compared with {criteria.baseline}, this version compares with fp32; make "
            "it again with 'precsearch optimize'"
        )
    name = criteria.metric
    if named(name) is not None:
        if given not in (None, name):
            raise _other(name, given)
        return name
    if ":" not in name:
        raise PlanError(
            f"there is no metric {name!r}, by which the plan is judged; make it again with "
            "'precsearch optimize'"
        )
    if given is None:
        raise OptionError(
            f"the plan is judged by {name!r}, its author's own code, which runs only if you name "
            "it: add --metric FILE.py:FUNCTION once you have read it"
        )
    if not criteria.metric_sha256:
        raise PlanError(
            f"the plan does not say which {name!r} it is judged by: it has no digest of it; make "
            "the plan again with 'precsearch optimize'"
        )
    return _checked(criteria, given)


def _other(judged: str, given: str | None) -> OptionError:
    return OptionError(
        f"the plan is judged by {judged!r}, --metric names {given!r}; name the plan's own, or none"
    )


def _checked(criteria: Criteria, given: str) -> str:
    if named(given) is not None:
        raise _other(criteria.metric, given)
    function = find_function(given)
    if function.name != criteria.metric:
        raise _other(criteria.metric, function.name)
    if function.sha256 != criteria.metric_sha256:
        raise ReplayError(
            f"{given!r} is not the code that the plan is judged by (SHA-256 "
            f"{function.sha256[:12]}, the plan has {criteria.metric_sha256[:12]}); "
            "restore it, or make a new plan"
        )
    return given
