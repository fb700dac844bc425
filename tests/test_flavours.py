"""A folder of tests is skipped where a library is missing, and only there."""

import importlib
from pathlib import Path

import pytest

from tests.conftest import NEEDS, SkippedFolder, pytest_collect_directory
from tests.helpers.paths import ROOT


def can_be_imported(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("folder", NEEDS)
def test_a_folder_is_skipped_only_if_a_library_cannot_be_imported(folder: str, request: pytest.FixtureRequest) -> None:
    path = ROOT / "tests" / folder
    assert path.is_dir()
    collector = pytest_collect_directory(path, request.session)
    if all(can_be_imported(name) for name in NEEDS[folder]):
        assert collector is None
    else:
        assert isinstance(collector, SkippedFolder)
        with pytest.raises(pytest.skip.Exception, match=f"tests/{folder} needs "):
            collector.collect()


def test_other_folders_are_collected(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert pytest_collect_directory(ROOT / "tests" / "rmvpe", request.session) is None
    assert pytest_collect_directory(tmp_path / "parity", request.session) is None
