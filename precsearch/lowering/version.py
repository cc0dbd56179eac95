"""The version of the lowering; a plan names the one that wrote its bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["LOWERING", "lowering_version"]

LOWERING = 2
"""Raised whenever the bytes that the lowering writes change, of all graph forms."""

_OF_FORM: Mapping[str, int] = {"typed-half": 3}
"""Where the bytes of one form alone have changed since."""


def lowering_version(form: str) -> int:
    """The version that writes a graph form.

    Args:
        form: Name of a `precsearch.core.quantization.GraphForm`.
    """
    return max(LOWERING, _OF_FORM.get(re.sub(r"-\d+$", "", form), LOWERING))
