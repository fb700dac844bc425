"""What `make wheel` asks of a wheel, without making environments."""

import zipfile
from pathlib import Path

import pytest

from rmvpe.errors import UserError
from scripts.check_wheel import PACKAGES, check_content, main, sizes_mb
from tests.helpers.paths import ROOT


def wheel_without(missing: str, path: Path) -> Path:
    """A wheel with all files of the packages but one."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()]
    names = {file.relative_to(ROOT).as_posix() for file in files} - {missing}
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_complete_wheel_is_accepted(tmp_path: Path) -> None:
    check_content(wheel_without("", tmp_path / "a.whl"))


@pytest.mark.parametrize("missing", ["rmvpe_ort/model.py", "rmvpe_ort/check.flac", "rmvpe_ort/py.typed"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=missing):
        check_content(wheel_without(missing, tmp_path / "a.whl"))


def test_bytecode_is_counted_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    (tmp_path / "a" / "b.py").write_bytes(bytes(2_000_000))
    (tmp_path / "a" / "__pycache__" / "b.pyc").write_bytes(bytes(1_000_000))
    assert sizes_mb(tmp_path) == (3.0, 1.0)


def test_what_is_no_wheel_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.whl").write_text("text")
    assert main([str(tmp_path / "a.whl")]) == 2
    assert "a.whl is not a wheel" in capsys.readouterr().err
