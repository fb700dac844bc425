"""The comparison of a written file with its weights: it passes what agrees and refuses what does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rmvpe import audio
from rmvpe.checkpoint.store import Checkpoint, load
from rmvpe.errors import UserError
from rmvpe_ort.check import check, recording, usual_threshold
from rmvpe_ort.export import DTYPES, KINDS, ExportSettings, build
from tests.helpers.paths import DEMO_RECORDING

SETTINGS = [
    *(ExportSettings(kind, dtype) for kind in KINDS for dtype in DTYPES),
    ExportSettings(threshold_for=0.03),
    ExportSettings("mel-pitch", threshold_for=0.3),
    ExportSettings("mel", salience_for=0.03, input_name="input"),
]


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return audio.read(DEMO_RECORDING).samples[: 4 * 16000]


@pytest.fixture(scope="module")
def weights() -> Checkpoint:
    return load("small")


def written(folder: Path, checkpoint: Checkpoint, settings: ExportSettings) -> Path:
    file = folder / "net.onnx"
    file.write_bytes(build(checkpoint, settings).SerializeToString())
    return file


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.kind}-{s.dtype}-{s.threshold_for or s.salience_for}")
def test_a_good_file_passes(settings: ExportSettings, weights: Checkpoint, samples: np.ndarray, tmp_path: Path):
    found = check(written(tmp_path, weights, settings), weights, settings, samples)
    assert found.frames == 401
    assert found.voiced_both > 150
    assert found.flips <= 1
    # By rounding only; what half precision adds to it; a shifted salience, which weighs the bins otherwise
    assert found.cents < (20.0 if settings.salience_for else 0.05 if settings.dtype == "float16" else 0.005)
    assert "voicing flips" in str(found)


def test_the_built_in_recording_is_real_and_voiced(weights: Checkpoint, tmp_path: Path):
    settings = ExportSettings()
    sound = recording()
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert check(written(tmp_path, weights, settings), weights, settings, sound).voiced_both > 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_other_weights_is_refused(kind: str, weights: Checkpoint, samples: np.ndarray, tmp_path: Path):
    tensors = dict(weights.tensors)
    tensors["cnn.weight"] = tensors["cnn.weight"] * np.float32(1.02)
    file = written(tmp_path, replace(weights, tensors=tensors), ExportSettings(kind))
    with pytest.raises(UserError, match="disagrees with its weights") as error:
        check(file, weights, ExportSettings(kind), samples)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recording_without_a_voice_proves_nothing(weights: Checkpoint, tmp_path: Path):
    file = written(tmp_path, weights, ExportSettings())
    with pytest.raises(UserError, match="no frame of the recording is voiced; give another --audio"):
        check(file, weights, ExportSettings(), np.zeros(16000, np.float32))


def test_the_threshold_that_a_program_passes(weights: Checkpoint):
    assert usual_threshold(weights, ExportSettings()) == weights.threshold
    assert usual_threshold(weights, ExportSettings(threshold_for=0.03)) == 0.03
    bare = replace(weights, metadata={})
    assert usual_threshold(bare, ExportSettings(threshold_for=0.3)) == usual_threshold(bare, ExportSettings())
