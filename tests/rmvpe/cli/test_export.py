"""`rmvpe export onnx`: what it writes and prints; bad input ends in one line, and nothing is half-written."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.checkpoint.store import load, save
from rmvpe.cli.main import main
from tests.helpers.paths import DEMO_RECORDING, ROOT

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def export(*arguments: str | Path) -> int:
    return main(["export", "onnx", *map(str, arguments)])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line of a command that ends with a user's mistake."""
    capsys.readouterr()
    try:
        code = export(*arguments)
    except SystemExit as exit_:  # of argparse
        code = int(exit_.code or 0)
    found = capsys.readouterr()
    assert code == 2, found
    assert found.out == ""
    lines = found.err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_it_writes_checks_and_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "rmvpe.onnx"
    assert export("-o", output) == 0
    wrote, checked = capsys.readouterr().out.splitlines()
    assert str(output) in wrote
    assert "waveform, float32" in wrote
    assert f"{output.stat().st_size / 1e6:.1f} MB" in wrote
    assert "a built-in recording" in checked
    assert "0 voicing flips" in checked
    assert [path.name for path in tmp_path.iterdir()] == ["rmvpe.onnx"]
    assert {"threshold_for", "salience_for"}.isdisjoint(metadata(output))


def test_every_flag_reaches_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "mel.ONNX"
    flags = ("--kind", "mel", "--dtype", "float16", "--salience-for", "0.03", "--input-name", "input")
    assert export("small", "-o", output, *flags, "--audio", DEMO_RECORDING) == 0
    wrote, checked = capsys.readouterr().out.splitlines()
    assert "mel, float16" in wrote
    assert "demo.flac" in checked
    assert metadata(output)["salience_for"] == "0.03"
    assert [entry.name for entry in onnx.load(output).graph.input] == ["input"]
    assert export("-o", tmp_path / "u.onnx", "--threshold-for", "0.3") == 0
    assert metadata(tmp_path / "u.onnx")["threshold_for"] == "0.3"


def test_weights_without_a_threshold_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small = load("small")
    kept = {name: text for name, text in small.metadata.items() if name not in ("threshold", "calibration")}
    save(tmp_path / "bare.safetensors", replace(small, metadata=kept))
    assert export(tmp_path / "bare.safetensors", "-o", tmp_path / "a.onnx", "--threshold-for", "0.03") == 0
    assert "recommend no threshold" in capsys.readouterr().out


def test_an_own_file_is_replaced_and_a_foreign_one_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "rmvpe.onnx"
    assert export("-o", output) == 0
    assert export("-o", output, "--kind", "mel-pitch") == 0  # our own
    assert metadata(output)["kind"] == "mel-pitch"
    graph = onnx.helper.make_graph([], "rmvpe", [], [])
    foreign = onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString()
    for content in (foreign, b"not a model", b""):
        output.write_bytes(content)
        assert "rmvpe.onnx exists" in refused(capsys, "-o", output)
        assert output.read_bytes() == content
    assert export("-o", output, "--force") == 0
    assert metadata(output)["kind"] == "waveform"


def test_a_check_that_fails_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(16000), 16000)
    output = tmp_path / "rmvpe.onnx"
    message = refused(capsys, "-o", output, "--audio", silence)
    assert f"{output} could not be checked: no frame of the recording is voiced" in message
    assert "--audio" in message
    assert [path.name for path in tmp_path.iterdir()] == ["silence.wav"]
    # and what was there before stays
    assert export("-o", output) == 0
    before = output.read_bytes()
    refused(capsys, "-o", output, "--kind", "mel", "--audio", silence)
    assert output.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rmvpe.onnx", "silence.wav"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "net.pt"], "net.pt must end in .onnx"),
        (["-o", "net"], "must end in .onnx"),
        (["-o", "."], "must end in .onnx"),
        (["none.safetensors", "-o", "net.onnx"], "none.safetensors"),
        (["smal", "-o", "net.onnx"], "smal"),
        (["-o", "net.onnx", "--audio", "none.wav"], "none.wav"),
        (["-o", "net.onnx", "--threshold-for", "much"], "--threshold-for takes own or a number"),
        (["-o", "net.onnx", "--threshold-for", "0"], "0.0"),
        (["-o", "net.onnx", "--threshold-for", "1.5"], "1.5"),
        (["-o", "net.onnx", "--threshold-for", "nan"], "nan"),
        (["-o", "net.onnx", "--kind", "mel", "--threshold-for", "0.3"], "--salience-for"),
        (["-o", "net.onnx", "--kind", "mel", "--salience-for", "1"], "1.0"),
        (["-o", "net.onnx", "--kind", "mel", "--salience-for", "x"], "--salience-for"),
        (["-o", "net.onnx", "--salience-for", "0.3"], "--kind mel"),
        (["-o", "net.onnx", "--input-name", "input"], "--kind mel"),
        (["-o", "net.onnx", "--output-name", "f0"], "--kind mel"),
        (["-o", "net.onnx", "--kind", "audio"], "--kind"),
        (["-o", "net.onnx", "--dtype", "int8"], "--dtype"),
        ([], "--output"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sound = tmp_path / "sound.onnx"
    sound.write_bytes(DEMO_RECORDING.read_bytes())
    assert "is an input" in refused(capsys, "-o", sound, "--audio", sound, "--force")
    assert sound.read_bytes() == DEMO_RECORDING.read_bytes()


def test_a_place_that_cannot_be_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "net.onnx").mkdir()
    assert "net.onnx" in refused(capsys, "-o", tmp_path / "net.onnx", "--force")
    (tmp_path / "file").write_text("no folder")
    assert "file" in refused(capsys, "-o", tmp_path / "file" / "net.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "net.onnx"]
    if sys.platform != "win32" and os.geteuid():  # root may write everywhere
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        assert "closed" in refused(capsys, "-o", closed / "net.onnx")


def test_a_folder_is_made(tmp_path: Path):
    assert export("-o", tmp_path / "new" / "net.onnx", "--kind", "mel-pitch") == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["net.onnx"]


def test_without_onnx_it_says_what_to_install(tmp_path: Path):
    code = "import sys; sys.modules['onnx'] = None; from rmvpe.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "export", "onnx", "-o", str(tmp_path / "net.onnx")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert "pip install onnxruntime onnx" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
