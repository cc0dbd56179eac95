from pathlib import Path

import pytest


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where a journal is written."""
    return tmp_path / "toy.precsearch"
