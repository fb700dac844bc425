"""A waveform file in JavaScript: onnxruntime-node, and onnxruntime-web as browsers have it (WebAssembly)."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import rmvpe
from rmvpe import audio
from rmvpe.checkpoint.store import load
from rmvpe.pitch import cents_between
from rmvpe_ort.export import ExportSettings, build
from tests.helpers.paths import DEMO_RECORDING

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("predict.cjs")
PACKAGES = ("onnxruntime-node", "onnxruntime-web")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages. The script that one of them runs after its installation wants the network."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    made = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot install {' and '.join(PACKAGES)} here")
    return made


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("package", PACKAGES)
def test_the_f0_of_node_is_the_estimators(package: str, dtype: str, folder: Path):
    samples = audio.read(DEMO_RECORDING).samples[: 4 * 16000]
    expected = rmvpe.load("small", device="cpu").from_audio(samples, 16000)
    model, sound = folder / f"{dtype}.onnx", folder / "sound.f32"
    model.write_bytes(build(load("small"), ExportSettings(dtype=dtype, threshold_for=0.03)).SerializeToString())
    samples.astype("<f4").tofile(sound)
    done = subprocess.run(
        ["node", PROGRAM, package, model, sound, "0.03"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["names"] == ["f0", "uv", "pitchf", "confidence"]
    f0_hz, voiced = np.array(found["results"]["f0"]), ~np.array(found["results"]["uv"], bool)
    assert (voiced == expected.voiced).all()
    assert voiced.sum() > 100
    assert np.abs(cents_between(f0_hz[voiced], expected.f0_hz[voiced])).max() < 0.1
    np.testing.assert_allclose(found["results"]["confidence"], expected.confidence, rtol=0, atol=1e-4)
