"""What commands print of results, and the exit codes of errors."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from precsearch import api
from precsearch.api import (
    BuildReport,
    Counted,
    Inspection,
    OptimizeConfig,
    OptimizeResult,
    VerifyReport,
)
from precsearch.cli.exit_codes import Exit
from precsearch.cli.main import run
from precsearch.cli.output.next_steps import next_steps
from precsearch.core.errors import ReplayError, RunError, WorkerKilled
from precsearch.core.precision import Precision
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.graph.work import Work
from precsearch.grouping.undecided import Hidden, Undecided
from tests.cli.runs import accuracy, latency, plan
from tests.graph.small_layers import GraphBuilder, view

BOTH = (Precision.FP32, Precision.INT8)


def test_build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def build(
        plan: Path,
        model: Path | None,
        output: Path,
        *,
        force: bool,
        expect: str | None,
        **ahead: str | None,
    ) -> BuildReport:
        assert ahead == {"backend": None, "target": None}
        assert (plan, model, force, expect) == (Path("p.json"), None, True, None)
        return BuildReport("identical", output, "ab" * 32, 1_234_567)

    monkeypatch.setattr(api, "build", build)
    assert (
        run(["build", "p.json", "-o", "a/very/long/path/of/a/model.onnx", "--force"]) == Exit.DONE
    )
    out = capsys.readouterr().out
    assert "model.onnx: identical to what the plan promises" in out
    assert "  model    a/very/long/path/of/a/model.onnx\n" in out
    assert "1.23MB" in out


@pytest.mark.parametrize(
    ("kernels", "artifact", "steps"),
    [
        ((), None, ["build p.json --model m.onnx -o m.optimized.onnx", "verify p.json"]),
        ((), "a.onnx", ["verify p.json"]),
        (("gemm",), None, ["build p.json --model m.onnx -o m.engine", "m.engine"]),
        (("gemm",), "a.engine", ["a.engine"]),
    ],
)
def test_the_next_commands_are_shown(
    kernels: tuple[str, ...], artifact: str | None, steps: list[str]
) -> None:
    """An engine is measured itself: another build of it is another engine."""
    found = plan()
    made = replace(found, evidence=replace(found.evidence, engine=kernels))
    shipped = None if artifact is None else Path(artifact)
    result = OptimizeResult(made, Path("p.json"), shipped, met=True, interrupted=False)
    said = next_steps(OptimizeConfig(Path("m.onnx"), Path("d.npz")), result)
    verify = "precsearch verify p.json --model m.onnx --data d.npz"
    own = f" --artifact {steps[-1]}" if kernels else ""
    assert said == [*(f"precsearch {step}" for step in steps[:-1]), f"{verify}{own}"]


REPORT = VerifyReport(
    passed=True,
    verdict="identical",
    metric="rel-l2",
    tolerance=0.01,
    loss=0.0091,
    accuracy=accuracy(0.0091),
    latency=latency(0.5),
    noise=0.02,
    slower=False,
    lines=("the plan was measured on another machine",),
)


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (REPORT, Exit.DONE, "verified, within rel-l2 ≤ 0.01"),
        (
            replace(REPORT, passed=False, loss=0.02),
            Exit.REPLAY,
            "the loss is not within rel-l2 ≤ 0.01",
        ),
        (
            replace(REPORT, passed=False, slower=True, latency=latency(1.2)),
            Exit.REPLAY,
            "it is slower than FP32 on this machine",
        ),
        (replace(REPORT, passed=False, loss=float("nan")), Exit.REPLAY, "not verified"),
    ],
)
def test_verify(
    report: VerifyReport,
    code: Exit,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(api, "verify", lambda *args, **options: report)
    assert run(["verify", "p.json", "--tol", "1e-2"]) == code
    out = capsys.readouterr().out
    assert said in out
    assert "! the plan was measured on another machine" in out


def group(key: str, block: str = "", signature: str = "s", choices: int = 2) -> LayerGroup:
    return LayerGroup(key, "conv", (key,), BOTH[:choices], False, signature, block, 2_360_000)


def test_inspect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [group(f"/model/encoder/{'x' * 60}/{i}/out", f"block{i}") for i in range(12)]
    rows = (group("stem"), *blocks, group("head", signature="t"), group("soft", choices=1))
    b = GraphBuilder()
    b.output(b.op("Relu", b.input([1])))
    space = _space(rows)
    work = Work(33_000_000), Work(30_000_000)
    left = (Undecided("soft", "Conv", Work(3_000_000), "its weight 'w' is no constant"),)
    hidden = (Hidden("i", "If", (("MatMul", 8),)),)
    counted = Counted(view(b.model()), space, *work, frozenset({"head"}), left, hidden)
    found = Inspection("m.onnx", "ab" * 32, 17, 40, 4_000_000, ("'x' [1]",), ("y",), space, counted)
    monkeypatch.setattr(api, "inspect", lambda *args, **options: found)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["inspect", "m.onnx"]) == Exit.DONE
    out = capsys.readouterr().out
    assert max(map(cell_len, out.splitlines())) <= 80
    assert "14 to decide of 15" in out
    assert "11 more like block0: block1 to block11" in out
    assert out.count("fp32 int8") == 3
    assert "…" in out
    assert "always FP32: 1 conv" in out
    assert "33M MACs a sample, 30M (91 %) to decide" in out
    assert "2.36M+" in out
    assert "soft  Conv: its weight 'w' is no constant" in out
    assert "! 8 layers (8 MatMul) are inside of If 'i'" in out


def _space(groups: tuple[LayerGroup, ...]) -> SearchSpace:
    return SearchSpace(groups)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ReplayError("differs"), Exit.REPLAY),
        (RunError("the engine does not run"), Exit.BUG),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (BrokenPipeError(), Exit.PIPE),
        (ZeroDivisionError(), Exit.BUG),
        (MemoryError(), Exit.INPUT),
        (OSError(errno.ENOSPC, "No space left on device"), Exit.INPUT),
        (OSError(errno.ENOENT, "No such file or directory"), Exit.BUG),
        (ImportError("x.so: failed to map segment from shared object"), Exit.INPUT),
        (RuntimeError("can't start new thread"), Exit.INPUT),
        (WorkerKilled("something outside killed the worker"), Exit.INPUT),
    ],
)
def test_errors_become_codes(
    error: BaseException,
    code: Exit,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def verify(*args: object, **options: object) -> VerifyReport:
        raise error

    monkeypatch.setattr(api, "verify", verify)
    assert run(["verify", "p.json"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_shows_its_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verify(*args: object, **options: object) -> VerifyReport:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(api, "verify", verify)
    monkeypatch.setenv("PRECSEARCH_TRACEBACK", "1")
    assert run(["verify", "p.json"]) == Exit.BUG
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "report it with this traceback" in err


def test_foreign_text_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verify(*args: object, **options: object) -> VerifyReport:
        raise ReplayError("node '\x1b[2J\n[bold]x[/bold]' differs")

    monkeypatch.setattr(api, "verify", verify)
    run(["verify", "p.json"])
    assert capsys.readouterr().err == "error: node '?[2J [bold]x[/bold]' differs\n"
