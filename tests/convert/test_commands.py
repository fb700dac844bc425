"""python -m convert: every direction, layout and precision, what `inspect` says, and every mistake in one line."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.commands import inspect_file
from convert.program import PROGRAM, main
from rmvpe.backends import python_too_old
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, load, save, sha256
from rmvpe.cli.main import main as rmvpe_main
from rmvpe.config import ModelConfig
from tests.helpers.paths import ROOT

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=4, dropout=0.0)


def random_checkpoint(config: ModelConfig = TINY, **metadata: str) -> Checkpoint:
    rng = np.random.default_rng(0)
    tensors = {n: 0.3 * rng.standard_normal(shape, np.float32) for n, shape in expected_tensors(config).items()}
    tensors |= {name: np.abs(tensor) + 0.5 for name, tensor in tensors.items() if name.endswith("running_var")}
    return Checkpoint(config, tensors, metadata)


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert found.config == wanted.config
    assert list(found.tensors) == list(wanted.tensors)
    for name, tensor in wanted.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor, err_msg=name)


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that must end with exit code 2."""
    assert main(arguments) == 2
    text = capsys.readouterr().err
    assert text.startswith("python -m convert")
    assert text.count("\n") == 1
    return text


@pytest.fixture
def safetensors_file(tmp_path: Path) -> Path:
    save(tmp_path / "tiny.safetensors", random_checkpoint(step="300", threshold="0.4"))
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def orbax_folder(tmp_path: Path) -> Path:
    """`ckpt`, as rmvpe_jax writes it."""
    pytest.importorskip("jax")
    from rmvpe_jax.checkpoint import save as save_jax

    original = random_checkpoint(step="300", threshold="0.4")
    save_jax(tmp_path / "ckpt", original.tensors, original.config, original.metadata)
    return tmp_path / "ckpt"


# --- jax2torch


def test_the_literal_command_works(orbax_folder: Path) -> None:
    pytest.importorskip("torch")
    root = ROOT
    result = subprocess.run(
        [sys.executable, "-m", "convert", "jax2torch", "ckpt"],
        cwd=orbax_folder.parent,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "wrote ckpt.pt: rvc layout, float32, tiny, " in result.stdout
    original = random_checkpoint(step="300", threshold="0.4")
    found = load(orbax_folder.parent / "ckpt.pt")
    assert_same(found, original)
    assert found.metadata.items() >= original.metadata.items()


@pytest.mark.parametrize("layout", ["rvc", "yxlllc", "safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_layout_and_precision(orbax_folder: Path, layout: str, dtype: str) -> None:
    if layout != "safetensors":
        pytest.importorskip("torch")
    assert main(["jax2torch", f"{orbax_folder}/", "--layout", layout, "--dtype", dtype]) == 0
    suffix = ".safetensors" if layout == "safetensors" else ".pt"
    original = random_checkpoint()
    rounded = {name: tensor.astype(dtype).astype(np.float32) for name, tensor in original.tensors.items()}
    assert_same(load(orbax_folder.parent / f"ckpt{suffix}"), Checkpoint(TINY, rounded))


def test_torch_loads_each_layout_strictly(safetensors_file: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from rmvpe_torch.model import RMVPE

    assert main(["jax2torch", str(safetensors_file), "-o", str(tmp_path / "rvc.pt")]) == 0
    RMVPE(TINY).load_state_dict(torch.load(tmp_path / "rvc.pt", weights_only=True), strict=True)
    assert main(["jax2torch", str(safetensors_file), "-o", str(tmp_path / "y.pt"), "--layout", "yxlllc"]) == 0
    holder = RMVPE(dataclasses.replace(TINY, timbre_filter=True))
    holder.load_state_dict(torch.load(tmp_path / "y.pt", weights_only=True)["model"], strict=True)


def test_a_note_says_that_other_tools_know_e2e0_only(
    safetensors_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    main(["jax2torch", str(safetensors_file)])
    assert "note: RVC and yxlllc tools build the network e2e0 only; this is tiny, for rmvpe" in capsys.readouterr().out


def test_the_outputs_suffix_chooses_safetensors(safetensors_file: Path, tmp_path: Path) -> None:
    assert (
        main(["jax2torch", str(safetensors_file), "-o", str(tmp_path / "half.safetensors"), "--dtype", "float16"]) == 0
    )
    found = load(tmp_path / "half.safetensors")
    assert found.metadata["source"].startswith("tiny.safetensors sha256 ")
    assert len(found.metadata["source"].split()[-1]) == 64


def test_a_suffix_that_contradicts_the_layout_is_refused(
    safetensors_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["jax2torch", str(safetensors_file), "--layout", "rvc", "-o", str(tmp_path / "a.safetensors")]
    assert "a.safetensors does not suit --layout rvc: name it" in error_of(arguments, capsys)


# --- torch2jax


@pytest.mark.parametrize("wrapper", ["flat", "model", "state_dict"])
def test_any_torch_file_becomes_an_orbax_folder(tmp_path: Path, wrapper: str) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("jax")
    from rmvpe_jax.checkpoint import load as load_jax

    original = random_checkpoint(dataclasses.replace(TINY, name="custom"))
    state = {f"module.{name}": torch.tensor(tensor) for name, tensor in original.tensors.items()}
    torch.save(state if wrapper == "flat" else {wrapper: state}, tmp_path / "my.weights.pt")
    assert main(["torch2jax", str(tmp_path / "my.weights.pt")]) == 0
    found = load_jax(tmp_path / "my.weights")
    assert_same(found, original)
    assert found.metadata["source"].startswith("my.weights.pt sha256 ")


def test_there_and_back_is_exact(orbax_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from rmvpe_jax.checkpoint import load as load_jax

    assert main(["jax2torch", str(orbax_folder), "--layout", "yxlllc"]) == 0
    assert main(["torch2jax", str(tmp_path / "ckpt.pt"), "-o", str(tmp_path / "again")]) == 0
    assert main(["jax2torch", str(tmp_path / "again"), "--layout", "yxlllc"]) == 0
    assert_same(load_jax(tmp_path / "again"), load_jax(orbax_folder))
    first, second = load(tmp_path / "ckpt.pt"), load(tmp_path / "again.pt")
    assert_same(first, second)
    assert first.metadata["threshold"] == second.metadata["threshold"] == "0.4"


# --- outputs that exist


def test_force_replaces_no_folder_but_a_checkpoint(
    safetensors_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jax")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("precious")
    for command, suffix in (("jax2torch", ".safetensors"), ("torch2jax", "")):
        folder = (tmp_path / "thesis").rename(tmp_path / f"thesis{suffix}")
        arguments = [command, str(safetensors_file), "-o", str(folder), "--force"]
        assert "thesis" in error_of(arguments, capsys)
        assert (folder / "chapter1.tex").read_text() == "precious"
        folder.rename(tmp_path / "thesis")


def test_the_input_is_never_the_output(safetensors_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["jax2torch", str(safetensors_file), "-o", str(safetensors_file), "--force"]
    assert "tiny.safetensors is an input and would be replaced" in error_of(arguments, capsys)
    load(safetensors_file)


def test_an_output_folder_that_cannot_be_written_is_told(
    safetensors_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    arguments = ["jax2torch", str(safetensors_file), "-o", str(tmp_path / "file" / "x.safetensors")]
    assert "cannot write" in error_of(arguments, capsys)


# --- inspect


def test_inspect_of_our_own_file(safetensors_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(safetensors_file)]) == 0
    text = capsys.readouterr().out
    for part in (
        "safetensors, flat",
        "tiny (as its config says)",
        "float32",
        "not one of the known files",
        "threshold: 0.4",
        f"{sum(t.size for n, t in random_checkpoint().tensors.items() if '.running_' not in n):,} parameters",
    ):
        assert part in text
    config = next(line for line in text.splitlines() if line.startswith("config"))
    assert json.loads(config.removeprefix("config"))["channels"] == 2


def test_inspect_shows_what_a_file_says_with_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.safetensors", random_checkpoint(note="\x1b]0;owned\x07\nkind  safe"))
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 0
    text = capsys.readouterr().out
    assert r"note: \x1b]0;owned\x07\nkind  safe" in text
    assert "\x1b" not in text


def test_inspect_of_a_torch_file_lists_what_is_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    state = {f"module.{name}": torch.tensor(tensor).half() for name, tensor in random_checkpoint().tensors.items()}
    state["module.unet.encoder.bn.num_batches_tracked"] = torch.tensor(1)
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pt")
    assert main(["inspect", str(tmp_path / "a.pt")]) == 0
    text = capsys.readouterr().out
    for part in (
        "torch zip, under 'model', prefix 'module.'",
        "custom (recognised by its tensors' shapes)",
        "float16",
        "1: a counter of training batches, which prediction does not use (unet.encoder.bn.num_batches_tracked)",
        "1: not part of the weights (epoch)",
    ):
        assert part in text


def test_inspect_names_a_known_file(safetensors_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect_file(safetensors_file, {sha256(safetensors_file): "RVC's rmvpe.pt of 2023-10-06"})
    assert "known as    RVC's rmvpe.pt of 2023-10-06" in capsys.readouterr().out


def test_inspect_of_a_folder(orbax_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(orbax_folder)]) == 0
    text = capsys.readouterr().out
    assert "Orbax checkpoint (JAX)" in text
    assert "threshold: 0.4" in text


def test_inspect_tells_what_keeps_a_file_from_loading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import safetensors.numpy

    tensors = random_checkpoint().tensors
    del tensors["cnn.bias"]
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    assert main(["inspect", str(tmp_path / "a.safetensors")]) == 2
    captured = capsys.readouterr()
    assert "problem     cnn.bias is missing" in captured.out
    assert "cannot be loaded: cnn.bias is missing" in captured.err


# --- frameworks that are not needed are not loaded


@pytest.mark.parametrize("command", ["inspect {}", "jax2torch {} --layout safetensors -o out.safetensors", "--help"])
def test_files_need_no_framework(safetensors_file: Path, tmp_path: Path, command: str) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['jax'] = None\n"  # as if they were not installed
        "from convert.program import main\n"
        f"sys.exit(main({command.format(safetensors_file).split()!r}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("command", "module", "remedy"),
    [
        ("jax2torch {}", "torch", "pip install torch"),
        ("torch2jax {}", "jax", "needs Python 3.11" if python_too_old("jax") else "pip install jax"),
        ("inspect {}/..", "jax", "needs Python 3.11" if python_too_old("jax") else "pip install jax"),
    ],
)
def test_a_framework_that_is_missing_is_named(
    safetensors_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    module: str,
    remedy: str,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("rmvpe_torch", "rmvpe_jax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    for item in ("x", "weights", "about"):  # an Orbax checkpoint, by its folders
        (safetensors_file.parent / item).mkdir()
    path = safetensors_file.parent / "x" if "/.." in command else safetensors_file
    assert remedy in error_of(command.format(path).split(), capsys)


# --- bad input


def test_a_pickled_module_is_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.GRU(2, 2), tmp_path / "module.pt")
    for command in ("inspect", "jax2torch", "torch2jax"):
        text = error_of([command, str(tmp_path / "module.pt")], capsys)
        assert "module.pt holds a pickled Python object (torch.nn.modules.rnn.GRU), which can run any code" in text
    assert os.listdir(tmp_path) == ["module.pt"]


@pytest.mark.parametrize("command", ["inspect", "jax2torch", "torch2jax"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pt", None, "gone.pt does not exist"),
        ("text.pt", b"hello, this is not a checkpoint", "text.pt is not a checkpoint"),
        ("empty.pt", b"", "empty.pt is not a checkpoint: it is empty"),
        ("cut.safetensors", b"\x00\x01", "cut.safetensors is truncated or damaged"),
        ("cut.pt", b"PK\x03\x04 and no more", "cut.pt is truncated or damaged"),
    ],
)
def test_bad_files_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = os.listdir(tmp_path)
    assert message in error_of([command, str(tmp_path / name)], capsys)
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize("command", ["inspect", "jax2torch"])
def test_a_folder_that_is_no_checkpoint_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    pytest.importorskip("jax")
    (tmp_path / "photos").mkdir()
    assert "photos" in error_of([command, str(tmp_path / "photos")], capsys)
    assert os.listdir(tmp_path) == ["photos"]


def test_torch2jax_of_a_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a folder without a checkpoint" in error_of(["torch2jax", str(tmp_path)], capsys)
    for item in ("weights", "about"):
        (tmp_path / item).mkdir()
    assert "is an Orbax folder already" in error_of(["torch2jax", str(tmp_path)], capsys)


def test_without_a_command_the_commands_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for run in (main, lambda arguments: rmvpe_main(["convert", *arguments])):
        assert run([]) == 0
        text = capsys.readouterr().out
        assert all(f"  {name}" in text for name in ("jax2torch", "torch2jax", "inspect", "verify"))


def test_an_unknown_command_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'jax2torch'?" in error_of(["jax2torhc", "x"], capsys)
    assert "invalid choice: 'onnx'" in error_of(["jax2torch", "x", "--layout", "onnx"], capsys)


@pytest.mark.parametrize("name", ["jax2torch", "torch2jax", "inspect", "verify"])
def test_both_names_have_the_same_flags(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for run, program in ((main, PROGRAM), (rmvpe_main, "rmvpe convert")):
        with pytest.raises(SystemExit):
            run([*program.split()[1:], name, "--help"] if run is rmvpe_main else [name, "--help"])
        texts.append(" ".join(capsys.readouterr().out.replace(program, "").split()))
    assert texts[0] == texts[1]


def test_a_mistake_names_the_program_that_was_typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rmvpe_main(["convert", "inspect", str(tmp_path / "gone.pt")]) == 2
    assert capsys.readouterr().err.startswith("rmvpe convert inspect: ")


@pytest.mark.parametrize("command", [[], ["jax2torch"], ["torch2jax"], ["inspect"], ["verify"]])
def test_help_of_every_command(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert {"": "COMMAND", "verify": "--tolerance"}.get("".join(command), "CKPT") in capsys.readouterr().out
