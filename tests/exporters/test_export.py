"""What `export` writes computes elsewhere what the backend computes here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from precsearch import api
from precsearch.cli.exit_codes import Exit
from precsearch.cli.main import run
from precsearch.core.backend import WEAK
from precsearch.core.errors import OptionError, OutputError, PlanError
from precsearch.plan.plan import read_plan
from tests.backends.trt.simulation.test_simulated_build import WEAKS, built, networks, small_model
from tests.backends.trt.stand_in.exported import HELP, MIXED, odd_model, open_model, option, ran
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.plans import write_plan
from tests.backends.trt.stand_in.simulated import Simulated


def loaded(path: Path, made: Simulated, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An exported Python file, in a world with that TensorRT."""
    monkeypatch.setitem(sys.modules, "tensorrt", made.module)
    module = ModuleType("exported")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


def parsed(made: Simulated, model: bytes) -> Any:
    network = made.make("INetworkDefinition")
    logger = made.module.Logger()
    assert made.module.OnnxParser(network, logger).parse(model)
    return network


def settings(network: Any) -> list[tuple[str, str]]:
    return [
        (layer.tensors[0].name, layer.precision.name)
        for layer in network.layers
        if "_precision" in layer.__dict__
    ]


@pytest.mark.parametrize("layer_precisions", ["fp32", "all"])
@pytest.mark.parametrize("version", WEAKS)
def test_the_polygraphy_script_sets_what_the_backend_sets(
    version: str, layer_precisions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"layer_precisions": layer_precisions}
    plan = write_plan(
        tmp_path,
        odd_model(),
        "weak",
        {"second": "int8", "fi,rst": "fp16"},
        options,
    )
    report = api.export(plan, None, "polygraphy", tmp_path / "out")
    model = report.model.read_bytes()
    ours = tensorrt(version)
    networks_made = networks(ours, monkeypatch)
    built(ours, model, WEAK, layer_precisions=layer_precisions)
    theirs = tensorrt(version)
    network = parsed(theirs, model)
    (python,) = report.others
    script = loaded(python, theirs, monkeypatch)
    script.postprocess(network)
    assert settings(network) == settings(networks_made[0])
    assert len(settings(network)) > 3

    def typed(made: Simulated) -> list[str]:
        return [f"{i}{kind.name}" for i, kind in made.named("ILayer.set_output_type")]

    assert typed(theirs) == typed(ours)
    config = theirs.make("IBuilderConfig")
    script.postprocess_config(None, network, config)
    assert config.avg_timing_iterations == 8


@pytest.mark.parametrize("name", ["net", "net.v2-8", "3 nets"])
def test_polygraphy_itself_finds_what_its_script_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polygraphy.mod import import_from_script

    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt("8.6.0").module)
    plan = write_plan(tmp_path, small_model(), "weak", {"first": "fp16"})
    named = plan.with_name(f"{name}.plan.json")
    plan.rename(named)
    report = api.export(named, tmp_path / "small.onnx", "polygraphy", tmp_path / "out")
    _, words, _ = ran(report.script, "", tmp_path / "bin")
    (script,) = {word for word in words if word.endswith(".py")}
    for function in ("postprocess_config", "postprocess"):
        assert callable(import_from_script(str(report.script.parent / script), function))


def test_the_polygraphy_script_refuses_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(tmp_path, small_model(), "weak", MIXED)
    report = api.export(plan, None, "polygraphy", tmp_path / "out")
    made = tensorrt("11.4.0.106")
    with pytest.raises(RuntimeError, match="strongly typed networks alone"):
        loaded(report.others[0], made, monkeypatch).postprocess(
            parsed(made, report.model.read_bytes())
        )
    made = tensorrt("8.6.0")
    other = parsed(made, odd_model().SerializeToString())
    for layer in other.layers:
        layer.tensors[0].name = f"other {layer.tensors[0].name}"
        layer.name = layer.metadata = ""
    with pytest.raises(RuntimeError, match="not the plan's model"):
        loaded(report.others[0], made, monkeypatch).postprocess(other)


def test_the_exported_model_is_what_build_writes(tmp_path: Path) -> None:
    for form in ("weak", "typed-half"):
        plan = write_plan(tmp_path, small_model(), form, MIXED)
        for tool in ("polygraphy", "trtexec"):
            report = api.export(plan, None, tool, tmp_path / "out", force=True)
            assert report.identical
            again = tmp_path / "again.onnx"
            api.build(plan, None, again, force=True)
            assert report.model.read_bytes() == again.read_bytes()


def test_open_shapes_are_those_of_the_plan(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, open_model(), "typed-half", MIXED, batch=3)
    assert read_plan(plan).recipe.shapes[0] == {"x": (3, 3, 4, 4)}
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    _, words, _ = ran(report.script, HELP["10"], tmp_path / "bin")
    assert option(words, "shapes") == "x:3x3x4x4"
    report = api.export(plan, None, "polygraphy", tmp_path / "out", force=True)
    _, words, _ = ran(report.script, "", tmp_path / "bin")
    for bound in ("min", "opt", "max"):
        assert words[words.index(f"--trt-{bound}-shapes") + 1] == "x:[3,3,4,4]"
    assert "--strongly-typed" in words


def test_onnx_runtimes_plan_runs_in_polygraphy_and_not_in_trtexec(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, open_model(), "typed", {"first": "int8"})
    report = api.export(plan, None, "polygraphy", tmp_path / "out")
    _, words, _ = ran(report.script, "", tmp_path / "bin")
    assert words == ["run", "./small.onnx", "--onnxrt", "--input-shapes", "x:[2,3,4,4]"]
    assert report.others == ()
    with pytest.raises(OptionError, match="zero points that TensorRT does not read"):
        api.export(plan, None, "trtexec", tmp_path / "out", force=True)


def test_export_refuses_what_a_tool_cannot_do(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, small_model(), "weak", MIXED)
    with pytest.raises(OptionError, match="no export to 'tvm'"):
        api.export(plan, None, "tvm", tmp_path / "out")
    api.export(plan, None, "trtexec", tmp_path / "out")
    with pytest.raises(OutputError, match="exists already"):
        api.export(plan, None, "trtexec", tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be made"):
        api.export(plan, None, "trtexec", plan / "out")
    with pytest.raises(OutputError, match="is the input"):
        api.export(plan, None, "trtexec", tmp_path, force=True)
    with pytest.raises(PlanError):
        api.export(tmp_path / "none.json", tmp_path / "small.onnx", "trtexec", tmp_path / "out2")


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(tmp_path, odd_model(), "weak", {"second": "int8"})
    assert run(["export", str(plan), "--to", "trtexec", "-o", str(tmp_path / "out")]) == Exit.DONE
    out, _ = capsys.readouterr()
    assert "exported for trtexec" in out
    assert str(tmp_path / "out" / "small.trtexec.sh") in out
    assert "other names in the exported model" in " ".join(out.split())
    assert run(["export", str(plan), "--to", "nothing", "-o", str(tmp_path / "out")]) == Exit.INPUT
