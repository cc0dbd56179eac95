"""Concats of tensors with scales of unlike types: refused as such, built as they are written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precsearch.core.errors import BuildError
from precsearch.core.quantization import TYPED_HALF
from tests.backends.trt.rtx.building import TARGETS, built
from tests.lowering.join_trees import JoinTree, join_trees
from tests.lowering.test_wide_joins import joined

pytestmark = pytest.mark.rtx
REFUSED = r"CHECK\(opnd->type\(\) == output_type\)"


@pytest.mark.parametrize("target", TARGETS)
def test_unlike_scales_build_in_fp32_and_not_in_fp16(target: str) -> None:
    """Should a version build the FP16 form, writing another has become needless."""
    tree, _ = joined(1e-4)
    with pytest.raises(BuildError, match=REFUSED):
        built(tree.lowered(replace(TYPED_HALF, guard_products=False)).model, target)
    wide = built(tree.lowered().model, target)
    like = built(joined(4.0)[0].lowered().model, target)
    assert len(wide.layers) <= len(like.layers), "the FP32 form costs a kernel"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(join_trees(), st.sampled_from(TARGETS))
def test_any_tree_of_concats_builds(tree: JoinTree, target: str) -> None:
    built(tree.lowered().model, target)
