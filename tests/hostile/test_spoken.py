"""Every message in ``every_message.txt`` is said: by a hostile situation, or by one made for it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from precsearch.errors import PrecsearchError
from tests.hostile import plugins
from tests.hostile.cases import CASES
from tests.hostile.spoken_files import FILES
from tests.hostile.spoken_objects import OBJECTS
from tests.hostile.test_every_message import messages
from tests.hostile.throw import throw
from tests.hostile.world import write_world

NOT_HERE = re.compile(
    r"precsearch/backends/tensorrt/|precsearch/api/(export|outside)|precsearch/report/"
    r"|precsearch/cli/(reporting|watching)"
)
"""What has tests of its own that say these: TensorRT (or a stand-in), export, report and watch."""

UNSPOKEN = {
    "BuildError: this bench was given no proxy": "our own bug, were it ever said",
    "ModelError: the proxy of this model would have {…} MB, Protocol Buffers end at {…}: store the "
    "weights outside of the model file": "needs a model of 2 GB",
}
"""What no situation here says, and why."""


def fits(listed: str, said: str) -> bool:
    """Whether a message is of a form in the list; forms without words of their own fit nothing."""
    return re.fullmatch(".*".join(map(re.escape, listed.split("{…}"))), said, re.S) is not None


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
        for number, say in enumerate([*FILES, *OBJECTS]):
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


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the command line says in the hostile situations."""
    world = write_world(tmp_path_factory.mktemp("world"))
    found = []
    for number, case in enumerate(CASES):
        folder = tmp_path_factory.mktemp(f"case{number}") / "here"
        shutil.copytree(world, folder)
        said = throw(case, folder).err.removeprefix("error: ")
        found.append(" ".join(said.split()))
    return found


def test_every_situation_says_what_is_listed(raised: list[str]) -> None:
    listed = [line for _, line in messages()]
    assert [said for said in raised if not any(fits(line, said) for line in listed)] == []


def test_every_message_is_said(raised: list[str], printed: list[str]) -> None:
    silent = []
    for path, line in messages():
        _, _, text = line.partition(": ")
        spoken = any(fits(line, said) for said in raised) or any(fits(text, p) for p in printed)
        if not spoken and line not in UNSPOKEN and not NOT_HERE.search(path):
            silent.append(f"{path}: {line}")
    assert silent == []
