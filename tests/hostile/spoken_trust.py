"""Untrusted code, weights and endless files: one situation for each message."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.metrics import metric
from precsearch.plan.criteria import Criteria
from precsearch.plan.plan import evidence_path, read_plan
from precsearch.replay.judging import metric_of
from precsearch.replay.weights import placed, write_model
from precsearch.search.journal import Journal, read
from precsearch.search.journal.reading import MAX_BYTES, NAME
from tests.cli.runs import plan
from tests.hostile.situations.world import model
from tests.hostile.spoken_data import Say

__all__ = ["TRUST", "with_weights"]

LOSS = "def loss(outputs, reference, labels):\n    return 0.0\n"


def with_weights(folder: Path) -> SourceModel:
    """The model with its weights in the file ``w``."""
    onnx.save(
        model(), str(folder / "m.onnx"), save_as_external_data=True, location="w", size_threshold=0
    )
    (folder / "other").mkdir()
    return read_model(folder / "m.onnx")


def vanished_weights(folder: Path) -> None:
    """The file becomes a folder between a check and the reading."""
    source = with_weights(folder)
    for tensor in source.proto.graph.initializer:
        tensor.dims[:] = [0]
        for entry in tensor.external_data[1:]:
            entry.value = "0"
    (folder / "w").unlink()
    (folder / "w").mkdir()
    (folder / "w" / "large").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precsearch.graph.reading.external.is_regular", lambda _: True)
        placed(source, source.proto.SerializeToString())


def foreign_weights(folder: Path) -> None:
    source = with_weights(folder)
    made = placed(source, source.proto.SerializeToString())
    (folder / "other" / made.weights).write_text("of another model")
    write_model(source, folder / "other" / "m.onnx", source.proto.SerializeToString())


def too_much_inside(folder: Path) -> None:
    proto = with_weights(folder).proto
    moved = proto.graph.initializer[0]
    proto.graph.node.append(onnx.helper.make_node("Constant", [], ["c"], value=moved))
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precsearch.graph.reading.external._MOST_TAKEN_IN", 8)
        read_model(folder / "m.onnx")


def odd_name(folder: Path) -> None:
    path = os.fsencode(folder) + b"/\xff.onnx"
    Path(os.fsdecode(path)).write_bytes(model().SerializeToString())
    read_model(os.fsdecode(path))


def large_journal(folder: Path) -> Path:
    with (folder / NAME).open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    return folder


def resumed(folder: Path) -> object:
    return Journal.open(large_journal(folder), {}, resume=True)


def own(name: str, digest: str, given: str | None) -> Say:
    """A plan that is judged by a metric of the user's own, which is in ``mine.py``."""

    def say(folder: Path) -> object:
        (folder / "mine.py").write_text(LOSS)
        criteria = Criteria(name, 0.1, 0, {}, metric_sha256=digest)
        return metric_of(criteria, None if given is None else f"{folder}/{given}")

    return say


def changed_code(folder: Path) -> object:
    (folder / "mine.py").write_text(LOSS)
    return metric(f"{folder}/mine.py:loss", "00" * 32)


def evidence_of(change: Callable[[str], str]) -> Say:
    """A plan whose evidence lies beside it and was changed."""

    def say(folder: Path) -> object:
        made, path = plan(), folder / "split.plan.json"
        path.write_text(made.without_evidence())
        evidence_path(path).write_text(change(made.evidence_json()))
        return read_plan(path)

    return say


TRUST: list[Say] = [
    evidence_of(lambda _: "{}"),
    evidence_of(lambda text: text.replace('"noise": ', '"noise": [], "loud": ')),
    vanished_weights,
    foreign_weights,
    too_much_inside,
    odd_name,
    lambda folder: read(large_journal(folder)),
    resumed,
    own("mine.py:loss", "00" * 32, "mine.py:other"),
    own("mine.py:loss", "00" * 32, "mine.py:loss"),
    changed_code,
    lambda _: metric("sys:exit"),
]
