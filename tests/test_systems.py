"""Windows, macOS and versions of Python: what differs there, checked by giving the other system as an argument."""

import ast
import io
import os
import re
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

from rmvpe.audio import AudioFile, below_common_folder, with_unique_names
from rmvpe.backends import choose_backend, installed_backends
from rmvpe.console import escape_unprintable
from rmvpe.errors import UserError
from rmvpe.files import WAITS_S, flush_folder, replace_file, too_long
from tests.helpers.paths import ROOT
from tests.test_imports import FILES


def test_text_files_are_the_same_on_every_system():
    """Text that is written has its encoding and its ends of lines: Windows' own are others."""
    faults = []
    for path in FILES:
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            writes_text = name == "write_text" and isinstance(node.func, ast.Attribute)
            writes_text |= name == "open" and any(re.fullmatch(r"[wax]\+?", mode) for mode in modes)
            if writes_text and not {"encoding", "newline"} <= {keyword.arg for keyword in node.keywords}:
                faults.append(f"{path}:{node.lineno}")
    assert not faults


class HeldOpen(PermissionError):
    winerror = 32  # what Windows gives


def test_a_file_that_a_program_lets_go_is_replaced(tmp_path: Path):
    refusals, waits = [HeldOpen(13, "in use")] * 2, list[float]()
    (tmp_path / "new").write_text("new")

    def replace(new: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        new.replace(target)

    replace_file(tmp_path / "new", tmp_path / "f0.csv", replace, waits.append)
    assert (tmp_path / "f0.csv").read_text() == "new"
    assert waits == list(WAITS_S[:2])


@pytest.mark.parametrize("error", [HeldOpen(13, "in use"), PermissionError(13, "Permission denied")])
def test_a_file_that_stays_open_is_named(error: PermissionError, tmp_path: Path):
    waits = list[float]()

    def replace(new: Path, target: Path) -> None:
        raise error

    held = isinstance(error, HeldOpen)
    with pytest.raises(UserError if held else PermissionError, match=r"f0\.csv.*close the program" if held else None):
        replace_file(tmp_path / "new", tmp_path / "f0.csv", replace, waits.append)
    assert waits == (list(WAITS_S) if held else [])


def test_windows_opens_no_folder_to_flush_it(tmp_path: Path):
    flush_folder(tmp_path / "none", windows=True)
    with pytest.raises(FileNotFoundError):
        flush_folder(tmp_path / "none", windows=False)


def test_a_path_too_long_for_windows_is_said_to_be():
    deep = Path("/", "a" * 120, "b" * 100)
    assert "260 characters" in str(too_long(deep / ("c" * 40), windows=True))
    assert "260 characters" in str(too_long(deep / ("c" * 20 + ".csv"), windows=True))  # its temporary name is longer
    assert too_long(Path("/", "a" * 120) / "c.csv", windows=True) is None
    assert too_long(deep / ("c" * 40), windows=False) is None


@pytest.mark.parametrize(
    ("encoding", "text"), [("cp1252", "\u6b4c.wav \u0394"), ("cp936", "\u00e9\u0e01.wav"), ("ascii", "\u00e9")]
)
def test_a_console_that_lacks_a_character_gets_an_escape(encoding: str, text: str):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    escape_unprintable(stream)
    stream.write(text)
    stream.flush()
    assert b"\\" in raw.getvalue()


def test_a_program_prints_any_name_to_any_console():
    code = "from rmvpe.errors import run_cli; run_cli('program', lambda: print('\\u6b4c.wav'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == b"\\u6b4c.wav"


def names(*paths: str, one_case: bool) -> list[str]:
    files = [AudioFile(Path(path), Path(Path(path).name)) for path in paths]
    return [file.name.as_posix() for file in with_unique_names(files, one_case)]


def test_names_that_differ_in_case_do_not_collide_where_case_does_not_count():
    assert names("/m/x/A.wav", "/m/y/a.wav", one_case=False) == ["A", "a"]
    assert names("/m/x/A.wav", "/m/y/a.wav", one_case=True) == ["x/A", "y/a"]
    assert names("/m/x/\u00e9.wav", "/m/y/e\u0301.wav", one_case=True) == ["x/\u00e9", "y/e\u0301"]
    assert names("/m/A.wav", "/m/a.flac", one_case=True) == ["A.wav", "a.flac"]


def test_a_drive_becomes_a_folder():
    paths = [PureWindowsPath(r"C:\songs\a.wav"), PureWindowsPath(r"D:\a.wav"), PureWindowsPath(r"\\nas\disk\a.wav")]
    assert [name.as_posix() for name in below_common_folder(paths)] == ["C/songs/a.wav", "D/a.wav", "nas_disk/a.wav"]


def test_python_3_10_has_no_jax_side_and_says_so():
    both = {"torch", "jax"}.__contains__
    assert installed_backends(both, (3, 10, 13)) == ["torch"]
    assert installed_backends(both, (3, 11, 0)) == ["torch", "jax"]
    with pytest.raises(UserError, match=r"jax needs Python 3\.11 or later and this is 3\.10\.13"):
        choose_backend("jax", is_installed=both, python=(3, 10, 13))
    with pytest.raises(UserError, match=r"none of onnx, torch is installed"):
        choose_backend("auto", is_installed=lambda name: False, python=(3, 10, 13))


def test_an_older_python_is_told_which_it_needs():
    code = "import sys; sys.version_info = (3, 9, 18); import rmvpe"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.endswith("rmvpe needs Python 3.10 or later, and this is Python 3.9: use a newer Python\n")
    ast.parse((ROOT / "rmvpe" / "__init__.py").read_text(encoding="utf-8"), feature_version=(3, 8))
