"""Pins, --exclude and --only take choices away, never add one, and say why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import precsearch
from precsearch.api import OptimizeConfig, OptimizeResult, optimize_events
from precsearch.cli.options.control import parse_control
from precsearch.core.events import TrialFinished
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.grouping.control import Control, Pin, controlled
from precsearch.search.journal import read
from precsearch.setup.target import Target, open_target
from tests.e2e.command import MODEL
from tests.e2e.plugins.clocked_backend import here
from tests.hostile.situations.world import write_world

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


@pytest.fixture(scope="module")
def digits() -> Target:
    return open_target(read_model(MODEL), "onnxruntime", None, "group", 1)


def kept(target: Target, *pins: str, exclude: str = "", only: str = "") -> set[str]:
    """Keys of the groups that lose a choice."""
    settled = parse_control(pins, [exclude] if exclude else [], [only] if only else [])
    return set(controlled(target.space, target.graph, settled)[1])


def finish(config: OptimizeConfig) -> OptimizeResult:
    """Run to the end."""
    events = optimize_events(config)
    while True:
        try:
            next(events)
        except StopIteration as end:  # noqa: PERF203 - how a generator returns
            result: OptimizeResult = end.value
            return result


def test_a_pattern_names_groups_nodes_tensors_or_operators(digits: Target) -> None:
    gemm = next(n for n in digits.graph.nodes if n.op_type == "Gemm")
    weight = gemm.inputs[1]
    (group,) = kept(digits, "op:Gemm=fp32")
    assert gemm.key in digits.space.by_key[group].nodes
    for pattern in (group, f"group:{group}", f"node:{gemm.key}", f"tensor:{weight}", "logit?"):
        assert kept(digits, f"{pattern}=fp32") == {group}
    convs = kept(digits, "op:Conv*=fp32")
    assert convs == {g.key for g in digits.space.free if g.kind == "conv"}
    assert kept(digits, exclude="op:Conv") == convs
    others = {g.key for g in digits.space.free} - convs
    assert kept(digits, only="op:Conv") == others


def test_a_name_with_brackets_is_matched_literally(digits: Target) -> None:
    assert controlled(digits.space, digits.graph, Control())[1] == {}
    with pytest.raises(precsearch.OptionError, match="do you mean 'logits'"):
        kept(digits, "logit=fp32")


def test_a_file_gives_the_reasons(digits: Target, tmp_path: Path) -> None:
    path = tmp_path / "pins.txt"
    path.write_text("# reviewed in May\n\nop:Gemm=fp32  # the safety case asks for it\n")
    settled = parse_control([f"@{path}"])
    _, reasons = controlled(digits.space, digits.graph, settled)
    (reason,) = reasons.values()
    assert reason == "kept in fp32 by '--pin op:Gemm=fp32', the safety case asks for it"


_PATTERNS = st.sampled_from(["op:Conv", "op:Add", "stage1/*", "stage*", "*", "op:Gemm", "group:*"])
_PINS = st.builds(Pin, _PATTERNS, st.sampled_from([FP32, FP16]))


@given(st.lists(_PINS, max_size=3), st.lists(_PATTERNS, max_size=2))
def test_control_only_ever_takes_choices_away(pins: list[Pin], only: list[str]) -> None:
    target = open_target(read_model(MODEL), "onnxruntime", None, "group", 1)
    space, reasons = controlled(target.space, target.graph, Control(tuple(pins), tuple(only)))
    assert space.digest == target.space.digest
    for old, new in zip(target.space.groups, space.groups, strict=True):
        assert new.choices[0] is FP32
        assert set(new.choices) <= set(old.choices)
        assert (new.choices != old.choices) == (new.key in reasons)


def test_pinned_groups_are_never_lowered_and_the_plan_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = OptimizeConfig(
        *(Path("model.onnx"), Path("data.npz")),
        tol=0.9,
        threads=1,
        backend="clocked",
        corrections=(),
        control=parse_control(["op:MatMul=fp32"]),
    )
    finish(config)
    done = [e for e in read(config.run_path) if isinstance(e, TrialFinished)]
    asked = {key for event in done for key in event.trial.assignment}
    plan = precsearch.read_plan(config.plan_path)
    matmul = next(g for g in plan.recipe.groups if g.kind == "matmul")
    assert asked
    assert matmul.key not in asked
    assert matmul.precision is FP32
    reasons = {g.key: g.reason for g in plan.evidence.groups}
    assert reasons[matmul.key] == "kept in fp32 by '--pin op:MatMul=fp32'"
    with pytest.raises(precsearch.InputError, match="control"):
        finish(replace(config, control=Control(), resume=True))


def test_a_search_in_which_everything_is_pinned_says_that_this_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = OptimizeConfig(
        *(Path("model.onnx"), Path("data.npz")),
        threads=1,
        backend="clocked",
        corrections=(),
        control=parse_control((), exclude=["*"]),
    )
    assert "FP32 is what was asked for" in " ".join(finish(config).summary)
