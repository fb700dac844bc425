"""Front end and decoding against the reference's numbers: the core's own, and the spectrum on both devices."""

import jax
import numpy as np
import pytest
import torch

import rmvpe_jax.mel
import rmvpe_torch.mel
from rmvpe.config import MelConfig
from rmvpe.decode import decode
from rmvpe.framing import reflect_pad
from rmvpe.mel import filterbank, log_mel
from tests.helpers import golden
from tests.helpers.settings import decoding

# The reference computes in float32, where a quiet band's magnitude keeps few digits; its logarithm shows them
MEL_TOLERANCE = 2e-4


def numpy_log_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    return log_mel(audio, config, centred=False)


def torch_log_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    return rmvpe_torch.mel.log_mel(torch.from_numpy(audio)[None], config)[0].numpy()


def jax_log_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    return np.asarray(jax.jit(lambda audio: rmvpe_jax.mel.log_mel(audio, config))(audio[None])[0])


@pytest.mark.parametrize("compute", [numpy_log_mel, torch_log_mel, jax_log_mel])
@pytest.mark.parametrize(("array", "hop"), [("mel", 160), ("mel_hop320", 320)])
def test_log_mel(compute, array, hop):
    arrays = golden.load("frontend")
    config = MelConfig(hop_samples=hop)
    found = compute(reflect_pad(arrays["audio"], config.window_samples // 2), config)
    assert np.abs(found - arrays[array].T).max() < MEL_TOLERANCE


def test_log_mel_with_key_shift():
    arrays = golden.load("frontend")
    found = log_mel(arrays["audio"], MelConfig(), key_shift_semitones=3.7, centred=False)
    assert np.abs(found - arrays["mel_keyshift_3p7_uncentred"].T).max() < MEL_TOLERANCE


def test_mel_filters():
    # Weights are at most 0.05, so this is float32's last digit
    assert np.abs(filterbank(MelConfig()) - golden.load("frontend")["mel_basis"]).max() < 1e-8


@pytest.mark.parametrize(
    ("decoder", "salience", "f0"),
    [("local-average", "salience", "f0_local_average"), ("viterbi", "salience_viterbi", "f0_viterbi")],
)
def test_decode(decoder, salience, f0):
    arrays = golden.load("decode")
    f0_hz, voiced, _ = decode(arrays[salience], decoding(decoder=decoder, threshold=float(arrays["threshold"])))
    assert (voiced == (arrays[f0] > 0)).all()
    # The reference's f0 is float32: 1e-4 Hz at 2000 Hz
    assert np.abs(f0_hz - arrays[f0]).max() < 1e-3
