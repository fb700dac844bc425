"""Which processes keep compiled programs, and where."""

import logging
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from rmvpe.compiled_programs import KEEP, SWITCH, keep_by_default
from rmvpe_jax.compiled_programs import FOLDER, keep_compiled_programs

OPTIONS = (FOLDER, "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes")


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """JAX's configuration as before, and a cache folder of the test's own."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update(FOLDER, None)
    monkeypatch.setenv("RMVPE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(SWITCH, raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def kept_in() -> str | None:
    """Where JAX keeps compiled programs."""
    return getattr(jax.config, FOLDER)


def test_a_library_changes_nothing(tmp_path):
    keep_compiled_programs()
    assert kept_in() is None
    assert not (tmp_path / "home").exists()


def test_a_command_keeps_them_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(SWITCH, KEEP)
    keep_compiled_programs()
    assert Path(kept_in() or "").is_relative_to(tmp_path / "home")
    assert Path(kept_in() or "").is_dir()


def test_the_folder_of_the_user_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(SWITCH, KEEP)
    jax.config.update(FOLDER, str(tmp_path / "own"))
    keep_compiled_programs()
    assert kept_in() == str(tmp_path / "own")


def test_a_folder_that_cannot_be_written_is_one_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "home").write_text("a file")
    monkeypatch.setenv(SWITCH, KEEP)
    with caplog.at_level(logging.WARNING):
        keep_compiled_programs()
    assert kept_in() is None
    (record,) = caplog.records
    assert "compiled programs cannot be kept in " in record.getMessage()
    assert "set RMVPE_HOME to another folder" in record.getMessage()


def test_the_user_can_switch_it_off():
    chosen = {SWITCH: "no"}
    keep_by_default(chosen)
    nothing: dict[str, str] = {}
    keep_by_default(nothing)
    assert (chosen[SWITCH], nothing[SWITCH]) == ("no", KEEP)
