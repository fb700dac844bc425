"""Applio, ultimate-rvc, Seed-VC and the voice-changers of w-okada and deiteris."""

import importlib
import importlib.util
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soxr

from benchmarks.host_runs.rvc import CONFIG, OCTAVE, coarse_pitch
from benchmarks.host_runs.stage import HOP, RATE_HZ, Demo, Report, put, stand_in
from rmvpe.cli.main import main as command_line
from rmvpe.hosts.pieces import MelExtractor

TARGET_HZ = 155.0  # to which Applio's proposed pitch moves the median
CENTS_REFERENCE_HZ = 10.0
EXPORTED = "rmvpe.onnx"


def applio(checkout: Path, demo: Demo, report: Report) -> None:
    """Applio: conversion, the F0 tab and real time."""
    stand_in("pedalboard", "webrtcvad", "noisereduce")
    applio_offline("rvc", demo, report)
    applio_real_time(demo, report)


def ultimate_rvc(checkout: Path, demo: Demo, report: Report) -> None:
    """ultimate-rvc: its copy of Applio's conversion and F0 tab."""
    os.environ.update(URVC_NO_LOGGING="1")  # it would write a log as soon as it is imported
    put("ultimate_rvc.common", BASE_DIR=Path.cwd(), RVC_MODELS_DIR="models")
    applio_offline("ultimate_rvc.rvc", demo, report)


def applio_offline(package: str, demo: Demo, report: Report) -> None:
    """Conversion and the F0 tab, with the modules of `package`."""
    from rmvpe.hosts.applio import RMVPE0Predictor

    stand_in("faiss", "torchcrepe", "torchfcpe", "transformers", "torchaudio")
    stand_in(*(f"{package}.{name}" for name in ("configs", "lib.utils", "lib.algorithm", "lib.zluda")))
    put("librosa", load=lambda path, sr: (demo.at(sr), sr), midi_to_hz=lambda note: CENTS_REFERENCE_HZ)
    put("resampy", resample=soxr.resample)
    put(f"{package}.lib.predictors.RMVPE", RMVPE0Predictor=RMVPE0Predictor)
    pipeline = importlib.import_module(f"{package}.infer.pipeline").Pipeline(40000, CONFIG)
    audio, p_len = demo.audio.astype(np.float64), len(demo.audio) // HOP
    coarse, f0 = pipeline.get_f0(audio, p_len, pitch=OCTAVE)
    report.same("infer/pipeline.py, 12 semitones up", f0, 2 * demo.f0_hz)
    coarse_pitch(report, "infer/pipeline.py", coarse)
    _, f0 = pipeline.get_f0(demo.silence, 100)
    report.silent("infer/pipeline.py, silence", f0, 101)
    _, f0 = pipeline.get_f0(audio, p_len, f0_autotune=True)
    notes = np.array(pipeline.autotune.note_dict)
    nearest = notes[np.abs(demo.f0_hz[:, None] - notes).argmin(axis=1)]  # its unvoiced frames become its lowest note
    report.same("infer/pipeline.py, autotune", f0, nearest)
    _, f0 = pipeline.get_f0(audio, p_len, proposed_pitch=True, proposed_pitch_threshold=TARGET_HZ)
    voiced = demo.f0_hz > 0
    median = float(np.median(np.interp(np.arange(len(voiced)), np.flatnonzero(voiced), demo.f0_hz[voiced])))
    key = int(np.clip(np.round(12 * np.log2(TARGET_HZ / median)), -12, 12))
    report.same(f"infer/pipeline.py, proposed pitch ({key} semitones)", f0, demo.f0_hz * 2 ** (key / 12))
    put(f"{package}.configs.config", Config=lambda: SimpleNamespace(device="cpu"))
    tab = importlib.import_module(f"{package}.lib.predictors.F0Extractor").F0Extractor(Path("demo.wav"))
    f0 = CENTS_REFERENCE_HZ * 2 ** (np.nan_to_num(tab.extract_f0(), nan=-np.inf) / 1200)
    report.same("predictors/F0Extractor.py", f0, demo.reference(np.asarray(tab.wav16k, dtype=np.float32)))


def applio_real_time(demo: Demo, report: Report) -> None:
    """realtime/pipeline.py, after it has replaced two methods of the object."""
    import torch

    voice = SimpleNamespace(use_f0=1, version="v2", tgt_sr=40000, dtype=torch.float32, config=CONFIG)
    pipeline = importlib.import_module("rvc.realtime.pipeline").Realtime_Pipeline(voice, f0_method="rmvpe")
    for audio in demo.windows():
        pitch, f0 = pipeline.get_f0(torch.from_numpy(audio.copy()))
        name = f"realtime/pipeline.py, a window of {len(audio) // 16} ms"
        report.same(name, f0[0], demo.reference(audio))
    coarse_pitch(report, "realtime/pipeline.py", pitch.numpy())
    caches = torch.zeros(1024, dtype=torch.int64), torch.zeros(1024)
    pipeline.get_f0(torch.from_numpy(audio.copy()), *caches)
    kept = demo.reference(audio)[3:-1]
    report.same("realtime/pipeline.py, the end of its cache", caches[1][-len(kept) :], kept)


def seed_vc(checkout: Path, demo: Demo, report: Report) -> None:
    """Seed-VC and YingMusic-SVC: the regulator that takes the f0, and the batches of their training."""
    import torch

    from rmvpe.hosts.seedvc import RMVPE

    stand_in("dac", "munch", "einops", "torchaudio", "transformers")
    regulator = importlib.import_module("modules.length_regulator")
    ours = RMVPE("rmvpe.pt", is_half=False, device="cpu")
    f0 = ours.infer_from_audio(torch.from_numpy(demo.audio.copy()), thred=0.03)
    report.same("infer_from_audio of a tensor", f0, demo.f0_hz)
    single, double = (
        regulator.f0_to_coarse(torch.from_numpy(f0.astype(dtype)), 256) for dtype in (np.float32, np.float64)
    )
    different = int((single != double).sum())
    report.check("length_regulator.py, float32 and float64", different == 0, f"{different} of {len(f0)} differ")
    coarse_pitch(report, "length_regulator.py", single.numpy())
    rows = torch.stack([torch.from_numpy(demo.audio.copy()), torch.from_numpy(demo.audio.copy())])
    rows[1, len(demo.audio) // 2 :] = 0
    batch = ours.infer_from_audio_batch(rows, thred=0.03)
    report.check("a batch is a tensor", torch.is_tensor(batch), f"{batch.dtype} {list(batch.shape)}")
    report.same("a batch, row 0", batch[0], demo.f0_hz)
    report.same("a batch, row 1", batch[1], demo.reference(rows[1].numpy()))
    network = regulator.InterpolateRegulator(8, (1, 1), in_channels=8, f0_condition=True, n_f0_bins=256).eval()
    lengths = torch.tensor([500, 500])
    with torch.no_grad():
        out = network(torch.zeros(2, 400, 8), ylens=lengths, f0=batch)[0]
    finite = bool(torch.isfinite(out).all())
    report.check(
        "length_regulator.py, its network", out.shape == (2, 500, 8) and finite, f"{list(out.shape)}, finite: {finite}"
    )


def w_okada(checkout: Path, demo: Demo, report: Report) -> None:
    """w-okada's voice-changer: its extractor writes the end of the f0 into a buffer."""
    import torch

    from rmvpe.hosts.wokada import RMVPE

    stand_in("const")
    put("voice_changer.DiffusionSVC.pitchExtractor.rmvpe.rmvpe", RMVPE=RMVPE)
    put("voice_changer.RVC.deviceManager.DeviceManager", DeviceManager=device_manager())
    module = importlib.import_module("voice_changer.RVC.pitchExtractor.RMVPEPitchExtractor")
    extractor, audio = module.RMVPEPitchExtractor("pretrain/rmvpe.pt", -1), torch.from_numpy(demo.audio.copy())
    short = np.zeros(len(demo.audio) // HOP, np.float32)
    coarse, f0 = extractor.extract(audio, short, 0, RATE_HZ, HOP)
    report.same("RMVPEPitchExtractor.py, a buffer of n // 160", f0, demo.f0_hz[:-1])
    coarse_pitch(report, "RMVPEPitchExtractor.py", coarse)
    _, f0 = extractor.extract(audio, np.zeros(demo.n_frames + 20, np.float32), OCTAVE, RATE_HZ, HOP)
    report.same("RMVPEPitchExtractor.py, a longer buffer, 12 up", f0, np.r_[np.zeros(20), 2 * demo.f0_hz])
    front_s, front = 1, 100
    _, f0 = extractor.extract(audio, np.zeros(len(short), np.float32), 0, RATE_HZ, HOP, silence_front=front_s)
    end = demo.reference(demo.audio[front_s * RATE_HZ :])
    report.same(f"RMVPEPitchExtractor.py, silence_front {front_s} s", f0, np.r_[np.zeros(front - 1), end])
    if not exported("--threshold-for", "0.3"):
        return
    module = importlib.import_module("voice_changer.RVC.pitchExtractor.RMVPEOnnxPitchExtractor")
    extractor = module.RMVPEOnnxPitchExtractor(EXPORTED, -1)
    coarse, f0 = extractor.extract(audio, np.zeros(len(short), np.float32), OCTAVE, RATE_HZ, HOP)
    report.same("RMVPEOnnxPitchExtractor.py, 12 up", f0, 2 * demo.f0_hz[:-1])
    coarse_pitch(report, "RMVPEOnnxPitchExtractor.py", coarse)


def deiteris(checkout: Path, demo: Demo, report: Report) -> None:
    """deiteris' voice-changer: a tensor out."""
    import torch

    from rmvpe.hosts.wokada import TensorRMVPE

    stand_in("const")
    put("voice_changer.common.rmvpe.rmvpe", RMVPE=TensorRMVPE)
    put("voice_changer.common.deviceManager.DeviceManager", DeviceManager=device_manager())
    module = importlib.import_module("voice_changer.RVC.pitchExtractor.RMVPEPitchExtractor")
    audio = torch.from_numpy(demo.audio.copy())
    f0 = module.RMVPEPitchExtractor("pretrain/rmvpe.pt").extract(audio, RATE_HZ, HOP)
    report.check("RMVPEPitchExtractor.py gives a tensor", torch.is_tensor(f0), str(f0.dtype))
    report.same("RMVPEPitchExtractor.py", f0, demo.f0_hz)
    if not exported("--kind", "mel-pitch", "--threshold-for", "0.05"):
        return
    import onnx

    # Its spectrogram needs librosa; ours is the same. Its loader of float32 is onnx.load.
    log_mel = SimpleNamespace(to=lambda device: MelExtractor(demo.estimator.model.mel))
    put("voice_changer.common.MelExtractor", MelSpectrogram=lambda *sizes, **limits: log_mel)
    put("voice_changer.common.OnnxLoader", load_onnx_model=lambda file, is_half: onnx.load(file))
    module = importlib.import_module("voice_changer.RVC.pitchExtractor.RMVPEOnnxPitchExtractor")
    whole = 28 * 5120 - HOP  # 896 frames: the network needs a multiple of 32, and pads others without the audio
    f0 = module.RMVPEOnnxPitchExtractor(EXPORTED).extract(audio[:whole], RATE_HZ, HOP)
    report.same("RMVPEOnnxPitchExtractor.py, a multiple of 32 frames", f0, demo.reference(demo.audio[:whole]))


def exported(*flags: str) -> bool:
    """Writes `EXPORTED` with `rmvpe export onnx`; False without onnx and onnxruntime, which this is skipped without."""
    if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
        return False
    code = command_line(["export", "onnx", "-o", EXPORTED, *flags])
    assert code == 0, f"rmvpe export onnx ended with {code}"
    return True


def device_manager() -> SimpleNamespace:
    """Stands for the hosts' manager of devices: the CPU."""
    providers: tuple[list[str], list[dict[str, str]]] = ["CPUExecutionProvider"], [{}]
    manager = SimpleNamespace(
        getDevice=lambda gpu: "cpu",
        getOnnxExecutionProvider=lambda gpu: providers,
        get_onnx_execution_provider=lambda: providers,
        use_fp16=lambda: False,
        device="cpu",
    )
    return SimpleNamespace(get_instance=lambda: manager)
