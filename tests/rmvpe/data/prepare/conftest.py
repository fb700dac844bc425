"""The archive that the tests of this folder convert."""

from pathlib import Path

import pytest

from tests.helpers.mir1k import FILES, write_zip


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zip(tmp_path_factory.mktemp("archive") / "MIR-1K.zip", FILES)
