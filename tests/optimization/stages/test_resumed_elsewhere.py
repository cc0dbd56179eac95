"""A run is resumed only where its latencies were measured: on that device, with that engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.api import OptimizeConfig, optimize_events
from precsearch.core.errors import InputError
from precsearch.core.events import SearchStarted, TrialFinished
from tests.hostile.situations.world import write_world


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("device", "another CPU", "it was measured on another CPU, onnxruntime "),
        ("runtime", "onnxruntime 0.9", "onnxruntime 0.9, this is "),
    ],
)
def test_another_device_or_version_of_the_engine_is_refused(
    tmp_path: Path, field: str, value: str, said: str
) -> None:
    write_world(tmp_path)
    config = OptimizeConfig(
        tmp_path / "model.onnx",
        tmp_path / "data.npz",
        tol=9.0,
        backend="onnxruntime",
        strategy="uniform",
        threads=1,
        output=tmp_path / "p.json",
    )
    run = optimize_events(config)
    started = next(e for e in run if isinstance(e, SearchStarted))
    next(e for e in run if isinstance(e, TrialFinished))
    run.close()
    assert started.runtime.startswith("onnxruntime ")
    assert "numpy" not in started.runtime
    journal = config.run_path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        if event["type"] == "SearchStarted":
            event[field] = value
    journal.write_text("".join(json.dumps(e) + "\n" for e in events))
    with pytest.raises(InputError, match="latencies of the two do not compare") as refused:
        list(optimize_events(replace(config, resume=True)))
    assert said in str(refused.value)
    for event in events:  # as a journal of 0.2.0 has it
        if event["type"] == "SearchStarted":
            event.pop("runtime")
            event["device"] = started.device
    journal.write_text("".join(json.dumps(e) + "\n" for e in events))
    list(optimize_events(replace(config, resume=True)))
