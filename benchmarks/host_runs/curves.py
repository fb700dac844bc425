"""The hosts whose wrapper brings the f0 onto a grid of its own: so-vits-svc, DDSP-SVC, DiffSinger and others."""

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soundfile

from benchmarks.host_runs.stage import HOP, RATE_HZ, Demo, Report, put, stand_in

LOWEST_HZ, HIGHEST_HZ = 65, 800  # DDSP-SVC's defaults
CURVE_TOLERANCE_HZ = 0.001  # float32 of log2 and back


def so_vits(checkout: Path, demo: Demo, report: Report) -> None:
    """so-vits-svc 4.1: its predictor around our inner class, ours in place of it, and the line in utils.py."""
    from rmvpe.hosts.sovits import RMVPE, RMVPEF0Predictor

    stand_in("faiss", "librosa", "sklearn", "parselmouth", "pyworld")
    put("modules.F0Predictor.rmvpe", RMVPE=RMVPE)
    theirs = importlib.import_module("modules.F0Predictor.RMVPEF0Predictor").RMVPEF0Predictor
    for rate, hop in ((44100, 512), (32000, 320), (48000, 512)):
        audio = demo.at(rate)
        around = theirs(hop, sampling_rate=rate, device="cpu")
        ours = RMVPEF0Predictor(hop, sampling_rate=rate, device="cpu")
        for p_len in (None, len(audio) // hop + 3):
            name = f"RMVPEF0Predictor.py, {rate} Hz, hop {hop}, p_len {p_len}"
            (f0, uv), (expected, expected_uv) = around.compute_f0_uv(audio, p_len), ours.compute_f0_uv(audio, p_len)
            report.near(f"{name}: its f0 and that of our predictor", f0, expected, CURVE_TOLERANCE_HZ, "Hz apart")
            report.near(f"{name}: uv", uv, expected_uv, 0, "apart")
        raised = [refuses(predictor, audio, len(audio) // hop + 4) for predictor in (around, ours)]
        report.check(f"{rate} Hz, hop {hop}, p_len 4 too long", all(raised), f"refused by both: {raised}")
    f0, uv = around.compute_f0_uv(np.zeros(44100, np.float32))
    report.check("RMVPEF0Predictor.py, silence", not f0.any() and not uv.any(), f"{len(f0)} frames, all 0")
    put("modules.F0Predictor.RMVPEF0Predictor", RMVPEF0Predictor=RMVPEF0Predictor)
    made = importlib.import_module("utils").get_f0_predictor(
        "rmvpe", hop_length=512, sampling_rate=44100, device="cpu", threshold=0.05
    )
    f0, uv = made.compute_f0_uv(demo.at(44100))
    report.check("utils.py, get_f0_predictor", made.name == "rmvpe", f"{type(made).__module__}, name {made.name!r}")
    report.same("utils.py, frames that are voiced", np.where(uv > 0, f0, 0), nearest(demo, 44100, len(f0)))


def refuses(predictor: Any, audio: np.ndarray, p_len: int) -> bool:
    """Whether a predictor refuses the length."""
    try:
        predictor.compute_f0(audio, p_len)
    except (AssertionError, ValueError):
        return True
    return False


def nearest(demo: Demo, rate: int, n_frames: int) -> np.ndarray:
    """Our f0 stretched to `n_frames` by the nearest frame before, as so-vits-svc does."""
    track = demo.reference(demo.at(rate), rate)
    return np.asarray(track[np.floor(np.arange(n_frames) * (len(track) / n_frames)).astype(int)])


def ddsp_svc(checkout: Path, demo: Demo, report: Report) -> None:
    """DDSP-SVC."""
    f0_extractor("ddsp.vocoder", demo, report)


def diffusion_svc(checkout: Path, demo: Demo, report: Report) -> None:
    """Diffusion-SVC."""
    f0_extractor("tools.tools", demo, report)


def f0_extractor(module: str, demo: Demo, report: Report) -> None:
    """The class F0_Extractor of both."""
    from rmvpe.hosts.ddsp import RMVPE

    stand_in("pyworld", "parselmouth", "torchcrepe", "resampy", "transformers", "fairseq", "torchaudio", "einops")
    stand_in("librosa", "fsspec", "encoder.hubert", "encoder.speaker_encoder", "ddsp.unit2control", "ddsp.core")
    put("encoder.rmvpe", RMVPE=RMVPE)
    F0_Extractor = importlib.import_module(module).F0_Extractor
    audio, file = demo.at(44100), module.rpartition(".")[2] + ".py"
    track = demo.reference(audio, 44100)
    for hop in (512, 557.28):
        extractor, n_frames = F0_Extractor("rmvpe", 44100, hop, LOWEST_HZ, HIGHEST_HZ), int(len(audio) // hop) + 1
        expected = read_at(track, np.arange(n_frames) * hop / 44100)
        f0 = extractor.extract(audio, uv_interp=False, device="cpu")
        report.same(f"{file}, hop {hop}", f0, expected)
        f0 = extractor.extract(audio, uv_interp=True, device="cpu")
        report.near(f"{file}, hop {hop}, gaps filled", f0, filled(expected), CURVE_TOLERANCE_HZ, "Hz")
        f0 = extractor.extract(audio, uv_interp=True, device="cpu", silence_front=0.25)
        passed = len(f0) == n_frames and bool((f0 >= LOWEST_HZ).all())
        report.check(f"{file}, hop {hop}, silence_front", passed, f"{len(f0)} frames, at least {f0.min():.1f} Hz")
    f0 = extractor.extract(np.zeros(44100, np.float32), uv_interp=True, device="cpu")
    report.check(f"{file}, silence", set(f0.tolist()) == {LOWEST_HZ}, f"{len(f0)} frames of {sorted(set(f0))} Hz")


def read_at(track: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    """f0 with gaps filled linearly in Hz, read linearly at these times; 0 where more than half is unvoiced."""
    grid, unvoiced = np.arange(len(track)) * HOP / RATE_HZ, (track == 0).astype(float)
    return np.where(np.interp(time_s, grid, unvoiced) > 0.5, 0, np.interp(time_s, grid, filled(track)))


def filled(f0_hz: np.ndarray) -> np.ndarray:
    """f0 with gaps filled linearly in Hz, and the ends held."""
    voiced = np.flatnonzero(f0_hz > 0)
    return np.interp(np.arange(len(f0_hz)), voiced, f0_hz[voiced])


def yxlllc(checkout: Path, demo: Demo, report: Report) -> None:
    """yxlllc's RMVPE: main.py as a script."""
    from rmvpe.hosts.yxlllc import RMVPE

    stand_in("librosa")
    put("src", RMVPE=RMVPE)
    put("librosa", load=lambda path, sr=None, **others: soundfile.read(path, dtype="float32"))
    soundfile.write("in.wav", demo.audio, RATE_HZ, subtype="FLOAT")
    with patch.object(sys, "argv", ["main.py", "-m", "model.pt", "-i", "in.wav", "-o", "out.csv", "-d", "cpu"]):
        runpy.run_path(str(checkout / "main.py"), run_name="__main__")
    rows = np.loadtxt("out.csv", delimiter=",")
    report.same("main.py, the csv", rows[:, 1], demo.f0_hz)
    report.near("main.py, the times", rows[:, 0], np.arange(demo.n_frames) * HOP / RATE_HZ, 1e-6, "s from 10 ms")


def diffsinger(checkout: Path, demo: Demo, report: Report) -> None:
    """DiffSinger, against its own functions on our f0."""
    from rmvpe.hosts.diffsinger import RMVPE

    stand_in("parselmouth", "pyworld", "torchaudio", "lightning", "librosa", "h5py", "torchmetrics", "matplotlib")
    put("modules.pe.rmvpe", RMVPE=RMVPE)
    module = importlib.import_module("modules.pe")
    module.hparams = {"pe": "rmvpe", "pe_ckpt": "checkpoints/rmvpe/model.pt"}  # type: ignore[attr-defined]
    made = module.initialize_pe()
    report.check("modules/pe, initialize_pe", isinstance(made, RMVPE), type(made).__module__)
    align = importlib.import_module("utils.infer_utils").resample_align_curve
    fill = importlib.import_module("utils.pitch_utils").interp_f0
    audio = demo.at(44100)
    track = demo.reference(audio, 44100).astype(np.float32)
    for speed in (1, 1.5, 0.7):
        n_frames, step_s = int(len(audio) / 512 / speed) + 1, int(np.round(512 * speed)) / 44100
        expected = align(fill(track.copy(), track == 0)[0], 0.01, step_s, n_frames)
        unvoiced = align((track == 0).astype(np.float32), 0.01, step_s, n_frames) > 0.5
        for interpolated in (True, False):
            name = f"get_pitch, speed {speed}, interp_uv={interpolated}"
            f0, uv = made.get_pitch(audio, 44100, n_frames, hop_size=512, speed=speed, interp_uv=interpolated)
            report.check(f"{name}, types", (f0.dtype, uv.dtype) == (np.float32, bool), f"{f0.dtype}, {uv.dtype}")
            right = expected if interpolated else np.where(unvoiced, 0, expected)
            report.near(f"{name}, f0", f0, right, CURVE_TOLERANCE_HZ, "Hz from their functions on our f0")
            report.near(f"{name}, uv", uv.astype(int), unvoiced.astype(int), 0, "apart")
    f0, uv = made.get_pitch(np.zeros(44100), 44100, 87, hop_size=512, interp_uv=True)
    report.check("get_pitch, silence", not f0.any() and uv.all() and len(f0) == 87, f"{len(f0)} frames, all unvoiced")


def some(checkout: Path, demo: Demo, report: Report) -> None:
    """SOME: the class that its binarizer uses, and its second grid."""
    from rmvpe.hosts.some import RMVPE

    stand_in("torchaudio", "parselmouth", "lightning", "h5py", "librosa", "pyworld", "einops")
    module: Any = importlib.import_module("modules.rmvpe")
    module.RMVPE = RMVPE
    utils = importlib.import_module("utils.pitch_utils")
    made, audio = module.RMVPE("pretrained/rmvpe/model.pt", device="cpu"), demo.at(44100)
    hop = made.mel_extractor.hop_length
    n_frames = (len(audio) + hop - 1) // hop
    f0, uv = made.get_pitch(audio, sample_rate=44100, hop_size=hop, length=n_frames, interp_uv=True)
    track = demo.reference(audio, 44100).astype(np.float32)
    expected = utils.resample_align_curve(utils.interp_f0(track.copy())[0], 0.01, hop / 44100, n_frames)
    report.near("get_pitch at 160 / 44100", f0, expected, CURVE_TOLERANCE_HZ, "Hz from its functions on our f0")
    again = utils.resample_align_curve(f0, hop / 44100, 512 / 44100, len(audio) // 512 + 1)
    right = utils.resample_align_curve(expected, hop / 44100, 512 / 44100, len(audio) // 512 + 1)
    report.near("then at 512 / 44100", again, right, CURVE_TOLERANCE_HZ, "Hz")
    report.check("modules/rmvpe keeps MelSpectrogram", hasattr(module, "MelSpectrogram"), "as isinstance needs")


def rosvot(checkout: Path, demo: Demo, report: Report) -> None:
    """ROSVOT: its get_pitch around our f0, against ours; its extractor, which asks for CUDA, is not run."""
    from rmvpe.hosts.rosvot import RMVPE

    stand_in("torchaudio", "pyworld", "librosa", "parselmouth", "torchmetrics", "pandas", "matplotlib", "pretty_midi")
    stand_in("skimage", "textgrid", "einops", "tensorboard", "tensorboardX", "h5py", "webrtcvad", "pyloudnorm")
    module = importlib.import_module("modules.pe.rmvpe.inference")
    ours = RMVPE("checkpoints/rmvpe/model.pt", device="cpu")
    theirs = module.RMVPE.__new__(module.RMVPE)
    vars(theirs).update(hop_length=HOP)
    theirs.infer_from_audio = lambda audio, sample_rate=RATE_HZ, **others: ours.infer_from_audio(audio, sample_rate)
    theirs.infer_from_audio_batch = lambda audios, sample_rate=RATE_HZ, **others: [
        ours.infer_from_audio(audio, sample_rate) for audio in audios
    ]
    audio, hop, low, high = demo.at(24000), 128, 50, 900
    lengths = [(len(audio) + hop - 1) // hop, 235]
    for interpolated in (True, False):
        name = f"interp_uv={interpolated}"
        f0, uv = theirs.get_pitch(audio, 24000, hop, lengths[0], interpolated, low, high)
        right, right_uv = ours.get_pitch(audio, 24000, hop, lengths[0], interpolated, low, high)
        report.near(f"get_pitch, {name}, f0", f0, right, CURVE_TOLERANCE_HZ, "Hz from our get_pitch")
        report.near(f"get_pitch, {name}, uv", np.asarray(uv, int), np.asarray(right_uv, int), 0, "apart")
        given = ([audio, audio[:30000]], 24000, hop, lengths, interpolated, low, high)
        (f0s, _), (rights, _) = theirs.get_pitch_batch(*given), ours.get_pitch_batch(*given)
        for index, (f0, right) in enumerate(zip(f0s, rights)):
            report.near(f"get_pitch_batch, {name}, row {index}", f0, right, CURVE_TOLERANCE_HZ, "Hz from ours")
