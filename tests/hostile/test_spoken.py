"""Every message in ``every_message.txt`` is printed by a situation, hostile or written for it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from precsearch.core.errors import PrecsearchError
from tests.hostile.situations import plugins
from tests.hostile.situations.world import write_world
from tests.hostile.spoken_devices import DEVICES
from tests.hostile.spoken_files import FILES
from tests.hostile.spoken_objects import OBJECTS
from tests.hostile.spoken_people import PEOPLE
from tests.hostile.spoken_searches import SEARCHES
from tests.hostile.spoken_trust import TRUST
from tests.hostile.test_every_message import messages

NOT_HERE = re.compile(
    r"precsearch/(backends/(onnxruntime/cuda|openvino|tensorrt/(?!layer_precisions))|report/)"
    r"|precsearch/system/cuda_driver"
    r"|precsearch/replay/(ahead|artifact|given_artifact|verify)"
    r"|precsearch/(diagnosis/(?!cut_engine|exposed_engine)|exporters/(?!polygraphy_script))"
    r"|precsearch/data/media|precsearch/optimization/front"
    r"|precsearch/cli/(diagnosing|reporting|progress/watch)|precsearch/executors/(ray|ssh|site)"
)
"""What has tests of its own: OpenVINO, CUDA, TensorRT (or a stand-in), engines, diagnose, report,
plans of a run's front, Ray, other hosts."""

UNSPOKEN = {
    "OptionError: no engine was timed, so there is nothing to draw": "needs a run without engines, "
    "which has no result; the check stays for what is made by hand",
    "OptionError: --devices cannot keep engines to CPU cores on this system; leave it out": "needs "
    "a system without processor affinity",
    "ModelError: calibration failed: no time is left for all samples": "ends the search for one "
    "correction and is never shown; see tests/calibration/test_range_choice.py",
    "BuildError: this measurement service was given no proxy": "our own bug, were it ever said",
    "BuildError: the {…} backend has no model format of its own": "our own bug, were it ever said",
    "OptionError: group {…}: Q/DQ in {…} needs operator set {…}, and the graph has {…}": "needs a "
    "GPU's backend; see tests/lowering/test_fp8.py",
    "OptionError: group {…}: none of its operators has a form in {…} in operator set {…}": "needs "
    "a plan made by hand; see tests/lowering/test_weight_only.py",
    "ModelError: {…}, or leave {…} out of --precisions": "needs a TensorRT target and an operator "
    "that ONNX cannot raise; see tests/setup/test_cast_opset.py",
    "OptionError: group {…}: precsearch cannot write {…} into a graph": "every one has "
    "a form; tests/core/test_precision.py adds one that has none",
    "ModelError: the proxy of this model would have {…} MB, Protocol Buffers end at {…}: store the "
    "weights outside of the model file": "needs a model of 2 GB",
}
"""What no situation here says, and why."""


def form(listed: str) -> re.Pattern[str]:
    """What messages of a form in the list look like."""
    return re.compile(".*".join(map(re.escape, listed.split("{…}"))))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that users without rights can look into, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="precsearch-spoken-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def raised(place: Path) -> list[str]:
    """``Error: message`` of every situation, in their order."""
    write_world(place)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        plugins.install(place)
        patch.syspath_prepend(str(place))
        for number, say in enumerate([*FILES, *OBJECTS, *TRUST, *PEOPLE, *DEVICES, *SEARCHES]):
            folder = place / str(number)
            folder.mkdir()
            for name in ("model.onnx", "data.npz", "plan.json"):
                shutil.copy(place / name, folder)
            patch.chdir(folder)
            with pytest.raises(PrecsearchError) as caught:
                say(folder)
            said = " ".join(str(caught.value).split())
            found.append(f"{type(caught.value).__name__}: {said}")
        patch.chdir("/")
    return found


def test_every_situation_prints_a_listed_message(raised: list[str]) -> None:
    listed = [form(line) for _, line in messages()]
    assert [said for said in raised if not any(f.fullmatch(said) for f in listed)] == []


def test_every_message_is_printed(raised: list[str], printed: dict[str, str]) -> None:
    silent = []
    for path, line in messages():
        whole, text = form(line), form(line.partition(": ")[2])
        here = any(map(whole.fullmatch, raised)) or any(map(text.fullmatch, printed.values()))
        if not here and line not in UNSPOKEN and not NOT_HERE.search(path):
            silent.append(f"{path}: {line}")
    assert silent == []
