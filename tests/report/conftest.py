import pytest

from tests.report.runs import Run, searched


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that came to its end; nobody changes it."""
    return searched(tmp_path_factory.mktemp("finished"))
