"""What the networks of the notes read, and that they say what a listener would of clear cases."""

import numpy as np
import pytest

from rmvpe.notes.evidence import CONTEXT, evidence, inputs_in_blocks, network

N = 200


def curves(seed: int = 0):
    rng = np.random.default_rng(seed)
    voiced = rng.random(N) < 0.7
    bands = rng.uniform(-60, -10, (N, 4))
    return 60 + np.cumsum(rng.normal(0, 0.3, N)), voiced, rng.random(N), bands.max(axis=1) + 1.0, bands


@pytest.mark.parametrize("with_sound", [True, False])
def test_one_row_of_inputs_for_each_border(with_sound: bool) -> None:
    pitch, voiced, confidence, level, bands = curves()
    rows = np.concatenate(
        list(inputs_in_blocks(pitch, voiced, confidence, *((level, bands) if with_sound else (None, None))))
    )
    assert rows.shape == (N + 1, 2 * CONTEXT * (9 if with_sound else 4))
    assert rows.dtype == np.float32
    assert rows.shape[1] == len(network(with_sound).mean)
    assert np.isfinite(rows).all()


def test_blocks_do_not_show() -> None:
    pitch, voiced, confidence, level, bands = curves()
    whole = np.concatenate(list(inputs_in_blocks(pitch, voiced, confidence, level, bands)))
    parts = np.concatenate(list(inputs_in_blocks(pitch, voiced, confidence, level, bands, block=7)))
    assert np.array_equal(whole, parts)


def test_gain_transposition_and_the_pitch_of_silence_change_nothing() -> None:
    """The networks hear no absolute level and no absolute pitch."""
    pitch, voiced, confidence, level, bands = curves()
    rows = np.concatenate(list(inputs_in_blocks(pitch, voiced, confidence, level, bands)))
    other = np.where(voiced, pitch + 7.0, -999.0)
    moved = np.concatenate(list(inputs_in_blocks(other, voiced, confidence, level - 20.0, bands - 20.0)))
    assert moved == pytest.approx(rows, abs=1e-4)


@pytest.mark.parametrize("with_sound", [True, False])
def test_a_clear_note_begins_sounds_and_ends(with_sound: bool) -> None:
    voiced = np.zeros(N, dtype=bool)
    voiced[60:140] = True
    bands = np.where(voiced[:, None], -20.0, -70.0) * np.ones((1, 4))
    known = evidence(
        np.where(voiced, 62.0, 0.0),
        voiced,
        np.where(voiced, 0.97, 0.02),
        bands[:, 0] if with_sound else None,
        bands if with_sound else None,
        network(with_sound),
    )
    assert all(len(odds) == N + 1 for odds in (known.begins, known.ends, known.sounds))
    assert known.begins.argmax() == pytest.approx(60, abs=2)
    assert known.ends.argmax() == pytest.approx(140, abs=2)
    assert known.begins.max() > 0.0
    assert (known.sounds[66:134] > 0.0).all()
    assert (known.sounds[:54] < 0.0).all()
    assert (known.sounds[146:170] < 0.0).all()


def test_no_voice_is_no_evidence_of_a_note() -> None:
    known = evidence(
        np.zeros(N), np.zeros(N, dtype=bool), np.full(N, 0.01), np.full(N, -80.0), np.full((N, 4), -80.0), network(True)
    )
    assert (known.sounds < 0.0).all()
