"""docs/architecture.md knows every room, names no other, and its picture is there; what can be chosen is documented."""

import re
from pathlib import Path

import pytest

from rmvpe.cli.main import COMMANDS
from rmvpe.config import DECODERS, PRESETS
from rmvpe.data.readers.registry import KINDS
from scripts.draw_architecture import BOXES, main
from tests.helpers.paths import ROOT
from tests.test_imports import PACKAGES, ROOMS

PAGE = ROOT / "docs" / "architecture.md"
ROOM = re.compile(r"^\| `([\w/]+)/` \|", re.MULTILINE)
FILE = re.compile(r"`((?:rmvpe(?:_torch|_jax|_ort)?|convert)/[\w/]+\.py)`")
DRAWN = re.compile(r"(?<![\w.])rmvpe(?:_torch|_jax|_ort)?(?:/\w+)+")


def rooms_of_the_page() -> set[str]:
    return set(ROOM.findall(PAGE.read_text(encoding="utf-8")))


def packages() -> set[str]:
    """Every folder with an __init__.py in the five packages."""
    return {
        path.parent.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")
    }


def test_every_package_is_a_room_of_the_page() -> None:
    assert packages() <= rooms_of_the_page()


def test_every_room_of_the_page_exists() -> None:
    for room in rooms_of_the_page():
        assert (ROOT / room).is_dir(), room


def test_every_room_of_the_import_test_is_on_the_page() -> None:
    assert {room for room in ROOMS if not room.endswith(".py")} <= rooms_of_the_page()


def test_the_files_from_audio_to_f0_are_named() -> None:
    """Right under rmvpe/, each file is named but those that only start the program or hold a few lines for others."""
    named = set(FILE.findall(PAGE.read_text(encoding="utf-8")))
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rmvpe").glob("*.py")}
    small = {f"rmvpe/{name}.py" for name in ("__init__", "__main__", "interpolation", "pitch", "processes")}
    assert small <= files
    assert files - small <= named


def test_what_the_picture_names_exists() -> None:
    names = {name for box in BOXES.values() for name in DRAWN.findall(f"{box.heading} {box.text}")}
    assert len(names) > 10
    for name in names:
        assert (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file(), name


def test_the_picture_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "architecture.svg"
    assert main(["-o", str(picture)]) == 0
    assert "<svg" in picture.read_text(encoding="utf-8")
    assert main(["-o", str(tmp_path / "architecture.docx")]) == 2


@pytest.mark.parametrize("name", [*KINDS, *DECODERS, *PRESETS, *COMMANDS])
def test_what_can_be_chosen_is_in_the_docs(name: str) -> None:
    """A data set, a decoder, a network or a command that no page names cannot be found."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    assert re.search(rf"`{re.escape(name)}`|--decoder {re.escape(name)}|rmvpe {re.escape(name)}\b", text), name
