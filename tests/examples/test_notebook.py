"""The notebook runs as it is, and prints what is stored in it."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("mir_eval")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from tests.helpers.paths import ROOT  # noqa: E402

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def printed(notebook) -> list[str]:
    """What each code cell prints."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(output.text for output in cell.outputs if output.output_type == "stream") for cell in cells]


@pytest.mark.filterwarnings("ignore")  # the kernel's libraries warn of each other, which is not ours to fix
def test_it_runs_and_prints_what_is_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stored = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(fresh, timeout=120, kernel_name="python3", resources=resources).execute()
    assert printed(fresh) == printed(stored)
    assert "71 % voiced" in "".join(printed(fresh))
    shown = {kind for cell in fresh.cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= shown  # the picture, and a player for the sound


def test_it_is_small_enough_to_read_on_the_web() -> None:
    assert NOTEBOOK.stat().st_size < 400_000
