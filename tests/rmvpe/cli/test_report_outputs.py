"""`rmvpe evaluate` and `rmvpe compare`: what an output may replace, names that no file can have, -q, a closed pipe."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import installed_backends
from rmvpe.cli.main import main
from rmvpe.evaluation.trackers import adapters
from tests.helpers.simple_trackers import SPECS
from tests.helpers.voices import write_voices_and_music

pytest.importorskip("mir_eval")
BACKENDS = installed_backends()
pytestmark = pytest.mark.skipif(not BACKENDS, reason="needs torch, jax or onnxruntime")
COMMANDS = {"evaluate": ("--device", "cpu"), "compare": ("--trackers", "autocorrelation")}
LONG = "x" * 300


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test trackers beside the real ones."""
    for name, spec in SPECS.items():
        monkeypatch.setitem(adapters.PEERS, name, spec)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voices_and_music(tmp_path_factory.mktemp("data"))


@pytest.fixture
def here(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with copies of voices/ and music/."""
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, *flags: object) -> int:
    given = ("--data", "folder:voices", "--snr", "clean", *flags)  # the last of a flag given twice counts
    return main([command, *COMMANDS[command], *map(str, given)])


def refused(capsys: pytest.CaptureFixture[str], command: str, *flags: object) -> str:
    """Run what must be refused before any work: exit code 2, one line on stderr, nothing on stdout, no file changed."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert run(command, *flags) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "bug" not in printed.err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_lands_on_an_input_even_with_force(here: Path, command: str, capsys: pytest.CaptureFixture[str]):
    (here / "same.json").hardlink_to(here / "voices" / "b.wav")
    for path in ("voices/a.wav", "voices/b.csv", "music/m.wav", "same.json"):
        for flag in ("--json", "--csv", "--markdown"):
            for force in ([], ["--force"]):
                message = refused(capsys, command, "--music", "music", flag, path, *force)
                assert f"{path} is an input and would be replaced" in message


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_lands_on_another_a_folder_a_link_or_a_device(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    (here / "link.json").symlink_to(here / "elsewhere.json")
    assert "are one file" in refused(capsys, command, "--json", "out", "--csv", "./out")
    assert "would be a file and a folder" in refused(capsys, command, "--json", "out", "--csv", "out/a.csv")
    assert "it is a folder" in refused(capsys, command, "--json", "voices", "--force")
    assert "it is a link" in refused(capsys, command, "--json", "link.json", "--force")
    if os.name != "nt":
        os.mkfifo(here / "pipe")
        assert "it is a pipe" in refused_beside_a_pipe(capsys, command)


def refused_beside_a_pipe(capsys: pytest.CaptureFixture[str], command: str) -> str:
    assert run(command, "--markdown", "pipe", "--force") == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_own_results_are_replaced_and_those_of_others_with_force_alone(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("matplotlib")
    outputs = {"--json": "a.json", "--csv": "a.csv", "--markdown": "a.md", "--plot": "a.png"}
    flags = [part for pair in outputs.items() for part in pair]
    assert run(command, *flags) == 0
    assert run(command, *flags) == 0
    assert "made_by" in json.loads((here / "a.json").read_text())
    capsys.readouterr()
    for flag, name in outputs.items():
        (here / name).write_text("mine\n")
        message = refused(capsys, command, flag, name)
        assert f"{name} exists and is not known as a result of this command" in message
        assert "--force" in message
    assert run(command, *flags, "--force") == 0
    assert not any((here / name).read_bytes() == b"mine\n" for name in outputs.values())


def test_weights_are_an_input(here: Path, capsys: pytest.CaptureFixture[str]):
    import rmvpe

    weights = here / "w.safetensors"
    shutil.copy(next((Path(rmvpe.__file__).parent / "weights").glob("*.safetensors")), weights)
    message = refused(capsys, "evaluate", "--weights", "w.safetensors", "--csv", "w.safetensors", "--force")
    assert "w.safetensors is an input" in message
    flags = ("--trackers", "rmvpe:w.safetensors", "--csv", "w.safetensors", "--force")
    assert "w.safetensors is an input" in refused(capsys, "compare", *flags)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", [LONG, f"{LONG}/a", "a\0b", "a\0b/c"])
@pytest.mark.parametrize("flag", ["--data", "--split", "--music", "--json", "--csv", "--markdown"])
def test_a_name_that_no_file_can_have_is_one_sentence(
    here: Path, command: str, name: str, flag: str, capsys: pytest.CaptureFixture[str]
):
    refused(capsys, command, flag, name)


@pytest.mark.parametrize("name", [LONG, "a\0b"])
@pytest.mark.parametrize("kind", ["folder:", "hybrid:", "vocadito:", "mir-st500:", "ikala:", "voices,folder:", ""])
def test_every_kind_of_data_refuses_such_a_name(here: Path, name: str, kind: str, capsys: pytest.CaptureFixture[str]):
    refused(capsys, "evaluate", "--data", f"{kind}{name}")
    refused(capsys, "evaluate", "--weights", name)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_truncated_recording_is_scored_and_told_once(here: Path, command: str, capsys: pytest.CaptureFixture[str]):
    sound, label = here / "voices" / "b.wav", here / "voices" / "b.csv"
    sound.write_bytes(sound.read_bytes()[:-12_800])  # 0.4 s less than its header says
    for flags in ([], ["-q"]):
        # A name of its own for each run: a process tells of a file once
        sound, label = (path.rename(path.with_stem(f"{command}{len(flags)}")) for path in (sound, label))
        assert run(command, *flags, "--json", "a.json") == 1
        assert capsys.readouterr().err.count(f"{sound.stem}.wav is 0.40 s shorter than its header says") == 1
        report = json.loads((here / "a.json").read_text())
        assert len(report["warnings"]) == 1
        assert report["failures"] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_prints_errors_alone(here: Path, command: str, capsys: pytest.CaptureFixture[str]):
    (here / "voices" / "a.csv").write_text("0.00,200\n9.00,200\n")
    assert run(command, "--snr", "clean,0", "-q") == 1
    lines = capsys.readouterr().err.splitlines()
    assert "a.csv goes on until" in lines[0]
    assert len(lines) <= 2
    assert not any("skipped" in line or "processor seconds" in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_closes_the_pipe_loses_no_file(here: Path, command: str):
    flags = ("--data", "folder:voices", "--snr", "clean", "--json", "a.json")
    given = COMMANDS[command] if command == "evaluate" else ("--trackers", "rmvpe")
    call = [sys.executable, "-m", "rmvpe", command, *given, *flags]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is printed
        error = process.stderr.read()
        assert process.wait() == 141
    assert "Traceback" not in error
    assert (here / "a.json").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "--files-from", "NAME", "-o", "o"],
        ["predict", "a.wav", "-o", "NAME/a.csv"],
        ["predict", "a.wav", "-o", "o.csv", "--plot", "NAME.png"],
        ["benchmark", "--weights", "NAME"],
        ["convert", "inspect", "NAME"],
        ["prepare", "mir-1k", "--archive", "NAME"],
        ["prepare", "synthetic", "--voices", "NAME"],
        ["evaluate", "--data", "folder:voices", "--plot", "NAME.png"],
        ["compare", "--data", "voices", "--trackers", "rmvpe:NAME"],
    ],
    ids=lambda argv: " ".join(argv[:3]),
)
@pytest.mark.parametrize("name", [LONG, "a\0b"])
def test_every_command_refuses_such_a_name(here: Path, argv: list[str], name: str, capsys: pytest.CaptureFixture[str]):
    shutil.copy("voices/a.wav", "a.wav")
    assert main([part.replace("NAME", name) for part in argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "bug" not in error
