"""Whatever is wrong: the right exit code, one sentence, no traceback, and nothing overwritten."""

import shutil
from pathlib import Path

import pytest

from tests.hostile.situations.cases import CASES
from tests.hostile.situations.throw import Case, throw
from tests.hostile.situations.world import write_world


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_file_gets_one_sentence_and_nothing_is_touched(
    case: Case, pristine: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    shutil.copytree(pristine, folder)
    done = throw(case, folder)
    assert done.err.startswith("error: "), done.err
    assert case.said in done.err
    assert done.code == case.code
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert len(done.err) < 600
    assert done.out == ""
    assert done.touched == ()


def test_cases_have_names_of_their_own() -> None:
    assert len(set(map(str, CASES))) == len(CASES)
