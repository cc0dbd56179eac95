"""The command of README and quick start that shows three precisions at work, on made-up times."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from precsearch.core.events import Event, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.trial import Fidelity
from precsearch.optimization.start import optimize_events
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from tests.backends.ov.clocked_openvino import install
from tests.backends.ov.small_engines import made
from tests.e2e.command import MODEL, few_samples

ROOT = Path(__file__).parents[3]
_COMMAND = re.compile(r"precsearch optimize \S*digits/model\.onnx .*--backend openvino.*$", re.M)


def commands(page: str) -> list[list[str]]:
    return [shlex.split(line) for line in _COMMAND.findall((ROOT / page).read_text("utf-8"))]


def test_readme_and_quick_start_show_the_same_command() -> None:
    (shown,) = commands("README.md")
    assert commands("docs/quick-start.md") == [shown]


@pytest.mark.slow
def test_it_builds_engines_of_three_precisions_and_one_that_mixes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Precision.BF16 not in made().precisions:
        pytest.skip("the CPU has no BF16 instructions, and the backend does not offer BF16")
    (words,) = commands("README.md")
    config = OptimizeConfig(
        MODEL,
        few_samples(tmp_path / "few.npz", 16),
        tol=float(words[words.index("--tol") + 1]),
        backend=install(tmp_path, monkeypatch),
        threads=int(words[words.index("--threads") + 1]),
        corrections=(),
        max_builds=5,
        output=tmp_path / "p.json",
    )
    result: list[OptimizeResult] = []

    def whole() -> Iterator[Event]:
        result.append((yield from optimize_events(config)))

    ended = [e.trial for e in whole() if isinstance(e, TrialFinished)]
    engines = [t.assignment for t in ended if t.proposal.fidelity is Fidelity.ENGINE]
    assert not engines[0].entries  # FP32
    used = [{p for _, p in a.entries} for a in engines]
    assert {Precision.BF16} in used
    assert any(Precision.INT8 in precisions for precisions in used)
    assert any({Precision.BF16, Precision.INT8} <= precisions for precisions in used)
    assert result[0].plan is not None
