"""Salience to f0: peaks, voicing, ranges."""

import numpy as np
import pytest

from rmvpe.config import DECODERS
from rmvpe.config_check import ConfigError
from rmvpe.decode import (
    CENTRES,
    check_salience,
    decode,
    limit_range,
    local_average_cents,
    pitch,
    pitch_in_blocks,
)
from rmvpe.pitch import bins_to_cents, bins_to_hz, cents_between, hz_to_bins
from tests.helpers.settings import decoding


def bumps(*centres: float, height: float = 1.0) -> np.ndarray:
    """Salience [frames, 360] with one Gaussian per frame."""
    distance = np.arange(360) - np.array(centres)[:, None]
    return (height * np.exp(-0.5 * (distance / 1.25) ** 2)).astype(np.float32)


def test_local_average_weighs_nine_bins():
    salience = np.zeros((1, 360), dtype=np.float32)
    salience[0, [96, 100, 104]] = [0.1, 0.8, 0.3]
    salience[0, [95, 105, 300]] = 0.7  # outside the nine, and another pitch: no part in it
    cents = bins_to_cents(np.array([96, 100, 104]))
    expected = (0.1 * cents[0] + 0.8 * cents[1] + 0.3 * cents[2]) / 1.2
    assert local_average_cents(salience, np.array([100]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("centre", [0, 1, 358, 359])
def test_peaks_at_the_edges(centre: int):
    f0_hz, voiced, _ = decode(bumps(float(centre)), decoding())
    assert voiced[0]
    assert abs(cents_between(f0_hz, bins_to_hz(np.array([centre])))[0]) < 25  # one-sided neighbours pull inward


def test_voicing_reaches_the_threshold():
    salience = np.zeros((3, 360), dtype=np.float32)
    salience[:, 50] = [0.4999, 0.5, 0.5001]
    f0_hz, voiced, confidence = decode(salience, decoding(threshold=0.5))
    assert voiced.tolist() == [False, True, True]
    assert (f0_hz > 0).tolist() == voiced.tolist()
    np.testing.assert_array_equal(confidence, salience.max(axis=1))
    assert (f0_hz.dtype, voiced.dtype, confidence.dtype) == (np.float64, np.bool_, np.float32)


def test_every_decoder_of_the_config_is_here():
    assert set(CENTRES) == set(DECODERS)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_decoder_gives_the_same_in_blocks(decoder: str):
    """Two notes that flicker: a path through them would depend on where it is cut."""
    rng = np.random.default_rng(0)
    salience = bumps(*[100.0] * 60) * 0.5 + bumps(*rng.choice([100.0, 220.0], 60)) * rng.uniform(0.3, 0.7, (60, 1))
    config = decoding(decoder=decoder)
    whole = pitch(salience.astype(np.float32), config)[0]
    blocks = pitch_in_blocks(iter(np.split(salience.astype(np.float32), 20)), config)[0]
    np.testing.assert_array_equal(blocks, whole)


def test_silence_has_no_pitch_even_without_a_threshold():
    for decoder in DECODERS:
        f0_hz, voiced, _ = decode(np.zeros((5, 360)), decoding(decoder=decoder, threshold=0.0))
        assert not f0_hz.any()
        assert not voiced.any()


def test_a_range_finds_the_best_pitch_inside_it():
    salience = bumps(80.0) + 0.6 * bumps(200.0)
    low_hz, high_hz = bins_to_hz(np.array([150.0, 250.0])).tolist()
    for decoder in DECODERS:
        f0_hz, _, confidence = decode(salience, decoding(decoder=decoder, f0_min_hz=low_hz, f0_max_hz=high_hz))
        assert abs(cents_between(f0_hz, bins_to_hz(np.array([200.0])))[0]) < 1
        assert confidence[0] == pytest.approx(0.6, abs=1e-3)
        assert abs(cents_between(decode(salience, decoding(decoder=decoder))[0], bins_to_hz(np.array([80.0])))[0]) < 1


@pytest.mark.parametrize("limit", [199.5, 199.9, 200.0, 200.3, 200.49])
def test_a_pitch_at_the_limit_is_found_and_none_beyond_it(limit: float):
    limit_hz = float(bins_to_hz(np.array(limit)))
    salience = bumps(*np.linspace(190.0, 210.0, 41))
    high, voiced, _ = decode(salience, decoding(f0_max_hz=limit_hz))
    assert high.max() <= limit_hz
    # The bins beyond the limit are out of the average, which pulls a pitch at the limit inward: by 15 cents at most
    assert cents_between(high.max(), np.array(limit_hz)) > -15
    low, _, _ = decode(salience, decoding(f0_min_hz=limit_hz))
    assert low[low > 0].min() >= limit_hz
    assert voiced[:20].all()


def test_no_limit_copies_nothing():
    salience = bumps(100.0)
    assert limit_range(salience, 0.0, float("inf")) is salience
    assert limit_range(salience, 20.0, 3000.0) is salience


def test_no_frames():
    for decoder in DECODERS:
        assert [len(part) for part in decode(np.zeros((0, 360)), decoding(decoder=decoder))] == [0, 0, 0]


def test_viterbi_ignores_a_flash_that_local_average_follows():
    salience = bumps(*[100.0] * 21)
    salience[10] = bumps(240.0, height=0.9)[0] + bumps(100.0, height=0.5)[0]
    jumps = decode(salience, decoding())[0]
    stays = decode(salience, decoding(decoder="viterbi"))[0]
    assert hz_to_bins(jumps)[10] == pytest.approx(240, abs=0.1)
    assert hz_to_bins(stays)[10] == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"decoder": "argmax"},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"f0_min_hz": 500.0, "f0_max_hz": 200.0},
        {"f0_min_hz": -5.0},
        {"hysteresis": -0.01},
        {"hysteresis": 0.2, "threshold": 0.1},
        {"hysteresis": float("nan")},
        {"silence_gate_db": 1.0},
        {"silence_gate_db": float("nan")},
        {"pad": "wrap"},
    ],
)
def test_impossible_settings(wrong: dict):
    with pytest.raises(ConfigError):
        decoding(**wrong)


@pytest.mark.parametrize("shape", [(360,), (10, 359), (1, 10, 360)])
def test_shapes_are_checked(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match="360"):
        check_salience(np.zeros(shape))
