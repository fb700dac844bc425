"""What a conversion may replace: its own results, with --force a foreign file, and never a folder of other things."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.program import main
from rmvpe import locks
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, load, save
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.config_check import to_json
from rmvpe.training.state import RunState

TINY = ModelConfig(name="tiny", levels=1, blocks=1, inter_layers=1, channels=1, head_channels=1, gru_hidden=2)
STATISTICS = ("running_mean", "running_var")


def tensors() -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in expected_tensors(TINY).items()}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save(tmp_path / "tiny.safetensors", Checkpoint(TINY, tensors(), {}))
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """`runs/small`, a run of PyTorch, beside a file of something else."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from rmvpe_torch import state as store

    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    (folder.parent / "thesis.txt").write_text("precious")
    store.save(folder, a_state(1))
    (folder / "config.json").write_text(to_json(TrainConfig(model=TINY)))
    return folder


def a_state(step: int) -> RunState:
    moments = {name: array for name, array in tensors().items() if not name.endswith(STATISTICS)}
    return RunState(TrainConfig(model=TINY), step, step, tensors(), {}, moments, moments, step)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that must end with exit code 2."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["out.safetensors", "out.pt"])
def test_a_file_of_our_own_is_replaced_and_a_foreign_one_only_by_force(
    name: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".pt"):
        pytest.importorskip("torch")
    output = tmp_path / name
    command = ["jax2torch", str(weights), "-o", str(output)]
    assert main(command) == main(command) == 0
    foreign = [b"precious", b"", b"PK\x05\x06" + bytes(18), (8).to_bytes(8, "little") + b"{}      "]
    for content in foreign:
        output.write_bytes(content)
        assert "not known as a result of this command" in refused(capsys, *command)
        assert output.read_bytes() == content
    assert main([*command, "--force"]) == 0
    assert load(output).config == TINY


def test_weights_of_others_are_foreign(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import safetensors.numpy

    output = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, output, {"format": "pt"})
    assert "not known as a result" in refused(capsys, "jax2torch", weights, "-o", output)


def test_the_weights_of_a_run_are_kept_unless_forced(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = tmp_path / "run" / "best.safetensors"
    best.parent.mkdir()
    (best.parent / "config.json").write_text("{}")
    save(best, Checkpoint(TINY, tensors(), {}))
    assert "best.safetensors belongs to a run" in refused(capsys, "jax2torch", weights, "-o", best)
    assert main(["jax2torch", str(weights), "-o", str(best), "--force"]) == 0


def test_an_orbax_folder_of_our_own_is_replaced_but_not_with_a_foreign_file_in_it(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jax")
    output = tmp_path / "ckpt"
    command = ["torch2jax", str(weights), "-o", str(output)]
    output.mkdir()  # an empty folder may be taken
    assert main(command) == main(command) == 0
    for foreign in (output / "notes.txt", output / "weights" / "notes.txt"):
        foreign.write_text("precious")
        before = contents(output)
        assert "ckpt holds something else than an Orbax checkpoint" in refused(capsys, *command, "--force")
        assert contents(output) == before
        foreign.unlink()
    assert main(command) == 0


def test_jax_itself_deletes_no_foreign_file(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    from rmvpe.errors import UserError
    from rmvpe_jax.checkpoint import save as save_jax

    save_jax(tmp_path / "ckpt", tensors(), TINY, {})
    (tmp_path / "ckpt" / "notes.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("ckpt", "file"):
        before = contents(tmp_path)
        with pytest.raises(UserError, match="holds something else"):
            save_jax(tmp_path / name, tensors(), TINY, {})
        assert contents(tmp_path) == before


def test_a_run_that_was_converted_is_converted_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["torch2jax", str(run), "-o", str(tmp_path / "jax")]) == 0
        assert main(["jax2torch", str(tmp_path / "jax"), "-o", str(tmp_path / "torch")]) == 0
    # a run that has been trained is no result of a conversion
    from rmvpe_torch import state as store

    store.save(tmp_path / "torch", a_state(2))
    command = ["jax2torch", tmp_path / "jax", "-o", tmp_path / "torch"]
    assert "not known as a result of this command" in refused(capsys, *command)
    assert (tmp_path / "torch" / "state-00000002.pt").is_file()
    (tmp_path / "torch" / "job.log").write_text("precious")
    assert "torch holds something else than a run" in refused(capsys, *command, "--force")
    (tmp_path / "torch" / "job.log").unlink()
    assert main([*map(str, command), "--force"]) == 0
    assert not (tmp_path / "torch" / "state-00000002.pt").exists()


def test_force_deletes_no_folder_that_is_no_run_or_that_holds_the_input(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "thesis.txt").write_text("precious")
    (run / "jax").mkdir()
    before = contents(tmp_path)
    for folder, reason in (
        (docs, "holds something else than a run"),
        (run.parent, "contains the input"),
        (tmp_path, "contains the input"),
        (run, "is the input itself"),
        (run / "jax", "is inside the input"),
        (docs / "thesis.txt", "is no folder"),
    ):
        for flags in ([], ["--force"]):
            assert reason in refused(capsys, "torch2jax", run, "-o", folder, *flags)
    assert contents(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="the lock is another one there")
def test_a_run_in_use_is_not_replaced(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["torch2jax", str(run), "-o", str(tmp_path / "jax")]
    assert main(command) == 0
    with locks.held(tmp_path / "jax" / ".lock", "somebody"):
        assert "jax is in use by another training (somebody)" in refused(capsys, *command, "--force")
    assert main(command) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of file sizes")
@pytest.mark.parametrize("output", ["out.pt", "out.safetensors", "ckpt", "jax-run", "torch-run"])
@pytest.mark.parametrize("limit_bytes", [0, 300, 10_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    output: str, limit_bytes: int, run: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import resource
    import signal

    command = ["jax2torch", str(weights)] if output.startswith("out") else ["torch2jax", str(weights)]
    if output.endswith("-run"):
        command = ["torch2jax", str(run)]
    if output == "torch-run":
        assert main([*command, "-o", str(tmp_path / "source")]) == 0
        command = ["jax2torch", str(tmp_path / "source")]
    full, target = tmp_path / "full", tmp_path / "full" / output
    full.mkdir()
    assert main([*command, "-o", str(target)]) == 0  # also what is there stays
    before = contents(full)
    capfd.readouterr()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        with capfd.disabled():
            code, text = captured(command, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 2
    assert text.startswith(f"python -m convert {command[0]}: cannot write {target}: File too large; ")
    assert text.count("\n") == 1
    assert contents(full) == before
    assert list(full.iterdir()) == [target]


def captured(command: list[str], target: Path) -> tuple[int, str]:
    """Run a command with its stderr in memory, because the limit holds for pytest's files too."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main([*command, "-o", str(target)])
    return code, errors.getvalue()
