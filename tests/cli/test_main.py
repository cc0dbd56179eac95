"""Help, options and errors, within this process."""

import inspect as inspection
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from precsearch import api
from precsearch.api import (
    BuildReport,
    Inspection,
    OptimizeConfig,
    OptimizeResult,
    ShapeSet,
    VerifyReport,
)
from precsearch.cli.actions import Exit
from precsearch.cli.commands import app
from precsearch.cli.live import consume
from precsearch.cli.main import run
from precsearch.errors import ReplayError, RunError
from precsearch.events import Event, Warned
from precsearch.space import LayerGroup, Precision, SearchSpace
from tests.cli.runs import accuracy, latency

COMMANDS = [
    "optimize",
    "build",
    "export",
    "verify",
    "inspect",
    "diagnose",
    "report",
    "watch",
    "doctor",
]
BOTH = (Precision.FP32, Precision.INT8)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[OptimizeConfig]:
    """The configurations that reached the api."""
    configs = []

    def events(config: OptimizeConfig) -> Generator[Event, None, OptimizeResult]:
        configs.append(config)
        yield Warned("careful")
        return OptimizeResult(None, None, None, False, False, ("Nothing fits.",))

    monkeypatch.setattr(api, "optimize_events", events)
    return configs


@pytest.mark.parametrize("args", [[], *([c] for c in COMMANDS)])
def test_help_fits_80_columns(
    args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*args, "--help"]) == Exit.DONE
    out, err = capsys.readouterr()
    assert err == ""
    assert max(cell_len(line.rstrip()) for line in out.splitlines()) <= 80
    assert "precsearch" in out
    if args:
        assert "Example" in out


def test_help_tells_the_defaults_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    run(["optimize", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    config = OptimizeConfig(Path("m"))
    for value in (config.tol, config.metric, config.batch, config.strategy, config.seed):
        assert f"Default: {value}" in text
    for value in (config.backend, config.granularity, config.calibration_method):
        assert f"Default: {value}" in text


def test_defaults_are_the_configuration_s(asked: list[OptimizeConfig]) -> None:
    assert run(["optimize", "m.onnx"]) == Exit.UNMET
    assert asked == [OptimizeConfig(Path("m.onnx"))]


def test_every_option_arrives(asked: list[OptimizeConfig]) -> None:
    line = (
        "optimize m.onnx --data d.npz --tol 3e-2 --metric cosine --backend fake "
        "--precisions int8,fp32 --strategy tpe --max-builds 7 --time-budget 30m --seed 3 "
        "--threads 2 --batch 4 --input-shape x:8x3 --input-shape y:1 --calibration c.npz "
        "--calibration-method mse --holdout h.npz --granularity node -o p.json --artifact a.onnx "
        "--run-dir r --resume --json --workers 3 --build-option a=b --cure"
    )
    assert run(line.split()) == Exit.UNMET
    assert asked == [
        OptimizeConfig(
            model=Path("m.onnx"),
            data=Path("d.npz"),
            tol=0.03,
            metric="cosine",
            backend="fake",
            precisions=BOTH,
            strategy="tpe",
            max_builds=7,
            time_budget=1800.0,
            seed=3,
            threads=2,
            workers=3,
            build_options={"a": "b"},
            batch=4,
            input_shapes={"x": (8, 3), "y": (1,)},
            calibration=Path("c.npz"),
            calibration_method="mse",
            holdout=Path("h.npz"),
            granularity="node",
            output=Path("p.json"),
            artifact=Path("a.onnx"),
            run_dir=Path("r"),
            resume=True,
            cure=True,
        )
    ]
    fields = set(inspection.signature(OptimizeConfig).parameters)
    assert len(fields) == 26, "a new option needs a place on the command line and in this test"
    assert run(["optimize", "m.onnx", "--force"]) == Exit.UNMET
    assert asked[-1].force
    sets = ["--shapes", "x:1x3; y:2@0.5", "--shapes", "a@1:16x3"]
    assert run(["optimize", "m.onnx", *sets]) == Exit.UNMET
    assert asked[-1].shapes == (ShapeSet({"x": (1, 3), "y": (2,)}, 0.5), ShapeSet({"a@1": (16, 3)}))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimize", "missing argument 'MODEL'; see 'precsearch optimize --help'"),
        ("optimize m --tol x", "--tol takes a number such as 1e-2, not 'x'"),
        ("optimize m --precisions fp8", "--precisions takes fp32, fp16 and int8"),
        ("optimize m --workers 0", "--workers takes a whole number of at least 1, not '0'"),
        ("optimize m --batch 0", "--batch takes a whole number of at least 1, not '0'"),
        ("optimize m --time-budget soon", "--time-budget takes a time such as 90s"),
        ("optimize m --input-shape 3x4", "--input-shape takes NAME:SIZExSIZE"),
        ("optimize m --shapes x:3x4@0", "the weight of --shapes must be above 0, not 0"),
        ("optimize m --shapes 3x4@1", "--shapes takes NAME:SIZExSIZE"),
        ("optimize m --shapes x:3 --batch 2", "drop --batch and --input-shape"),
        ("optimize m --resume --force", "drop --resume or --force"),
        ("optimize m n", "unexpected extra argument"),
        ("optimize m --tl 3", "no such option: --tl"),
        ("build p", "missing option '--output' / '-o'; see 'precsearch build --help'"),
        ("optimise m", "no such command 'optimise'"),
    ],
)
def test_a_wrong_line_gets_one_sentence(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == Exit.INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == Exit.INPUT
    assert "optimize" in capsys.readouterr().out


def test_build(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def build(plan: Path, model: Path | None, output: Path, *, force: bool) -> BuildReport:
        assert (plan, model, force) == (Path("p.json"), None, True)
        return BuildReport("identical", output, "ab" * 32, 1_234_567)

    monkeypatch.setattr(api, "build", build)
    assert (
        run(["build", "p.json", "-o", "a/very/long/path/of/a/model.onnx", "--force"]) == Exit.DONE
    )
    out = capsys.readouterr().out
    assert "model.onnx: identical to what the plan promises" in out
    assert "  model    a/very/long/path/of/a/model.onnx\n" in out
    assert "1.23MB" in out


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
    found = Inspection("m.onnx", "ab" * 32, 17, 40, 4_000_000, ("'x' [1]",), ("y",), _space(rows))
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


def _space(groups: tuple[LayerGroup, ...]) -> SearchSpace:
    return SearchSpace(groups)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ReplayError("differs"), Exit.REPLAY),
        (RunError("the engine does not run"), Exit.BUG),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (BrokenPipeError(), Exit.PIPE),
        (MemoryError(), Exit.BUG),
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


class Recorder:
    """Shows nothing, and fails at the first event."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.stopped = 0

    def show(self, event: Event) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def stopping(self) -> None:
        self.stopped += 1


def interruptible() -> Generator[Event, None, str]:
    try:
        yield Warned("one")
        yield Warned("two")
    except KeyboardInterrupt:
        yield Warned("last")
        return "wrapped up"
    return "ended"


def test_an_interrupt_of_the_display_reaches_the_run() -> None:
    show = Recorder(KeyboardInterrupt())
    assert consume(interruptible(), show) == "wrapped up"
    assert show.stopped == 1


def test_a_broken_pipe_ends_the_run_in_order() -> None:
    with pytest.raises(BrokenPipeError):
        consume(interruptible(), Recorder(BrokenPipeError()))


def test_a_pipe_of_the_run_itself_is_not_our_reader() -> None:
    def broken() -> Generator[Event, None, str]:
        yield Warned("one")
        raise BrokenPipeError

    with pytest.raises(RuntimeError, match="within the run"):
        consume(broken(), Recorder(None))


def test_an_interrupt_before_anything_is_worth_keeping() -> None:
    def early() -> Generator[Event, None, str]:
        yield Warned("one")
        raise KeyboardInterrupt

    show = Recorder(None)
    with pytest.raises(KeyboardInterrupt):
        consume(early(), show)
    assert show.stopped == 0


def test_every_command_is_known() -> None:
    assert [c.callback.__name__ for c in app.registered_commands if c.callback] == COMMANDS
