"""Help, options and errors, within this process."""

import inspect as inspection
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.cells import cell_len

from precsearch import api
from precsearch.api import OptimizeConfig, OptimizeResult, ShapeSet
from precsearch.cli.commands import app
from precsearch.cli.exit_codes import Exit
from precsearch.cli.main import run
from precsearch.core.events import Event, Warned
from precsearch.core.objective import Limits, Objective
from precsearch.core.precision import Precision

COMMANDS = [
    "optimize",
    "build",
    "plan",
    "upgrade",
    "export",
    "verify",
    "edit",
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


def test_help_shows_the_actual_defaults(capsys: pytest.CaptureFixture[str]) -> None:
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
        "--run-dir r --resume --json --workers 3 --build-option a=b --rewrite"
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
            rewrite=True,
        )
    ]
    assert run(["optimize", "m.onnx", "--force"]) == Exit.UNMET
    assert asked[-1].force
    sets = ["--shapes", "x:1x3; y:2@0.5", "--shapes", "a@1:16x3"]
    assert run(["optimize", "m.onnx", *sets]) == Exit.UNMET
    assert asked[-1].shapes == (ShapeSet({"x": (1, 3), "y": (2,)}, 0.5), ShapeSet({"a@1": (16, 3)}))
    more = (
        "optimize m.onnx --pin a=fp32 --preprocess resize=8 --no-corrections --lift "
        "--strategy-option patience=2 --warm-start old.json"
    )
    assert run(more.split()) == Exit.UNMET
    wish = "--objective p99 --max-latency 5ms --max-size 20MB --max-memory 1GiB"
    assert run(["optimize", "m.onnx", *wish.split()]) == Exit.UNMET
    assert asked[-1].objective is Objective.P99
    assert asked[-1].limits == Limits(5e-3, 20_000_000, 1 << 30)
    both = "optimize m.onnx --metric cosine --metric rel-l2 --tol 1e-3 --tol 1e-2"
    assert run(both.split()) == Exit.UNMET
    assert [(c.metric, c.tol) for c in asked[-2:]] == [("cosine", 1e-3), ("rel-l2", 1e-2)]
    assert run(["optimize", "m.onnx", "--tol", "1e-3", "--tol", "3e-2"]) == Exit.UNMET
    assert asked[-1].tol == 3e-2, "of one metric the last one counts, as of every option"
    for where in ("--devices cpu:0", "--ray auto", "--target ssh://user@host"):
        assert run(["optimize", "m.onnx", *where.split()]) == Exit.UNMET
    fields = set(inspection.signature(OptimizeConfig).parameters)
    plain = OptimizeConfig(Path("m.onnx"))
    arrived = {f for f in fields for c in asked if getattr(c, f) != getattr(plain, f)}
    assert fields - arrived == {"model"}, "a new option needs a place on the command line"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimize", "missing argument 'MODEL'; see 'precsearch optimize --help'"),
        ("optimize m --tol x", "--tol takes a number such as 1e-2, not 'x'"),
        ("optimize m --precisions fp6", "--precisions takes fp32, bf16, fp16, fp8, int8 and int4"),
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
def test_a_wrong_command_line_gets_one_sentence(
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


def test_every_command_is_known() -> None:
    assert [c.callback.__name__ for c in app.registered_commands if c.callback] == COMMANDS
