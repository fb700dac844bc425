"""Tracker adapters: names, missing libraries, the common grid; installed trackers find the pitch of a tone on time."""

import pickle
import warnings

import numpy as np
import pytest

from rmvpe.backends import choose_backend
from rmvpe.errors import UserError
from rmvpe.estimator import load
from rmvpe.evaluation.trackers.adapters import (
    FCPE_THRESHOLD,
    PEERS,
    RATE_HZ,
    TrackerSpec,
    find_trackers,
    on_grid,
    open_fcpe,
)
from rmvpe.interpolation import f0_at_times
from rmvpe.track import F0Track


def sung(seconds: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A harmonic tone with vibrato on a slow rise, 16 kHz, and its f0 in Hz at `time_s`, a point per sample."""
    time_s = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    f0_hz = 220.0 * 2 ** (0.05 * np.sin(2 * np.pi * 5.5 * time_s) + time_s / 12)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE_HZ
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 8)], axis=0)
    return (0.12 * voice).astype(np.float32), time_s, f0_hz


def backend_or_skip() -> str:
    try:
        return choose_backend()
    except UserError as error:
        pytest.skip(str(error))


def test_trackers_are_found_by_name_once_and_in_order():
    found = find_trackers([" praat", "rmvpe", "praat", "rmvpe:runs/x/best.safetensors"])
    assert list(found) == ["praat", "rmvpe", "rmvpe:runs/x/best.safetensors"]
    assert [spec.label for spec in found.values()] == ["Praat", "rmvpe", "rmvpe best"]
    assert [spec.ours for spec in found.values()] == [False, True, True]
    with pytest.raises(UserError, match="'sonar' is not a tracker: choose among rmvpe"):
        find_trackers(["rmvpe", "sonar"])


def test_a_spec_can_be_sent_to_another_process():
    for spec in [*PEERS.values(), *find_trackers(["rmvpe"]).values()]:
        assert pickle.loads(pickle.dumps(spec)).label == spec.label


def test_a_missing_library_is_named_with_the_command():
    absent = TrackerSpec("X", open_fcpe, ("no_such_module",), "no-such-package")
    assert absent.missing() == "no_such_module is not installed: run pip install no-such-package"
    assert find_trackers(["rmvpe"], "torch")["rmvpe"].package == "torch"
    assert TrackerSpec("X", open_fcpe, ("no_such_module", "numpy"), "x", any_of=True).missing() is None
    assert TrackerSpec("X", open_fcpe, ("no_such_module", "numpy"), "x").missing() is not None


def test_a_track_on_the_grid_comes_back_as_it_is():
    rng = np.random.default_rng(0)
    track = F0Track(0.01 * np.arange(50), rng.uniform(100, 900, 50), rng.random(50) > 0.5, rng.random(50))
    same = on_grid(track, 50)
    np.testing.assert_array_equal(same.f0_hz, track.f0_hz)
    np.testing.assert_array_equal(same.voiced, track.voiced)


def test_other_frames_are_read_in_log_frequency_at_their_own_times():
    # 16 ms frames that start late, as an analysis window may have it, on an exponential glide
    times = 0.023 + 0.016 * np.arange(60)
    track = F0Track(times, 200.0 * 2**times, times > 0.5, np.ones(60))
    grid = on_grid(track, 101)
    inside = (grid.time_s >= times[0]) & (grid.time_s <= times[-1])
    np.testing.assert_allclose(grid.f0_hz[inside], 200.0 * 2 ** grid.time_s[inside], rtol=1e-9)  # rounding only
    assert not grid.f0_hz[:2].any()  # more than half a frame before the first one nothing is known
    # Voicing is the nearest frame's: the change lies within half a frame of the tracker's
    assert abs(grid.time_s[np.argmax(grid.voiced)] - 0.5) <= 0.008 + 0.01


def test_no_pitch_is_never_voiced():
    f0_hz, voiced = np.array([np.nan, 100.0, 0.0, 100.0]), np.array([True, True, True, False])
    track = F0Track(0.01 * np.arange(4), f0_hz, voiced, np.ones(4))
    grid = on_grid(track, 4)
    np.testing.assert_array_equal(grid.f0_hz, [0.0, 100.0, 0.0, 100.0])
    np.testing.assert_array_equal(grid.voiced, [False, True, False, False])


def test_our_own_voiced_frames_are_what_predict_gives():
    backend = backend_or_skip()
    audio = np.concatenate([sung()[0], np.zeros(RATE_HZ, dtype=np.float32)])
    track = find_trackers(["rmvpe"], backend)["rmvpe"].open(1).predict(audio)
    given = load(backend=backend, device="cpu").from_audio(audio, RATE_HZ)
    np.testing.assert_array_equal(track.time_s, given.time_s)
    np.testing.assert_array_equal(track.voiced, given.voiced)
    np.testing.assert_array_equal(np.where(track.voiced, track.f0_hz, 0.0), given.f0_hz)
    assert (track.f0_hz > 0).all()  # a pitch for every frame, voiced or not


def test_wrong_weights_are_a_user_error():
    backend_or_skip()
    name = "rmvpe:nothing.safetensors"
    with pytest.raises(UserError, match="nothing"):
        find_trackers([name])[name].open(1)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_the_pitch_of_a_sung_tone_on_time(name: str):
    spec = PEERS[name]
    for module in spec.modules:
        pytest.importorskip(module)
    audio, time_s, f0_hz = sung()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foreign code; in use it runs in a process of its own
        track = spec.open(1).predict(audio)
    middle = np.arange(0.5, 2.5, 0.01)
    errors = []
    shifts = np.arange(-20, 21) * 0.001
    for shift in shifts:
        found = f0_at_times(track.time_s, np.nan_to_num(track.f0_hz), middle + shift)
        errors.append(np.abs(1200 * np.log2(np.maximum(found, 1.0) / np.interp(middle, time_s, f0_hz))).mean())
    assert min(errors) < 20.0  # cents: CREPE dithers and pYIN has steps of 10
    # Half a frame: if the frame times were wrong by more, a good tracker would look late
    assert abs(shifts[int(np.argmin(errors))]) <= 0.005
    voiced = np.interp(middle, track.time_s, track.voiced.astype(float))
    assert voiced.mean() > 0.95


def test_fcpe_is_what_its_own_infer_gives():
    pytest.importorskip("torchfcpe")
    torch = pytest.importorskip("torch")
    from torchfcpe import spawn_bundled_infer_model

    audio = np.concatenate([sung()[0], np.zeros(RATE_HZ, dtype=np.float32)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        track = open_fcpe(1).predict(audio)
        own = spawn_bundled_infer_model(device="cpu").infer(
            torch.from_numpy(audio)[None, :, None], RATE_HZ, decoder_mode="local_argmax", threshold=FCPE_THRESHOLD
        )
    np.testing.assert_allclose(np.where(track.voiced, track.f0_hz, 0.0), own[0, :, 0].numpy(), rtol=1e-6)
