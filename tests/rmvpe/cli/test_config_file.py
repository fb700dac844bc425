"""`--config FILE.py` and a run's config.json: a fault is one sentence with the file and line."""

import os
from pathlib import Path

import pytest

from rmvpe.cli.config_file import load_config, stored_config
from rmvpe.config import TrainConfig
from rmvpe.config_check import to_json
from rmvpe.errors import UserError

IMPORT = "from rmvpe.config import ModelConfig, TrainConfig\n"
FAULTS = {
    "syntax": ("CONFIG = (", r", line 1: SyntaxError"),
    "wrong keyword": (IMPORT + "CONFIG = TrainConfig(batchsize=3)", r", line 2: .*batchsize"),
    "out of range": (IMPORT + "\nCONFIG = TrainConfig(batch_size=0)", r", line 3: batch_size must be from 1"),
    "wrong type": (IMPORT + "CONFIG = TrainConfig(seed='1')", r", line 2: seed must be a whole number"),
    "model no model": (IMPORT + "CONFIG = TrainConfig(model='small')", r", line 2: model must be a ModelConfig"),
    "exit 0": ("import sys\nsys.exit(0)", r", line 2 ends the program"),
    "exit deep inside": ("def f():\n    raise SystemExit\nf()", r", line 2 ends the program"),
    "no CONFIG": ("x = 1", r" does not define CONFIG = TrainConfig"),
    "another CONFIG": ("CONFIG = {}", r" does not define CONFIG = TrainConfig.*a dict"),
    "exception": ("1 / 0", r", line 1: ZeroDivisionError"),
    "missing module": ("\nimport no_such_module", r", line 2: ModuleNotFoundError"),
    "memory": ("x = 1\nraise MemoryError", r", line 2 needs more memory"),
    "recursion": ("def f():\n    f()\nf()", r", line 2: RecursionError"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_config_file_is_a_sentence_with_its_line(tmp_path: Path, name: str) -> None:
    text, message = FAULTS[name]
    (tmp_path / "c.py").write_text(text)
    with pytest.raises(UserError, match=r"c\.py" + message):
        load_config(tmp_path / "c.py")


@pytest.mark.parametrize("content", [b"x = '\xe9'", b"\x00\x01", "CONFIG = 1".encode("utf-16"), b"(" * 100_000])
def test_bytes_that_are_no_python_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.py").write_bytes(content)
    with pytest.raises(UserError, match=r"c\.py"):
        load_config(tmp_path / "c.py")


def test_ctrl_c_in_a_config_file_is_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_config(tmp_path / "c.py")


def test_what_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder"):
        load_config(tmp_path)
    with pytest.raises(UserError, match=r"c\.py does not exist"):
        load_config(tmp_path / "c.py")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "c.py")
        with pytest.raises(UserError, match="not a regular file"):
            load_config(tmp_path / "c.py")


def test_a_runs_config_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    text = to_json(TrainConfig(seed=3))
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "config.json").write_text(text, encoding=encoding)
        assert stored_config(tmp_path) == TrainConfig(seed=3)


@pytest.mark.parametrize(
    "content",
    [
        "{}".encode("utf-16"),
        '{"data": "é"}'.encode("latin-1"),
        b"[" * 100_000,
        b'{"seed": 1' + b"0" * 5000 + b"}",
        b" " * (17 << 20),
        b"[]",
        b'{"seed": 1e999}',
        b'{"learning_rate": NaN}',
    ],
)
def test_a_runs_config_that_is_none_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        stored_config(tmp_path)
