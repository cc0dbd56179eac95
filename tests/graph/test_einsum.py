"""An Einsum that is a product of matrices becomes a MatMul; others are reported with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.graph.folding.einsum import as_matmul
from tests.graph.plain_runs import is_free, lowered, operators, ran
from tests.graph.small_layers import GraphBuilder, view

SIZES = dict(zip("abhijkmnsd", (2, 3, 4, 5, 6, 7, 5, 3, 4, 6), strict=True))

LIVE = [
    *("ij,jk->ik", "bij,bjk->bik", "bhik,bhjk->bhij", "bhij,bhjk->bhik", "bij,jk->bik"),
    *("bij,kj->bik", "ji,jk->ki", "bhid,bhjd->bijh", "abij,bjk->abik", "i,ij->j", "ij,j->i"),
    *("i,i->", "bi,bi->b", "ij , jk", "bsh,sh->bs", "abi,abi->ab"),
]
WEIGHTS = [
    *("bsd,dhk->bhsk", "bhsk,hkd->bsd", "bsd,dn->bsn", "bsd,nd->bns", "bhsk,hkd->bhsd"),
    *("bsk,k->bs", "bk,khd->bhd", "bsd,dhkn->bhskn", "k,kn->n"),
]
NOT: dict[str, str] = {
    "ii,ij->j": "stands twice in one operand",
    "...ij,...jk->...ik": "ellipsis",
    "ij,kl->il": "summed over an index of its own",
    "ij,kl->ijkl": "sums over no index",
    "ij,ij->ij": "sums over no index",
    "bijk,bjkn->bin": "sums over several indices",
    "bi,bijk->bjk": "several indices of its second operand",
}


def shape(term: str) -> list[int]:
    return [SIZES.get(c, 2) for c in term.strip()]


def check(equation: str, constant: str) -> tuple[list[str], bool]:
    """Operators of the prepared model, and whether its product is free; the numbers agree."""
    b = GraphBuilder(seed=3)
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    operands, feed = [], {}
    for place, term in enumerate(terms):
        if constant == ("first", "second")[place]:
            operands.append(b.const(b.rng.normal(0, 1, shape(term))))
        else:
            name = b.input([f"{c}?" for c in term])
            operands.append(name)
            feed[name] = b.rng.normal(0, 1, shape(term)).astype(np.float32)
    b.output(b.op("Einsum", *operands, equation=equation))
    model = b.model()
    graph = view(model)
    (mine,), (wanted,) = ran(lowered(graph), feed), ran(model.SerializeToString(), feed)
    assert mine.shape == wanted.shape
    np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-5)
    return operators(graph), is_free(graph, "MatMul")


@pytest.mark.parametrize("equation", LIVE)
def test_a_product_of_two_tensors_is_a_matmul(equation: str) -> None:
    made, _ = check(equation, "")
    assert made.count("MatMul") == 1
    assert set(made) <= {"MatMul", "Transpose", "Unsqueeze", "Squeeze"}


@pytest.mark.parametrize("equation", WEIGHTS)
def test_a_product_with_a_constant_has_an_int8_form(equation: str) -> None:
    made, free = check(equation, "second")
    assert made.count("MatMul") == 1
    assert free
    left, right = equation.partition("->")[0].split(",")
    swapped, free = check(f"{right},{left}->{equation.partition('->')[2]}", "first")
    assert swapped.count("MatMul") == 1
    assert free


@pytest.mark.parametrize("equation", sorted(NOT))
def test_an_einsum_that_is_not_a_product_stays_with_a_reason(equation: str) -> None:
    found = as_matmul(equation, 2, [False, False])
    assert isinstance(found, str)
    assert NOT[equation] in found
    if "." not in equation:
        assert check(equation, "")[0] == ["Einsum"]


def test_one_or_three_operands_are_not_a_product() -> None:
    for equation, count in (("ij->ji", 1), ("ij,jk,kl->il", 3)):
        found = as_matmul(equation, count, [False] * count)
        assert isinstance(found, str)
        assert "a product has two" in found
