"""`rmvpe benchmark` measures what is installed, says of what, and what to use."""

import pytest

from rmvpe.backends import installed_backends
from rmvpe.cli.benchmark import Speed, advice
from rmvpe.cli.main import main

INSTALLED = installed_backends()


@pytest.mark.skipif(not INSTALLED, reason="needs torch, jax or onnxruntime")
def test_a_line_for_each_measurement(capsys: pytest.CaptureFixture[str]):
    short = ["--seconds", "1", "--runs", "1", "--clips", "1", "--backend", INSTALLED[0], "--high-register"]
    assert main(["benchmark", *short]) == 0
    first, heads, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("small: ")
    assert "file of 1 s" in heads
    assert "clips of 2 to 10 s" in heads
    assert [line.rpartition(", ")[0] for line in lines[:2]] == [INSTALLED[0], f"{INSTALLED[0]}, high register"]
    assert all("thread" in line and line.count(" times") == 2 for line in lines[:2])
    assert lines[2].startswith("log-mel alone ")
    assert len(lines) == 3  # nothing to choose from


@pytest.mark.skipif(len(INSTALLED) < 2, reason="needs two of torch, jax, onnxruntime")
def test_several_weights_and_what_to_use(capsys: pytest.CaptureFixture[str]):
    assert main(["benchmark", "--seconds", "0.1", "--runs", "1", "--clips", "1", "--weights", "small", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * (4 + len(INSTALLED))
    assert lines[len(lines) // 2 - 1].startswith("Use ")


@pytest.mark.parametrize(
    ("speeds", "default", "sentence"),
    [
        ({"torch": Speed(2, 2), "onnx": Speed(1, 1)}, "onnx", "Use the default here, onnx: no other is faster."),
        ({"torch": Speed(0.95, 1), "onnx": Speed(1, 1)}, "onnx", "Use the default here, onnx: no other is faster."),
        (
            {"torch": Speed(0.5, 1), "onnx": Speed(1, 1), "jax": Speed(2, 2)},
            "onnx",
            "Use --backend torch for long files: 2.0 times as fast as onnx, the default here.",
        ),
        (
            {"torch": Speed(1, 2), "jax": Speed(2, 1)},
            "onnx",
            "Use --backend torch for long files and --backend jax for short clips.",
        ),
    ],
)
def test_what_to_use(speeds: dict[str, Speed], default: str, sentence: str):
    assert advice(speeds, default) == sentence


@pytest.mark.skipif(not INSTALLED, reason="needs torch, jax or onnxruntime")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--seconds", "nan"], "--seconds more than 0"),
        (["--clips", "0"], "--clips too"),
        (["--weights", "gone.pt"], "gone.pt does not exist"),
        (["--device", "abacus"], "'abacus'"),
    ],
)
def test_mistakes(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert main(["benchmark", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
