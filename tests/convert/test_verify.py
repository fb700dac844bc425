"""python -m convert verify, and the comparison under it: equal weights agree across frameworks, changed ones do not."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from convert.program import add_verify, main, run_verify
from convert.verify import glide, installed_frameworks
from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, save
from rmvpe.config import ModelConfig
from rmvpe.errors import UserError
from rmvpe.evaluation.agreement import Comparison, compare_salience
from rmvpe.program import Command, run_program
from tests.helpers.settings import decoding

TINY = ModelConfig(name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, gru_hidden=8, dropout=0.0)
THRESHOLD = 0.5


def peaked(bins: list[float], height: float = 0.9) -> np.ndarray:
    """Salience [len(bins), 360] with a Gaussian at each frame's bin."""
    return (height * np.exp(-((np.arange(360) - np.array(bins)[:, None]) ** 2) / 3.0)).astype(np.float32)


# --- compare_salience


def test_a_salience_agrees_with_itself() -> None:
    salience = peaked([100.0, 150.5, 200.0])
    assert compare_salience(salience, salience, decoding()) == Comparison(3, 3, 0.0, 0.0, 0, 0, 0.0)
    assert compare_salience(salience, salience, decoding()).agrees()


def test_a_shift_in_pitch_is_measured_in_cents() -> None:
    found = compare_salience(peaked([100.0, 200.0]), peaked([100.0, 200.1]), decoding())
    assert found.max_cents == pytest.approx(2.0, abs=0.02)  # a tenth of a bin of 20 cents; the mean ends at 9 bins
    assert (found.voiced_both, found.frames_apart) == (2, 1)
    assert not found.agrees(salience_tolerance=1.0)
    assert found.agrees(salience_tolerance=1.0, cents_tolerance=2.1)


def test_frames_voiced_in_one_only_are_flips_and_have_no_cents() -> None:
    loud, quiet = peaked([100.0, 300.0]), peaked([100.0, 300.0])
    quiet[1] = 0.01 / 0.9 * peaked([30.0])[0]
    found = compare_salience(loud, quiet, decoding(threshold=0.03))
    assert (found.flips, found.voiced_both, found.max_cents) == (1, 1, 0.0)
    assert found.flip_distance == pytest.approx(0.87, abs=1e-6)  # the loud one's 0.9 - 0.03
    assert not found.agrees(salience_tolerance=1.0)


def test_a_flip_at_the_threshold_is_tolerated() -> None:
    above, below = peaked([100.0], 0.50004), peaked([100.0], 0.49996)
    found = compare_salience(above, below, decoding(threshold=THRESHOLD))
    assert found.flips == 1
    assert found.agrees()
    assert not found.agrees(flip_margin=1e-5)


def test_nan_never_agrees() -> None:
    salience = peaked([100.0])
    broken = salience.copy()
    broken[0, 5] = np.nan
    assert not compare_salience(salience, broken, decoding()).agrees()
    assert not compare_salience(broken, broken, decoding()).agrees(np.inf, np.inf, np.inf)


def test_nothing_agrees_with_nothing() -> None:
    nothing = np.zeros((0, 360), np.float32)
    assert compare_salience(nothing, nothing, decoding()) == Comparison(0, 0, 0.0, 0.0, 0, 0, 0.0)


def test_shapes_must_match() -> None:
    with pytest.raises(ValueError, match="2 and 3 frames"):
        compare_salience(peaked([1.0, 2.0]), peaked([1.0, 2.0, 3.0]), decoding())
    with pytest.raises(ValueError, match="salience must be"):
        compare_salience(np.zeros((2, 3)), np.zeros((2, 3)), decoding())


# --- the command


def random_checkpoint(config: ModelConfig = TINY, threshold: float = THRESHOLD) -> Checkpoint:
    """Random weights, but with a clear peak of salience: where all bins are near 0.5, rounding chooses the pitch."""
    rng = np.random.default_rng(0)
    tensors = {n: 0.3 * rng.standard_normal(shape, np.float32) for n, shape in expected_tensors(config).items()}
    tensors |= {name: np.abs(tensor) + 0.5 for name, tensor in tensors.items() if name.endswith("running_var")}
    tensors["fc.1.bias"] = (12.0 * peaked([150.0], 1.0)[0] - 6.0).astype(np.float32)
    return Checkpoint(config, tensors, {"threshold": str(threshold)})


@pytest.fixture
def file(tmp_path: Path) -> str:
    save(tmp_path / "a.safetensors", random_checkpoint())
    return str(tmp_path / "a.safetensors")


def verify_in_torch(*arguments: str) -> int:
    """The command with both sides in PyTorch: JAX would compile the network anew for each."""
    pytest.importorskip("torch")
    command = Command("", add_verify, partial(run_verify, frameworks=["torch"]))
    return run_program("verify", command, arguments)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    pytest.importorskip("jax")
    from rmvpe_jax.checkpoint import save as save_jax

    checkpoint = random_checkpoint()
    save_jax(tmp_path / "ckpt", checkpoint.tensors, checkpoint.config, checkpoint.metadata)
    return str(tmp_path / "ckpt")


def test_a_folder_and_its_conversion_agree(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    main(["jax2torch", folder])
    assert main(["verify", folder, f"{folder}.pt"]) == 0
    text = capsys.readouterr().out
    n_tensors = len(expected_tensors(TINY))
    for part in (
        "ckpt, tiny, in JAX",
        "ckpt.pt, tiny, in PyTorch",
        f"{n_tensors} compared, 0 differ, max |Δ weight| 0",
        "built-in glide with noise, 4.00 s",
        "max |Δ salience| ",
        "max |Δ f0| ",
        "voiced in both (threshold 0.5)",
        "0 flips",
    ):
        assert part in text
    assert text.endswith("\nagree\n")


def test_two_files_are_run_in_different_frameworks(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    assert main(["verify", file, file]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("A ")
    assert first.endswith("in PyTorch")
    assert second.endswith("in JAX")


def test_changed_weights_disagree(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = random_checkpoint()
    changed.tensors["fc.1.bias"][7] += 0.5
    save(tmp_path / "b.safetensors", changed)
    assert verify_in_torch(file, str(tmp_path / "b.safetensors")) == 1
    text = capsys.readouterr().out
    assert "1 differ, max |Δ weight| 0.5 (in fc.1.bias)" in text
    assert text.endswith("disagree: a difference is larger than its tolerance\n")


def test_float16_needs_the_tolerance_it_is_given(file: str, tmp_path: Path) -> None:
    save(tmp_path / "half.safetensors", random_checkpoint(), "float16")
    half = str(tmp_path / "half.safetensors")
    assert verify_in_torch(file, half) == 1
    assert verify_in_torch(file, half, "--tolerance", "0.01", "--tolerance-cents", "inf") == 0


def test_a_different_network_disagrees(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "wide.safetensors", random_checkpoint(dataclasses.replace(TINY, gru_hidden=4)))
    assert verify_in_torch(file, str(tmp_path / "wide.safetensors")) == 1
    assert "disagree: these are different networks" in capsys.readouterr().out
    hop = dataclasses.replace(TINY, mel=dataclasses.replace(TINY.mel, hop_samples=320))
    save(tmp_path / "hop.safetensors", random_checkpoint(hop))
    assert verify_in_torch(file, str(tmp_path / "hop.safetensors")) == 1
    assert '"hop_samples": 320' in capsys.readouterr().out


def test_settings_of_training_make_no_difference(file: str, tmp_path: Path) -> None:
    save(tmp_path / "b.safetensors", random_checkpoint(dataclasses.replace(TINY, name="other", dropout=0.25)))
    assert verify_in_torch(file, str(tmp_path / "b.safetensors")) == 0


def test_a_recording_can_be_given(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "voice.wav", glide()[:24000], 8000)
    assert verify_in_torch(file, file, "--audio", str(tmp_path / "voice.wav")) == 0
    text = capsys.readouterr().out
    assert "voice.wav, 3.00 s" in text
    assert "in PyTorch (JAX is not installed)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}", "gone.pt"], "gone.pt does not exist"),
        (["{}", "{}", "--audio", "gone.wav"], "gone.wav does not exist"),
        (["{}", "{}", "--tolerance", "-1"], "a tolerance cannot be negative"),
        (["{}", "{}", "--tolerance", "nan"], "a tolerance cannot be negative"),
    ],
)
def test_bad_input_exits_2(file: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command("", add_verify, partial(run_verify, frameworks=["torch"]))  # found before it is needed
    assert run_program("verify", command, [argument.format(file) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_any_framework_the_remedy_is_named() -> None:
    with pytest.raises(UserError, match="pip install torch or pip install jax"):
        installed_frameworks(lambda name: False)


def test_the_built_in_audio_is_always_the_same() -> None:
    audio = glide()
    assert audio.shape == (64000,)
    assert audio.dtype == np.float32
    assert np.abs(audio).max() < 1.0
    np.testing.assert_array_equal(audio, glide())
