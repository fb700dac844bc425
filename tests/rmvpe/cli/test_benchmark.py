"""`rmvpe benchmark` measures what is installed and says of what."""

import pytest

from rmvpe.backends import installed_backends
from rmvpe.cli.main import main

INSTALLED = installed_backends()
pytestmark = pytest.mark.skipif(not INSTALLED, reason="needs torch, jax or onnxruntime")


def test_a_line_for_each_measurement(capsys: pytest.CaptureFixture[str]):
    flags = ["--seconds", "1", "--runs", "1", "--backend", INSTALLED[0], "--high-register"]
    assert main(["benchmark", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("small: ")
    assert lines[0].endswith("1 s of audio")
    assert [line.split("  ")[0].split(" 0.")[0].strip() for line in lines[1:3]] == [
        INSTALLED[0],
        f"{INSTALLED[0]}, high register",
    ]
    assert lines[3].startswith("log-mel: ")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seconds", "nan"], "--seconds more than 0"),
        (["--weights", "gone.pt"], "gone.pt does not exist"),
        (["--device", "abacus"], "'abacus'"),
    ],
)
def test_mistakes(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert main(["benchmark", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
