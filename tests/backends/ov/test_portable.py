"""A plan's model in OpenVINO's own format, and how it is loaded."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import precsearch
from precsearch.backends.openvino.runtime import import_openvino
from precsearch.core.backend.portable import WritesPortableModel
from precsearch.core.errors import BuildError, OutputError, ReplayError
from precsearch.core.precision import Precision
from precsearch.measurement.build_service import BuildService
from tests.backends.ov.clocked_openvino import install
from tests.backends.ov.small_engines import cnn, encoder, engine, lowered, made, samples
from tests.hostile.situations.world import write_world

_WRITE = """
import hashlib, sys
from tests.backends.ov.small_engines import *
from precsearch.core.precision import Precision
made().portable(cnn().SerializeToString())
files = made().portable(lowered(encoder(), made(), Precision.INT8).model)
print(" ".join(hashlib.sha256(f).hexdigest() for f in files))
"""


def test_the_files_do_not_depend_on_what_the_process_did_before() -> None:
    files = made().portable(lowered(encoder(), made(), Precision.INT8).model)
    done = subprocess.run(
        [sys.executable, "-c", _WRITE], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [hashlib.sha256(f).hexdigest() for f in files]


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.INT8])
def test_loaded_by_the_printed_lines_it_computes_what_the_engine_does(
    tmp_path: Path, precision: Precision
) -> None:
    backend = made()
    if precision not in backend.precisions:
        pytest.skip(f"the device has no {precision}")
    artifact, low = engine(cnn(), backend, precision)
    path = tmp_path / "it's a model.xml"
    for place, content in zip(
        (path, path.with_suffix(".bin")), backend.portable(low.model), strict=True
    ):
        place.write_bytes(content)
    feed = samples(cnn())
    import_openvino()
    names: dict[str, object] = {"inputs": feed}
    exec("\n".join(backend.how_to_load(str(path))), names)
    (wanted,) = backend.open(artifact).run(feed).values()
    (found,) = names["outputs"].values()  # type: ignore[attr-defined]
    assert (np.asarray(found) == wanted).all()


def test_a_backend_without_an_own_format_reports_that() -> None:
    from precsearch.backends.onnxruntime import OnnxRuntimeBackend
    from precsearch.core.backend import BackendOptions

    plain = OnnxRuntimeBackend(BackendOptions())
    assert not isinstance(plain, WritesPortableModel)
    with pytest.raises(BuildError, match="no model format of its own"):
        BuildService(plain, lambda _stage: None).portable(b"")


@pytest.mark.slow
def test_an_artifact_named_xml_is_two_files_and_build_and_verify_accept_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path)
    name, model = install(tmp_path, monkeypatch), tmp_path / "model.onnx"
    plan, data = tmp_path / "p.json", tmp_path / "data.npz"
    wanted = tmp_path / "m.xml"
    wanted.with_suffix(".bin").write_bytes(b"somebody's")
    options = {"data": data, "backend": name, "tol": 9.0, "threads": 1, "strategy": "uniform"}
    options |= {"max_builds": 2, "output": plan, "artifact": wanted}
    with pytest.raises(OutputError, match=r"m\.bin"):
        precsearch.optimize(model, **options)  # type: ignore[arg-type]
    wanted.with_suffix(".bin").unlink()
    precsearch.optimize(model, **options)  # type: ignore[arg-type]
    again = precsearch.build(plan, model, tmp_path / "n.xml")
    assert again.verdict == "identical"
    assert again.loading[0] == "import openvino"
    for suffix in (".xml", ".bin"):
        ours = (tmp_path / f"m{suffix}").read_bytes()
        assert ours == (tmp_path / f"n{suffix}").read_bytes()
    (tmp_path / "n.bin").write_bytes(b"")
    with pytest.raises(ReplayError, match=r"n\.bin"):
        precsearch.verify(plan, model, data=data, artifact=tmp_path / "n.xml", tol=9.0)
