"""`rmvpe predict` as its users meet it: files, folders, names, flags, bad input, exit codes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe import files
from rmvpe.backends import installed_backends
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, save
from rmvpe.cli import predict as cli
from rmvpe.cli.main import main
from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.estimator import Estimator
from rmvpe.pitch import bins_to_hz
from rmvpe.track import F0Track
from tests.helpers.commands import command_with
from tests.helpers.networks import StandInNetwork
from tests.helpers.paths import ROOT
from tests.helpers.settings import decoding

Predict = Callable[..., int]
BACKENDS = installed_backends()


class OneNote(StandInNetwork):
    """A network that finds bin 200 in everything, with confidence 0.6."""

    def respond(self, log_mel: np.ndarray) -> np.ndarray:
        salience = np.zeros((*log_mel.shape[:2], 360), dtype=np.float32)
        salience[..., 200] = 0.6
        return salience


@pytest.fixture
def loads() -> list[tuple[str, str, str]]:
    """What `predict` was asked to load: weights, backend, device."""
    return []


@pytest.fixture
def predict(loads: list[tuple[str, str, str]]) -> Predict:
    """`rmvpe predict` with the one-note network."""

    def load(weights: str, backend: str, device: str) -> Estimator:
        loads.append((weights, backend, device))
        return Estimator(OneNote(), ModelConfig.small(), DecodeConfig(threshold=0.5))

    return command_with(cli, load)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two good files at different rates, one of them stereo and one folder down; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    soundfile.write("in/a.wav", np.full(16000, 0.1), 16000)  # sound to the silence gate
    soundfile.write("in/deep/b.flac", np.zeros((22050, 2)), 44100)
    return tmp_path


HEADLINE = "rmvpe predict: numpy on here\n"  # what computes, once


def refused(predict: Predict, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused: exit code 2, one line on stderr, nothing written."""
    before = sorted(Path().rglob("*"))
    assert predict(*arguments) == 2
    error = capsys.readouterr().err.removeprefix(HEADLINE)
    assert error.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return error


def files_in(path: str) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in Path(path).rglob("*") if file.is_file())


def test_one_file_to_one_file(folder: Path, loads: list, predict: Predict, capsys: pytest.CaptureFixture[str]):
    assert predict("in/a.wav", "-o", "out/a.csv") == 0
    assert loads == [("small", "auto", "auto")]
    track = F0Track.read("out/a.csv")
    assert len(track) == 101
    assert track.voiced.all()
    np.testing.assert_allclose(track.f0_hz, bins_to_hz(np.array(200)), atol=1e-3)
    said = capsys.readouterr()
    assert said.out == "in/a.wav -> out/a.csv: 101 frames, 100% voiced, median 319.5 Hz\n"
    assert said.err == HEADLINE  # the bar is for terminals


def test_one_file_into_a_folder(folder: Path, predict: Predict):
    for out in ("new", "new/", "in", "v1.csv/"):
        assert predict("in/a.wav", "-o", out) == 0
        assert Path(out, "a.csv").is_file()


def test_a_folder_keeps_its_shape(folder: Path, predict: Predict):
    assert predict("in", "-o", "out", "--format", "npz") == 0
    assert files_in("out") == ["a.npz", "deep/b.npz"]
    assert len(F0Track.read("out/deep/b.npz")) == 51


def test_files_of_one_name_do_not_overwrite_each_other(folder: Path, predict: Predict):
    (folder / "other").mkdir()
    soundfile.write("other/a.wav", np.zeros(8000), 16000)
    assert predict("in/a.wav", "other/a.wav", "-o", "out") == 0
    assert files_in("out") == ["in/a.csv", "other/a.csv"]
    assert len(F0Track.read("out/other/a.csv")) == 51


@pytest.mark.parametrize("ending", ["csv", "npz", "npy", "pv"])
def test_the_ending_is_the_format(ending: str, folder: Path, predict: Predict):
    assert predict("in/a.wav", "-o", f"song.{ending}") == 0
    assert len(F0Track.read(f"song.{ending}")) == 101


def test_a_format_for_any_name(folder: Path, predict: Predict):
    assert predict("in/a.wav", "-o", "song.f0", "--format", "csv") == 0
    assert len(F0Track(*np.loadtxt("song.f0", delimiter=",", skiprows=1).T)) == 101


def test_flags_reach_the_estimator(folder: Path, loads: list, predict: Predict, monkeypatch: pytest.MonkeyPatch):
    seen: dict = {}

    def track(self: Estimator, recording: object, **given: object) -> F0Track:
        seen.update(given, config=self.config)
        return F0Track(np.arange(3) * 0.02, *np.zeros((3, 3)))

    monkeypatch.setattr(Estimator, "from_recording", track)
    flags = "--backend jax --device cuda:1 --weights w.pt --hop-ms 20 --threshold 0.2 --f0-min 80 --f0-max 900"
    assert predict("in/a.wav", "-o", "a.csv", *flags.split(), "--decoder", "viterbi", "--pad", "zero") == 0
    assert loads == [("w.pt", "jax", "cuda:1")]
    assert seen["hop_s"] == 0.02
    assert seen["config"] == decoding("viterbi", 0.2, 80.0, 900.0, "zero")
    assert predict("in/a.wav", "-o", "a.csv") == 0
    assert seen["config"] == decoding(threshold=0.5)  # what the weights brought
    assert seen["hop_s"] is None


def test_a_bad_file_does_not_stop_a_folder(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    Path("in/aa.wav").write_text("not a sound\n")
    broken = np.zeros(16000)
    broken[8000] = np.nan
    soundfile.write("in/c.wav", broken, 16000, subtype="FLOAT")
    assert predict("in", "-o", "out") == 1
    assert files_in("out") == ["a.csv", "deep/b.csv"]
    lines = capsys.readouterr().err.removeprefix(HEADLINE).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("rmvpe predict: in/aa.wav ")
    assert "c.wav" in lines[1]
    assert "0.500 s" in lines[1]
    assert lines[2] == "rmvpe predict: 2 of 4 files failed"


def test_a_single_bad_file_is_an_error(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    Path("text.wav").write_text("not a sound\n")
    for out in ("out", "out/x.csv"):
        assert "text.wav " in refused(predict, capsys, "text.wav", "-o", out)
    assert "gone.wav does not exist" in refused(predict, capsys, "gone.wav", "-o", "out")
    assert "gone.wav does not exist" in refused(predict, capsys, "in/a.wav", "gone.wav", "-o", "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "-o", "out.csv"], "give a folder and --format csv"),
        (["in/a.wav", "-o", "out.txt"], "out.txt"),
        (["in/a.wav", "-o", "out.csv", "--format", "npz"], "ends in .csv but --format says npz"),
        (["in/a.wav", "-o", "in/a.wav", "--format", "csv"], "is an input and would be replaced"),
        (["in/a.wav", "-o", "out.pv", "--hop-ms", "5"], "5 ms"),
        (["in", "-o", "out", "--format", "pv", "--hop-ms", "20"], "20 ms"),
        (["in/a.wav", "-o", "a.csv", "--hop-ms", "0"], "0 ms"),
        (["in/a.wav", "-o", "a.csv", "--hop-ms", "fast"], "invalid float value: 'fast'; see rmvpe predict --help"),
        (["in/a.wav", "-o", "a.csv", "--threshold", "2"], "threshold 2.0"),
        (["in/a.wav", "-o", "a.csv", "--f0-min", "500", "--f0-max", "100"], "500.0 to 100.0 Hz"),
        (["in/a.wav", "-o", "a.csv", "--decoder", "argmax"], "argument --decoder: invalid choice"),
        (["in/a.wav", "-o", "a.csv", "--format", "xml"], "argument --format: invalid choice"),
        (["in/a.wav"], "required: -o/--output"),
        (["-o", "out"], "give INPUT or --files-from"),
        (["in", "-o", "out", "--plot", "all.png"], "--plot all.png is one picture for 2 files"),
        (["in/a.wav", "-o", "a.csv", "--plot", "in/deep/b.flac"], "in/deep/b.flac"),
    ],
)
def test_wrong_flags(
    arguments: list[str], words: str, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
):
    assert words in refused(predict, capsys, *arguments)


def test_an_output_that_cannot_be_written(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    Path("file").write_text("in the way")
    for out in ("file", "file/out", "file/a.csv", "/proc/nowhere/out"):
        assert "cannot write" in refused(predict, capsys, "in", "in/a.wav", "-o", out).replace(
            "is a file's name", "cannot write"
        )
    Path("dir.csv").mkdir()
    assert predict("in/a.wav", "-o", "dir.csv") == 0
    assert files_in("dir.csv") == ["a.csv"]


def test_nothing_is_predicted_if_the_output_cannot_be_written(
    folder: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Estimator, "from_recording", lambda *_, **__: pytest.fail("work began"))
    monkeypatch.setattr(files.tempfile, "TemporaryFile", _no_permission)  # chmod does not stop root
    assert "Permission denied" in refused(predict, capsys, "in", "-o", "new/out")


def _no_permission(dir: Path) -> None:
    raise PermissionError(13, "Permission denied", str(dir))


def test_a_picture_beside_each_result_or_where_told(folder: Path, predict: Predict):
    pytest.importorskip("matplotlib")
    assert predict("in", "-o", "out", "--plot") == 0
    assert files_in("out") == ["a.csv", "a.png", "deep/b.csv", "deep/b.png"]
    assert predict("in/a.wav", "-o", "out/x.csv", "--plot", "pictures/y.svg") == 0
    assert Path("pictures/y.svg").stat().st_size > 1000


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_are_shown_with_escapes(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    name = "\x1b[2J$x$ \n\u202e.wav"
    Path("in/a.wav").rename(f"in/{name}")
    assert predict(f"in/{name}", "-o", "out/", "--plot") == 0
    out, err = capsys.readouterr()
    assert r"in/\x1b[2J$x$ \n\u202e.wav -> out/\x1b[2J$x$ \n\u202e.csv, \x1b[2J$x$ \n\u202e.png: " in out
    assert "\x1b" not in out + err


def test_without_matplotlib_it_is_named(
    folder: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install matplotlib" in refused(predict, capsys, "in/a.wav", "-o", "out/a.csv", "--plot")


def test_files_without_samples_or_voice(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    soundfile.write("empty.wav", np.zeros(0), 44100)
    assert predict("empty.wav", "-o", "empty.csv", "--plot", "empty.png") == 0
    assert Path("empty.csv").read_text() == "time_s,f0_hz,voiced,confidence\n"
    assert predict("in/a.wav", "-o", "a.csv", "--threshold", "0.9") == 0
    assert capsys.readouterr().out.splitlines() == [
        "empty.wav -> empty.csv, empty.png: 0 frames, no voice found",
        "in/a.wav -> a.csv: 101 frames, no voice found",
    ]


def test_the_bar_counts_files(
    folder: Path, predict: Predict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert predict("in", "-o", "out") == 0
    error = capsys.readouterr().err
    assert "2/2 files" in error
    assert "b.flac" in error


def test_timings_are_printed_on_stderr(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    assert predict("in/a.wav", "-o", "a.csv", "-q") == 0
    plain = Path("a.csv").read_bytes()
    assert capsys.readouterr() == ("", "")
    assert predict("in", "-o", "out", "--timings") == 0
    text = capsys.readouterr().err
    for words in ("of sound", "times real time", "start and imports", "reading", "log-mel", "network: GRU", "decoding"):
        assert words in text
    assert Path("out/a.csv").read_bytes() == plain


def test_timings_are_of_one_process(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    assert "--jobs" in refused(predict, capsys, "in", "-o", "out", "--timings", "--jobs", "2")


def test_help_has_units_and_the_apis_defaults(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("milliseconds", "Hz", "else 0.03", "default: local-average", "default: silence", "default: small"):
        assert words in text


def test_wildcards_that_the_shell_left_are_expanded(folder: Path, predict: Predict):
    soundfile.write("in/a2.wav", np.zeros(800), 16000)
    assert predict("in/a*.wav", "-o", "out") == 0
    assert files_in("out") == ["a.csv", "a2.csv"]
    assert predict("in/**/*.flac", "-o", "deep") == 0
    assert files_in("deep") == ["b.csv"]
    assert predict("in/[a].w?v", "-o", "one.csv") == 0
    assert len(F0Track.read("one.csv")) == 101


def test_a_name_with_brackets_that_exists_is_that_file(folder: Path, predict: Predict):
    soundfile.write("take [a].wav", np.zeros(16000), 16000)
    assert predict("take [a].wav", "-o", "out") == 0
    assert files_in("out") == ["take [a].csv"]


def test_a_wildcard_without_a_match_is_named(folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]):
    assert "in/*.mp3" in refused(predict, capsys, "in/a.wav", "in/*.mp3", "-o", "out")


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_of_files(coding: str, folder: Path, predict: Predict):
    soundfile.write("é [1].wav", np.zeros(800), 16000)
    Path("list.txt").write_bytes("in/a.wav\r\n\r\n   \né [1].wav\n".encode(coding))
    assert predict("--files-from", "list.txt", "-o", "out") == 0
    assert files_in("out") == ["a.csv", "é [1].csv"]
    assert predict("in/deep/b.flac", "--files-from", "list.txt", "-o", "more") == 0
    assert files_in("more") == ["a.csv", "b.csv", "é [1].csv"]


def test_inputs_may_follow_the_flags(folder: Path, predict: Predict):
    assert predict("-o", "out", "--threshold", "0.4", "in/a.wav", "in/deep/b.flac") == 0
    assert files_in("out") == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "list.txt lists no file"),
        (b"\n \n", "list.txt lists no file"),
        (b"\xff\xfa\x00RIFF", "list.txt is not a text file"),
        (b"in/a.wav\ngone.wav\n", "gone.wav does not exist"),
        (None, "list.txt"),
    ],
)
def test_bad_lists(
    content: bytes | None, words: str, folder: Path, predict: Predict, capsys: pytest.CaptureFixture[str]
):
    if content is not None:
        Path("list.txt").write_bytes(content)
    assert words in refused(predict, capsys, "--files-from", "list.txt", "-o", "out")


def random_weights(path: Path) -> Path:
    rng, config = np.random.default_rng(0), ModelConfig.small()
    tensors = {
        name: np.abs(rng.standard_normal(shape) / np.sqrt(max(float(np.prod(shape[1:])), 4.0)) + 0.1).astype(np.float32)
        for name, shape in expected_tensors(config).items()
    }
    save(path, Checkpoint(config, tensors, {}))
    return path


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, env=environment)


@pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")
def test_the_command_and_the_script_agree(folder: Path):
    random_weights(folder / "w.safetensors")
    done = run(
        "-m",
        "rmvpe",
        "predict",
        "in/a.wav",
        "-o",
        "a.npz",
        "--weights",
        "w.safetensors",
        "--hop-ms",
        "5",
        "-q",
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    script = str(ROOT / "scripts" / "infer.py")
    flags = ["-m", "w.safetensors", "-d", "cpu", "-i", "in/a.wav", "-o", "a.csv", "-hop", "80", "-th", "0.03"]
    done = run(script, *flags, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    track, columns = F0Track.read(folder / "a.npz"), np.loadtxt(folder / "a.csv", delimiter=",")
    assert columns.shape == (201, 2)
    np.testing.assert_allclose(columns[:, 0], track.time_s, atol=1e-6)
    np.testing.assert_allclose(columns[:, 1], track.f0_hz, atol=1e-3)


@pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")
def test_a_list_from_stdin(folder: Path):
    command = [sys.executable, "-m", "rmvpe", "predict", "--files-from", "-", "-o", "out", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=b"in/a.wav\nin/deep/b.flac\n", capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert files_in("out") == ["a.csv", "b.csv"]


@pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")
@pytest.mark.parametrize(
    ("weights", "device", "words"),
    [
        ("cut.safetensors", "auto", "cut.safetensors"),
        ("gone.safetensors", "auto", "gone.safetensors does not exist"),
        ("gigantic", "auto", "'gigantic'"),
        ("w.safetensors", "abacus", "'abacus'"),
    ],
)
def test_bad_weights_and_devices(
    weights: str, device: str, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
):
    def predict(*arguments: str) -> int:
        return main(["predict", *arguments])

    (folder / "cut.safetensors").write_bytes(random_weights(folder / "w.safetensors").read_bytes()[:5000])
    assert words in refused(predict, capsys, "in/a.wav", "-o", "out/a.csv", "--weights", weights, "--device", device)
