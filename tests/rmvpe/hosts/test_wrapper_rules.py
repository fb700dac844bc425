"""What a host gets on its own grid, against the estimator's f0 and the host's rule in plain Python."""

import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import soxr

import rmvpe
from rmvpe.backends import is_installed
from rmvpe.hosts import ddsp, diffsinger, rosvot, some, sovits, yxlllc
from tests.helpers.hosts import FRAMEWORKS, voice
from tests.rmvpe.hosts import naive_rules

pytestmark = pytest.mark.skipif(not FRAMEWORKS, reason="no runtime is installed")
SMALL: dict[str, Any] = {"weights": "small", "device": "cpu"}
GRIDS = [(44100, 512), (32000, 320), (48000, 512), (24000, 128), (16000, 80), (44100, 160)]
EXACT: dict[str, Any] = {"rtol": 2e-6, "atol": 1e-6}  # float32 has 6e-8 of a value; two such steps and a power


@cache
def sound(rate: int) -> np.ndarray:
    """The voice at another rate, float32 [n]; read-only."""
    resampled = voice() if rate == 16000 else soxr.resample(voice(), 16000, rate)
    resampled.setflags(write=False)
    return resampled


@cache
def f0_of_network(rate: int) -> list[float]:
    """f0 in Hz every 10 ms, as the estimator gives it, in float32."""
    track = rmvpe.load("small", device="cpu").from_audio(sound(rate), rate)
    assert 0.1 < track.voiced.mean() < 0.9
    return track.f0_hz.astype(np.float32).tolist()


@pytest.mark.parametrize(("rate", "hop"), GRIDS)
def test_so_vits_stretches_then_fills(rate: int, hop: int):
    host = sovits.RMVPEF0Predictor(hop, sampling_rate=rate, **SMALL)
    usual = len(sound(rate)) // hop
    for p_len in (None, usual, usual - 3, usual + 3):
        f0_hz, voiced = host.compute_f0_uv(sound(rate), p_len)
        expected_hz, expected_voiced = naive_rules.so_vits(f0_of_network(rate), p_len or usual)
        assert (f0_hz.dtype, voiced.dtype) == (np.float64, np.float32)
        np.testing.assert_allclose(f0_hz, expected_hz, **EXACT)
        assert voiced.tolist() == expected_voiced
        np.testing.assert_array_equal(host.compute_f0(sound(rate), p_len), f0_hz)


def test_so_vits_refuses_a_length_that_does_not_fit():
    host = sovits.RMVPEF0Predictor(**SMALL)
    usual = len(sound(44100)) // 512
    for p_len in (usual + 4, usual - 4):
        with pytest.raises(rmvpe.UserError, match=f"p_len of {p_len} does not fit audio of {usual} frames"):
            host.compute_f0(sound(44100), p_len)


def test_so_vits_knows_its_predictor_by_name_and_edits_its_answers():
    host = sovits.RMVPEF0Predictor(512, 50, 1100, None, "cpu", 44100, 0.05, weights="small")
    assert host.name == "rmvpe"
    f0_hz, voiced = host.compute_f0_uv(np.zeros(44100, np.float32))
    assert len(f0_hz) == 86
    assert not f0_hz.any()
    assert not voiced.any()
    voiced += 1.0
    assert not f0_hz.any()  # not one array twice, as so-vits-svc's own
    f0_hz[:] = 5.0
    assert not host.compute_f0(np.zeros(44100, np.float32)).any()


@pytest.mark.skipif(not is_installed("torch"), reason="the class answers with tensors")
def test_the_inner_class_of_so_vits_answers_with_tensors_of_any_audio():
    import torch

    host = sovits.RMVPE("pretrain/rmvpe.pt", device=torch.device("cpu"), dtype=torch.float32, weights="small")
    for audio in (torch.from_numpy(sound(44100).copy()), sound(44100)):
        answer = host.infer_from_audio(audio, 44100, 0.05)
        assert answer.dtype == torch.float32
        assert answer.tolist() == f0_of_network(44100)


@pytest.mark.parametrize("interp_uv", [True, False])
@pytest.mark.parametrize("speed", [1, 1.5, 0.731])
@pytest.mark.parametrize(("rate", "hop"), GRIDS)
def test_diffsinger_fills_in_octaves_and_repeats_the_end(rate: int, hop: int, speed: float, interp_uv: bool):
    host = diffsinger.RMVPE(**SMALL)
    length = round(len(sound(rate)) / (hop * speed))
    for frames in (length + 7, length - 9, 0):
        f0_hz, unvoiced = host.get_pitch(
            sound(rate), rate, frames, hop_size=hop, f0_min=65, f0_max=1100, speed=speed, interp_uv=interp_uv
        )
        expected_hz, expected_unvoiced = naive_rules.diffsinger(
            f0_of_network(rate), rate, frames, hop, speed, interp_uv=interp_uv
        )
        assert (f0_hz.dtype, unvoiced.dtype) == (np.float32, bool)
        assert unvoiced.tolist() == expected_unvoiced
        np.testing.assert_allclose(f0_hz, expected_hz, **EXACT)


@pytest.mark.parametrize("interp_uv", [True, False])
def test_without_a_voiced_frame_everything_is_unvoiced(interp_uv: bool):
    silence = np.zeros(44100)
    answers = [
        diffsinger.RMVPE(**SMALL).get_pitch(silence, 44100, 87, hop_size=512, interp_uv=interp_uv),
        some.RMVPE(**SMALL).get_pitch(silence, 44100, 512, 87, interp_uv),
        rosvot.RMVPE(**SMALL).get_pitch(silence, 44100, 512, 87, interp_uv),
    ]
    for f0_hz, unvoiced in answers:
        assert f0_hz.tolist() == [0.0] * 87
        assert unvoiced.all()


@pytest.mark.parametrize("interp_uv", [True, False])
@pytest.mark.parametrize(("rate", "hop"), GRIDS)
def test_some_is_diffsinger_with_other_arguments(rate: int, hop: int, interp_uv: bool):
    host = some.RMVPE("pretrained/rmvpe/model.pt", **SMALL)
    hop_of_network = host.mel_extractor.hop_length
    assert hop_of_network == 160
    for step in (hop, hop_of_network):  # SOME's own first grid: 160 samples at its rate
        length = len(sound(rate)) // step + 1
        f0_hz, unvoiced = host.get_pitch(sound(rate), rate, step, length, interp_uv)
        expected = naive_rules.diffsinger(f0_of_network(rate), rate, length, step, interp_uv=interp_uv)
        np.testing.assert_allclose(f0_hz, expected[0], **EXACT)
        assert unvoiced.tolist() == expected[1]


@pytest.mark.parametrize("interp_uv", [True, False])
@pytest.mark.parametrize("range_hz", [(50, 1000), (200, 300)])
@pytest.mark.parametrize(("rate", "hop"), GRIDS)
def test_rosvot_erases_what_is_short_or_out_of_range(
    rate: int, hop: int, range_hz: tuple[float, float], interp_uv: bool
):
    host, length = rosvot.RMVPE(**SMALL), len(sound(rate)) // hop + 5
    for gap in (2, 6):
        expected = naive_rules.rosvot(f0_of_network(rate), rate, length, hop, interp_uv, range_hz, gap)
        if gap == 2:
            f0_hz, unvoiced = host.get_pitch(sound(rate), rate, hop, length, interp_uv, *range_hz)
        else:
            many = [sound(rate)[: rate // 2], sound(rate)]
            rows = host.get_pitch_batch(many, rate, hop, [3, length], interp_uv, *range_hz)
            f0_hz, unvoiced = rows[0][1], rows[1][1]
            assert [len(row) for row in rows[0]] == [3, length]
        np.testing.assert_allclose(f0_hz, expected[0], **EXACT)
        assert unvoiced.tolist() == expected[1]


class KnownPitch(rosvot.RMVPE):
    """ROSVOT's class with a pitch that is known, with runs of all short lengths: a voice has few."""

    f0_hz = np.concatenate([np.r_[np.zeros(run % 3 + 1), np.full(run, 200.0 + run)] for run in range(1, 12)])

    def infer_from_audio(self, audio: Any, *others: Any, **named: Any) -> np.ndarray:
        return self.f0_hz.astype(np.float32)


@pytest.mark.parametrize("hop", [128, 240, 480])
def test_rosvot_erases_runs_of_two_frames_and_in_a_batch_of_six(hop: int):
    host, known = KnownPitch(**SMALL), KnownPitch.f0_hz.tolist()
    kept = []
    for gap in (2, 6):
        expected = naive_rules.rosvot(known, 24000, 200, hop, gap=gap)
        if gap == 2:
            f0_hz, unvoiced = host.get_pitch(np.zeros(1), 24000, hop, 200)
        else:
            f0_hz, unvoiced = (rows[0] for rows in host.get_pitch_batch([np.zeros(1)], 24000, hop, [200]))
        np.testing.assert_allclose(f0_hz, expected[0], **EXACT)
        assert unvoiced.tolist() == expected[1]
        kept.append({round(float(hz)) for hz in f0_hz} & set(range(201, 212)))
    assert min(kept[0]) == 203
    assert min(kept[1]) == 207


def test_a_batch_of_rosvot_may_be_a_table_and_rows_are_alone():
    host = rosvot.RMVPE(**SMALL)
    table = np.zeros((2, len(sound(24000))), np.float32)
    table[0] = sound(24000)
    loud, silent = host.get_pitch_batch(table, 24000, 128, (300, 300))[0]
    alone = host.get_pitch_batch([sound(24000)], 24000, 128, [300])[0][0]
    np.testing.assert_array_equal(loud, alone)
    assert not silent.any()
    host.release_cuda()
    np.testing.assert_array_equal(host.get_pitch_batch([sound(24000)], 24000, 128, [300])[0][0], alone)
    with pytest.raises(rmvpe.UserError, match="1 lengths do not fit a batch of 2"):
        host.get_pitch_batch(table, 24000, 128, [300])


class F0Extractor:
    """What DDSP-SVC and Diffusion-SVC do around the class; they edit its answers."""

    def __init__(self, host: ddsp.RMVPE, rate: int, hop: float, f0_min: float):
        self.host, self.rate, self.hop, self.f0_min = host, rate, hop, f0_min

    def extract(self, audio: np.ndarray, uv_interp: bool, silence_front: float) -> np.ndarray:
        n_frames = int(len(audio) // self.hop) + 1
        start = int(silence_front * self.rate / self.hop)
        audio = audio[round(start * self.hop) :]
        f0_hz = self.host.infer_from_audio(audio, self.rate, device="cpu", thred=0.03, use_viterbi=False)
        unvoiced = f0_hz == 0
        if not unvoiced.all():
            f0_hz[unvoiced] = np.interp(np.flatnonzero(unvoiced), np.flatnonzero(~unvoiced), f0_hz[~unvoiced])
        frame_s = 0.01 * np.arange(len(f0_hz))
        wanted_s = self.hop / self.rate * np.arange(n_frames - start)
        f0_hz = np.interp(wanted_s, frame_s, f0_hz)
        f0_hz[np.interp(wanted_s, frame_s, unvoiced.astype(float)) > 0.5] = 0
        f0_hz = np.pad(f0_hz, (start, 0))
        if uv_interp:
            voiced = f0_hz > 0
            if voiced.any():
                f0_hz[~voiced] = np.interp(np.flatnonzero(~voiced), np.flatnonzero(voiced), f0_hz[voiced])
            f0_hz[f0_hz < self.f0_min] = self.f0_min
        return f0_hz


@pytest.mark.parametrize("uv_interp", [True, False])
@pytest.mark.parametrize("hop", [512, 557.28])
def test_ddsp_works_on_its_own_grid(hop: float, uv_interp: bool):
    extractor = F0Extractor(ddsp.RMVPE("pretrain/rmvpe/model.pt", hop_length=160, **SMALL), 44100, hop, 65.0)
    frames = int(len(sound(44100)) // hop) + 1
    expected = naive_rules.ddsp(f0_of_network(44100), frames, hop, 44100, 65.0, uv_interp)
    for _ in range(2):  # the first call's edits are not in the second
        found = extractor.extract(sound(44100), uv_interp, silence_front=0.0)
        np.testing.assert_allclose(found, expected, **EXACT)
    assert len(extractor.extract(sound(44100), uv_interp, silence_front=0.3)) == frames
    silence = extractor.extract(np.zeros(44100), uv_interp, silence_front=0.0)
    assert set(silence.tolist()) == {65.0 if uv_interp else 0.0}


@pytest.mark.parametrize(("hop_length", "hop_s"), [(80, 0.005), (320, 0.02), (160, None)])
def test_yxlllcs_class_takes_any_rate_hop_and_decoder(hop_length: int, hop_s: float | None):
    host = yxlllc.RMVPE("model.pt", hop_length=hop_length, **SMALL)
    estimator = rmvpe.load("small", device="cpu")
    for viterbi, decoder in ((False, "local-average"), (True, "viterbi")):
        found = host.infer_from_audio(sound(44100), 44100, "cpu", use_viterbi=viterbi)
        expected = estimator.from_audio(sound(44100), 44100, hop_s=hop_s, decoder=decoder).f0_hz
        np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_a_device_named_in_a_call_is_kept(caplog: pytest.LogCaptureFixture):
    host = yxlllc.RMVPE(**SMALL)
    expected = host.infer_from_audio(sound(16000))
    for _ in range(2):
        np.testing.assert_array_equal(host.infer_from_audio(sound(16000), device="privateuseone:0"), expected)
    assert len([row for row in caplog.records if "privateuseone:0" in row.getMessage()]) <= 1  # once for the process
    assert host._host_on("privateuseone:0") is host._host_on("privateuseone:0")


@pytest.mark.parametrize("make", [yxlllc.RMVPE, sovits.RMVPE])
def test_an_impossible_hop_is_said(make):
    with pytest.raises(rmvpe.UserError, match="hop"):
        make(hop_length=0, **SMALL)
    with pytest.raises(rmvpe.UserError, match="hop_length must be 160, not 80"):
        diffsinger.RMVPE(hop_length=80, **SMALL)
    with pytest.raises(rmvpe.UserError, match="hop"):
        diffsinger.RMVPE(**SMALL).get_pitch(sound(16000), 16000, 10, hop_size=0)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_clips_of_any_length(rate: int):
    hosts = diffsinger.RMVPE(**SMALL), rosvot.RMVPE(**SMALL), sovits.RMVPEF0Predictor(sampling_rate=rate, **SMALL)
    for n in (0, 1, 2, 160, 441, 513, 2561, 6000):
        clip = sound(rate)[:n]
        for f0_hz, flags in (
            hosts[0].get_pitch(clip, rate, 20, hop_size=512, interp_uv=True),
            hosts[1].get_pitch(clip, rate, 512, 20),
        ):
            assert f0_hz.shape == flags.shape == (20,)
            assert np.isfinite(f0_hz).all()
        assert hosts[2].compute_f0(clip, n // 512 + 3).shape == (n // 512 + 3,)


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "torch"])
def test_these_classes_need_no_torch(framework: str):
    code = (
        "import sys; sys.modules['torch'] = None; import numpy as np; "
        "from rmvpe.hosts import ddsp, diffsinger, rosvot, some, sovits, yxlllc; "
        f"how = dict(weights='small', device='cpu', backend='{framework}'); silence = np.zeros(4960); "
        "print(len(ddsp.RMVPE(**how).infer_from_audio(silence)), "
        "len(sovits.RMVPEF0Predictor(**how).compute_f0(silence)), "
        "*[make(**how).get_pitch(silence, 16000, hop_size=160, length=9)[0].shape "
        "for make in (diffsinger.RMVPE, some.RMVPE, rosvot.RMVPE)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "32 9 (9,) (9,) (9,)"
