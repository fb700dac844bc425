"""The pictures of docs/ say what the code says."""

import re
from pathlib import Path

import pytest

from rmvpe.backends import installed_backends
from rmvpe.config import ModelConfig
from scripts.draw_docs import main
from tests.helpers.paths import ROOT

TEXT = re.compile(r"<!-- (.*?) -->", re.DOTALL)  # matplotlib writes each text as a comment beside its outlines


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not installed_backends():
        pytest.skip("neither torch nor jax is installed")
    folder = tmp_path_factory.mktemp("pictures")
    assert main(["-o", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("config", [ModelConfig.small(), ModelConfig.e2e0()], ids=lambda config: config.name)
def test_the_networks_in_docs_are_those_of_the_code(drawn: Path, config: ModelConfig):
    name = f"network-{config.name}.svg"
    texts = TEXT.findall((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert texts == TEXT.findall((drawn / name).read_text(encoding="utf-8"))
    for channels in config.level_channels:
        assert any(text.startswith(f"{channels} channels") for text in texts)


def test_the_way_from_sound_to_f0_is_drawn(drawn: Path):
    assert (drawn / "way.png").read_bytes().startswith(b"\x89PNG")
    assert (ROOT / "docs" / "way.png").is_file()
