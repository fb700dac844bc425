"""The card of a run: a header that the hub reads, true values, no path; nobody's README is replaced."""

import sys
from pathlib import Path

import numpy as np
import pytest

from rmvpe.backends import is_installed
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.training.folder import TEMPORARY, check_new, is_only_run
from rmvpe.training.model_card import CARD, card, data_name, header, initial_name, is_own_card, write_card

ABOUT = {
    "step": "120",
    "seed": "7",
    "git_commit": "0123456789ab",
    "threshold": "0.42",
    "calibration": "1.5,0.5",
    "licence": "CC-BY-4.0",
    "initial": "small",
}
SCORES = {"clean": {"RPA": 0.912, "RCA": 0.93, "OA": 0.5}, "0 dB": {"RPA": 0.8, "RCA": float("nan"), "OA": 0.5}}
CONFIG = TrainConfig(data="/home/me/secret place/my-voice", iterations=200)
DATA = "31 items, 0123456789abcdef"


def checkpoint(**about: str) -> Checkpoint:
    return Checkpoint(ModelConfig.e2e0(), {"a": np.zeros((2, 5), np.float32)}, {**ABOUT, **about})


def test_what_the_run_knows_is_in_the_card_and_no_path_is():
    text = card("best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
    for value in (
        "CC-BY-4.0",
        "my-voice, 31 items",
        "| small |",
        "120 of 200",
        "0123456789ab",
        "0.42",
        "1.5,0.5",
        "91.2 %",
    ):
        assert value in text, value
    assert "/home/me" not in text
    assert "secret" not in text
    assert "0 dB" not in text  # a score that is not a number is no score


def test_what_the_run_does_not_know_is_not_invented():
    bare = Checkpoint(ModelConfig.e2e0(), {}, {"step": "1"})
    text = card("last.safetensors", bare, CONFIG, DATA, {})
    assert 'license: "unknown"' in text
    assert "| licence | not stated" in text
    assert "random weights" in text
    assert "Not validated" in text


@pytest.mark.parametrize(
    ("licence", "lines"),
    [
        ("", ['license: "unknown"']),
        ("MIT", ['license: "mit"']),
        ("My Voice: ask me!", ["license: other", 'license_name: "my-voice-ask-me"']),
        ("other", ["license: other", 'license_name: "other"']),
        ("声音", ["license: other", 'license_name: "unknown"']),
    ],
)
def test_the_licence_is_the_hubs_identifier_or_other(licence: str, lines: list[str]):
    assert [line for line in header(licence, "") if line.startswith("license")] == lines


@pytest.mark.skipif(not is_installed("huggingface_hub"), reason="huggingface_hub is not installed")
@pytest.mark.parametrize("licence", ["", "apache-2.0", 'a "quoted": one\n---'])
def test_the_hubs_own_package_reads_the_header(licence: str):
    from huggingface_hub import ModelCard

    text = card("best.safetensors", checkpoint(licence=licence, initial="hf:me/first@v1"), CONFIG, DATA, SCORES)
    data = ModelCard(text).data.to_dict()
    assert data["library_name"] == "rmvpe"
    assert data["license"] == {"": "unknown", "apache-2.0": "apache-2.0"}.get(licence, "other")
    assert data["base_model"] == "me/first"
    assert "f0" in data["tags"]


def test_a_card_replaces_only_a_card_that_nobody_has_edited(tmp_path: Path):
    path = tmp_path / CARD
    assert write_card(tmp_path, "best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
    assert is_own_card(path)
    assert write_card(tmp_path, "best.safetensors", checkpoint(step="130"), CONFIG, DATA, SCORES)
    assert "130 of 200" in path.read_text(encoding="utf-8")
    edited = path.read_text(encoding="utf-8").replace("my-voice", "my wonderful voice")
    for text in (edited, "# My own notes\n", ""):
        path.write_text(text, encoding="utf-8")
        assert not is_own_card(path)
        assert not write_card(tmp_path, "best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
        assert path.read_text(encoding="utf-8") == text


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_folder_or_a_link_of_that_name_stays(tmp_path: Path):
    (tmp_path / CARD).mkdir()
    assert not write_card(tmp_path, "best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
    (tmp_path / CARD).rmdir()
    (tmp_path / CARD).symlink_to(tmp_path / "elsewhere")
    assert not write_card(tmp_path, "best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_begins_beside_a_readme_and_sweeps_no_editors_file(tmp_path: Path):
    (tmp_path / CARD).write_text("# Mine\n", encoding="utf-8")
    check_new(tmp_path, "command")
    assert TEMPORARY.fullmatch(".README-rmvpe-0123abcd-12-abcdef.md")
    assert not TEMPORARY.fullmatch(".README.md.swp")


def test_a_run_with_its_card_may_be_replaced_but_not_with_a_users(tmp_path: Path):
    for name in ("config.json", "state-00000002.pt", "best.safetensors"):
        (tmp_path / name).write_text("x")
    assert write_card(tmp_path, "best.safetensors", checkpoint(), CONFIG, DATA, SCORES)
    assert is_only_run(tmp_path)
    (tmp_path / CARD).write_text("# My notes\n", encoding="utf-8")
    assert not is_only_run(tmp_path)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("Hybrid", "Hybrid"),
        ("/data/me/Hybrid/", "Hybrid"),
        ("C:\\me\\voices", "voices"),
        ("vocadito:/data/vocadito,../mine", "vocadito:vocadito, mine"),
        (".", "a folder"),
    ],
)
def test_data_sets_are_named_without_their_folders(data: str, name: str):
    assert data_name(data) == name


def test_the_first_weights_are_named_without_their_folder(tmp_path: Path):
    assert initial_name("small") == "small"
    assert initial_name("hf:me/first") == "hf:me/first"
    assert initial_name(str(tmp_path / "a.pt")) == "a.pt"


def test_a_name_cannot_break_the_table():
    odd = checkpoint(initial="a|b`c\n<d>.pt")
    line = next(
        line for line in card("best.safetensors", odd, CONFIG, DATA, {}).splitlines() if line.startswith("| started")
    )
    assert line == "| started from | a\\|b'c\\n&lt;d>.pt |"
