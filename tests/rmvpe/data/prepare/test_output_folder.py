"""The folder of a prepared data set: what others put there stays, and an earlier one is replaced on demand only."""

import json
import sys
from pathlib import Path

import pytest

from rmvpe.data.prepare import mir1k
from rmvpe.data.prepare.output_folder import DataFolder
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError
from tests.helpers.mir1k import FILES, beside, tree, write_zip


def test_a_folder_of_others_is_left_alone(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    (out / "train").mkdir(parents=True)
    (out / "train" / "mine.wav").write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(UserError, match="holds files this script did not make"):
            mir1k.prepare(str(archive), out, force=force)
    (out / "manifest.json").write_text('{"made_by": "scripts/prepare_synthetic.py", "items": {}}')
    with pytest.raises(UserError, match="holds files this script did not make"):
        mir1k.prepare(str(archive), out, force=True)
    assert (out / "train" / "mine.wav").read_bytes() == b"mine"
    unfinished = tmp_path / ".Other-unfinished"
    unfinished.mkdir()
    (unfinished / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"\.Other-unfinished is needed for the work but holds something else"):
        mir1k.prepare(str(archive), tmp_path / "Other")
    assert (unfinished / "mine.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        mir1k.prepare(str(archive), tmp_path / "file")


def test_force_replaces_what_the_manifest_claims_and_nothing_else(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    mir1k.prepare(str(archive), out)
    with pytest.raises(UserError, match="was made before: add --force"):
        mir1k.prepare(str(archive), out)
    fewer = {name: data for name, data in FILES.items() if "abjones_2_11" not in name}
    smaller = write_zip(tmp_path / "smaller.zip", fewer)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt was not made by this script"):
        mir1k.prepare(str(smaller), out, force=True)
    (out / "notes.txt").unlink()
    # A manifest that claims a file elsewhere does not reach it
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["items"]["../precious"] = {}
    (out / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "precious.wav").write_bytes(b"mine")
    mir1k.prepare(str(smaller), out, force=True)
    assert len(list(out.glob("*/*.wav"))) == 19
    assert beside(out) == ["Hybrid", "precious.wav"]


def test_what_comes_into_the_old_folder_meanwhile_is_kept(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    mir1k.prepare(str(archive), out)
    folder = DataFolder(out, mir1k.MADE_BY)
    with folder.writing() as temporary:
        (temporary / "manifest.json").write_text(json.dumps({"made_by": mir1k.MADE_BY, "items": {}}))
        (out / "train" / "notes.txt").write_text("mine")
        folder.commit(temporary)
    assert tree(out).keys() == {"manifest.json"}
    replaced = tmp_path / ".Hybrid-unfinished" / "old"
    assert tree(replaced).keys() == {"manifest.json", "train/notes.txt"}
    with pytest.raises(UserError, match=r"old/train/notes\.txt was not made by this script"):
        mir1k.prepare(str(archive), out, force=True)
    assert (replaced / "train" / "notes.txt").read_text() == "mine"
    (replaced / "train" / "notes.txt").rename(tmp_path / "notes.txt")
    mir1k.prepare(str(archive), out, force=True)
    assert beside(out) == ["Hybrid", "notes.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_an_empty_folder_and_a_link_are_filled(tmp_path: Path, archive: Path):
    (tmp_path / "disk" / "Hybrid").mkdir(parents=True)
    (tmp_path / "Hybrid").symlink_to(tmp_path / "disk" / "Hybrid")
    mir1k.prepare(str(archive), tmp_path / "Hybrid")
    assert len(Hybrid(tmp_path / "Hybrid", "test")) == 2
    assert beside(tmp_path / "disk" / "Hybrid") == ["Hybrid"]


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path, archive: Path):
    pytest.importorskip("fcntl")
    folder = DataFolder(tmp_path / "Hybrid", mir1k.MADE_BY)
    with folder.writing(), pytest.raises(UserError, match="is in use by another run"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid")
    mir1k.prepare(str(archive), tmp_path / "Hybrid")
