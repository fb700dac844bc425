"""The bundled weights from file to f0: the runtimes agree on real audio, and what the model card claims holds."""

import numpy as np
import pytest
import soundfile

import rmvpe
from rmvpe import audio
from rmvpe.backends import BACKENDS
from rmvpe.checkpoint.flops import flops_per_second
from rmvpe.checkpoint.store import bundled_weights, load
from rmvpe.config import PAD_MODES
from rmvpe.evaluation.agreement import compare_salience
from rmvpe.evaluation.metrics import lag
from rmvpe.pitch import cents_between
from tests.helpers.paths import ROOT
from tests.helpers.settings import decoding

RECORDING = ROOT / "examples" / "demo.flac"
FIVE_CENTS_FROM_HZ = 160.0  # below it the model card allows 8
RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000)


@pytest.fixture(scope="module")
def estimators() -> dict[str, rmvpe.Estimator]:
    return {name: rmvpe.load("small", name, "cpu") for name in BACKENDS}


@pytest.fixture(scope="module")
def claimed_hz() -> tuple[float, float]:
    """The range in which the weights claim to work, as their metadata and the model card state it."""
    low, high = load("small").metadata["range_hz"].split("-")
    return float(low), float(high)


@pytest.mark.parametrize("pad", PAD_MODES)
def test_all_runtimes_give_the_same_f0_on_a_real_recording(estimators, pad):
    samples = audio.read(RECORDING).samples
    expected, *others = (estimator.salience(samples, 16000, pad=pad) for estimator in estimators.values())
    for decoder in ("local-average", "viterbi"):
        config = decoding(threshold=estimators["torch"].config.threshold, decoder=decoder)
        for other in others:
            comparison = compare_salience(expected, other, config)
            assert comparison.voiced_both > 500
            assert comparison.agrees(), comparison


def test_all_runtimes_report_the_same_voice(estimators):
    tracks = {name: estimator.from_file(RECORDING) for name, estimator in estimators.items()}
    for track in tracks.values():
        # A man's opera parody between 200 and 700 Hz, with pauses (examples/README.md)
        assert 0.7 < track.voiced.mean() < 0.95
        assert 350 < np.median(track.f0_hz[track.voiced]) < 500
        assert ((track.f0_hz[track.voiced] > 180) & (track.f0_hz[track.voiced] < 750)).mean() > 0.99
        np.testing.assert_array_equal(track.voiced, tracks["torch"].voiced)


def test_weights_keep_their_size_and_cost():
    path = ROOT / "rmvpe" / "weights" / bundled_weights()["small"]
    assert path.stat().st_size <= 16e6
    assert flops_per_second(load("small").config) <= 1.3e9
    assert "licence" in load("small").metadata


def harmonic(f0_hz: np.ndarray, rate: int) -> np.ndarray:
    """Harmonics falling as 1/k up to 7 kHz or the rate's limit, of the f0 [samples] in Hz."""
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    limit = min(7000.0, 0.45 * rate)
    wave = sum(np.sin(k * phase) / k * (k * f0_hz < limit) for k in range(1, 21))
    return 0.3 * wave / np.abs(wave).max()


@pytest.mark.parametrize("rate", RATES)
def test_known_tones_are_unbiased_from_file_to_f0(estimators, claimed_hz, tmp_path, rate):
    pitches = np.array([f0_hz for f0_hz in np.geomspace(claimed_hz[0], claimed_hz[1], 25) if f0_hz < 0.4 * rate])
    estimator = estimators[BACKENDS[RATES.index(rate) % len(BACKENDS)]]
    errors = []
    for f0_hz in pitches:
        path = tmp_path / "tone.wav"
        soundfile.write(path, harmonic(np.full(rate, f0_hz), rate), rate)
        track = estimator.from_file(path)
        middle = slice(10, -10)  # away from the abrupt start and end
        assert track.voiced[middle].mean() > 0.98, f"{f0_hz:.1f} Hz at {rate}: not found"
        errors.append(np.median(cents_between(track.f0_hz[middle][track.voiced[middle]], f0_hz)))
    assert abs(np.median(errors)) < 1.5  # no offset common to all pitches
    # A single steady pitch may lie badly between bins: the model card states both bounds
    bound = np.where(pitches < FIVE_CENTS_FROM_HZ, 8.0, 5.0)
    assert (np.abs(errors) < bound).all(), dict(zip(pitches.round(1).tolist(), np.round(errors, 1).tolist()))


@pytest.mark.parametrize("hop_s", [0.005, 0.01, 0.0116, 0.02])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_glide_is_followed_without_lag_at_every_hop(estimators, hop_s, rate):
    seconds = 4.0
    time = np.arange(int(seconds * rate)) / rate
    # Two octaves per second up and down: 24 cents per 10 ms, so a frame of lag stands out
    octaves = np.abs((time * 1.0) % 2 - 1) * 2
    track = estimators["torch"].from_audio(harmonic(150.0 * 2**octaves, rate).astype(np.float32), rate, hop_s=hop_s)
    truth = 150.0 * 2 ** (np.abs((track.time_s * 1.0) % 2 - 1) * 2)
    np.testing.assert_allclose(track.time_s, np.arange(len(track)) * hop_s, atol=1e-12)
    assert lag(truth, track.f0_hz) == 0
    rising = track.voiced & (track.time_s > 1.1) & (track.time_s < 1.9)
    # On a straight glide a constant delay would show as a constant offset: 240 cents per 0.1 s
    delay_s = -np.median(cents_between(track.f0_hz[rising], truth[rising])) / 2400
    assert abs(delay_s) < 0.25 * 0.01


def test_nothing_is_sung_in_silence(estimators):
    for samples in (np.zeros(32000, np.float32), np.full(32000, 0.2, np.float32)):
        track = estimators["torch"].from_audio(samples, 16000)
        assert not track.voiced.any()


@pytest.mark.parametrize(("gain_db", "most_flips"), [(10.0, 0.01), (-20.0, 0.02), (-50.0, 0.04)])
def test_level_hardly_matters(estimators, gain_db, most_flips):
    """The model card's claim: from -67 dBFS RMS (this recording 50 dB down) to clipping; half or less was measured."""
    samples = audio.read(RECORDING).samples
    scaled = (samples * 10 ** (gain_db / 20)).astype(np.float32)
    before, after = (estimators["torch"].from_audio(sound, 16000) for sound in (samples, scaled))
    both = before.voiced & after.voiced
    assert np.abs(cents_between(after.f0_hz[both], before.f0_hz[both])).max() < 50.0
    assert np.mean(before.voiced != after.voiced) < most_flips
