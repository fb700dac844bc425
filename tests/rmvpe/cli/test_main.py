"""`rmvpe` itself: its commands, what it suggests, what it imports, versions, completion, `rmvpe info`."""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rmvpe
from rmvpe.backends import BACKENDS, INSTALL, MODULES, installed_backends, is_installed, python_too_old
from rmvpe.checkpoint.published import PUBLISHED
from rmvpe.checkpoint.store import bundled_weights
from rmvpe.cli.completion import completion_script
from rmvpe.cli.info import report
from rmvpe.cli.main import COMMANDS, PROGRAM, main
from rmvpe.errors import UserError
from rmvpe.program import Group, loaded, whole_parser
from tests.helpers.paths import ROOT

GROUPS = {
    "train": ["torch", "jax"],
    "convert": ["jax2torch", "verify"],
    "prepare": ["mir-1k", "synthetic"],
    "export": ["onnx"],
}


def python(code: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, env=environment)


# --- commands


def test_alone_it_prints_its_commands(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    text = capsys.readouterr().out
    for name in ("predict", "evaluate", "compare", "train", "convert", "prepare", "benchmark", "info"):
        assert f"\n  {name} " in text
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_prints_its_commands(group: str, capsys: pytest.CaptureFixture[str]):
    assert main([group]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in GROUPS[group])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predikt", "a.wav"], "rmvpe: there is no command 'predikt': did you mean 'predict'?"),
        (["Evaluate"], "did you mean 'evaluate'?"),
        (["xyz"], "choose predict, notes, evaluate, "),
        (["train", "pytorch"], "rmvpe train: there is no command 'pytorch': did you mean 'torch'?"),
        (["convert", "jax2troch", "x"], "did you mean 'jax2torch'?"),
        (["prepare", "mir1k"], "did you mean 'mir-1k'?"),
        (["--verbose"], "rmvpe: unrecognized arguments: --verbose; did you mean --version? see rmvpe --help"),
        (["train", "--device", "cpu"], "rmvpe train: unrecognized arguments"),
        (["info", "--all"], "rmvpe info: unrecognized arguments: --all; see rmvpe info --help"),
        (["benchmark", "--runs", "many"], "invalid int value: 'many'; see rmvpe benchmark --help"),
        (["benchmark", "--runs", "0"], "--runs must be at least 1"),
        (["prepare", "mir-1k", "--workers", "0"], "rmvpe prepare mir-1k: --workers 0 must be 1 or more"),
        (["prepare", "synthetic"], "required: --voices;"),
        (["prepare", "instruments", "--soundfont", "a.sf2", "--out", "x", "--hours", "0"], "--hours 0.0 must be above"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]):
    words: list[list[str]] = [[name] for name in COMMANDS]
    for name, module in COMMANDS.items():
        entry = loaded(module)
        if isinstance(entry, Group):
            words += [[name, inner] for inner in entry.commands]
    for given in words:
        with pytest.raises(SystemExit) as exit_:
            main([*given, "--help"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: rmvpe {' '.join(given)} ")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["predict", "--help"], ["convert", "--help"]])
def test_help_and_versions_import_no_framework(arguments: list[str]):
    done = python(
        "import sys\n"
        "from rmvpe.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'torch', 'jax', 'flax', 'soundfile', 'matplotlib', 'tqdm', 'shtab'}, loaded\n"
        f"assert ({arguments!r}[:1] == ['convert']) == ('convert' in loaded), loaded\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_users_own_convert_stands_in_nobodys_way(tmp_path: Path):
    """A file of that name in the folder where `python -m rmvpe` is run, which Python searches first."""
    (tmp_path / "convert.py").write_text("raise SystemExit('the user\\'s own file was run')\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rmvpe", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)

    assert run("train").returncode == 0
    done = run("convert", "inspect", "small")
    assert done.returncode == 2
    assert "convert.py" in done.stderr
    assert done.stderr.count("\n") == 1


# --- versions


def test_the_versions_of_what_is_installed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"rmvpe {rmvpe.__version__}"
    assert f"numpy {np.__version__}" in lines
    for name in MODULES.values():
        assert any(line.startswith(f"{name} ") for line in lines) == is_installed(name)


# --- info


def test_info_lists_frameworks_devices_and_weights(capsys: pytest.CaptureFixture[str]):
    assert main(["info"]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    lines = dict(rows)
    for name in BACKENDS:
        if python_too_old(name):
            assert "needs Python 3.11" in lines[name]
        elif name in installed_backends():
            if name == "onnx":  # whose package may be onnxruntime-gpu
                version = importlib.import_module("onnxruntime").__version__
            else:
                version = importlib.metadata.version(name)  # torch itself adds the kind of build: 2.0.1+cu117
            assert f"{version}, devices: " in lines[name]
            assert "cpu" in lines[name]
        else:
            assert f"pip install {INSTALL[name]}" in lines[name]
    weights = [text.split()[0].strip(",") for label, text in rows if label == "weights"]
    assert weights == [*bundled_weights(), *PUBLISHED]


def test_a_broken_framework_is_one_line_of_the_report():
    def broken() -> list[str]:
        raise OSError("libcudart.so.12: cannot open\nshared object file")

    # numpy stands for a framework that is installed
    lines = report({"numpy": broken, "absent": list}, {"numpy": "numpy", "absent": "no-such-package"})
    rows = {line.split(maxsplit=1)[0]: line for line in lines}
    assert "libcudart.so.12: cannot open shared object file" in rows["numpy"]
    assert "pip install --force-reinstall numpy" in rows["numpy"]
    assert rows["absent"].endswith("not installed: run pip install no-such-package")
    assert "weights" in rows


# --- completion


def test_without_shtab_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert "run pip install shtab" in capsys.readouterr().err
    with pytest.raises(UserError, match="pip install shtab"):
        completion_script(whole_parser("rmvpe", PROGRAM), "bash")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", shell])
    assert exit_.value.code == 0
    script = capsys.readouterr().out
    for word in ("predict", "--files-from", "train", "--logdir", "jax2torch", "--layout"):
        assert word in script
    assert main(["--print-completion", "fish"]) == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(tmp_path: Path):
    pytest.importorskip("shtab")
    script = completion_script(whole_parser("rmvpe", PROGRAM), "bash")
    (tmp_path / "rmvpe.bash").write_text(script)
    (tmp_path / "song.wav").touch()
    (tmp_path / "songs").mkdir()

    def complete(*words: str) -> set[str]:
        code = (
            "source ./rmvpe.bash; "
            f"COMP_WORDS=(rmvpe {' '.join(repr(word) for word in words)}); COMP_CWORD={len(words)}; "
            "$(complete -p rmvpe | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
        )
        done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True)
        return set(done.stdout.split())

    assert complete("pre") == {"predict", "prepare"}
    assert complete("convert", "jax") == {"jax2torch"}
    assert "--high-register" in complete("predict", "--hi")
    assert complete("train", "torch", "--resume_") == {"--resume_iteration"}
    assert complete("predict", "so") == {"song.wav", "songs"}
    assert complete("predict", "--files-from", "song.") == {"song.wav"}
    assert complete("train", "jax", "--logdir", "so") == {"songs"}
    assert complete("convert", "inspect", "song.") == {"song.wav"}
    assert complete("predict", "--decoder", "vit") == {"viterbi"}
