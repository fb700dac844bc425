"""RVC and its forks: conversion, real time and the extraction for training."""

import importlib
import importlib.machinery
import os
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import soundfile

from benchmarks.host_runs.stage import HOP, Demo, Report, put, stand_in

CONFIG = SimpleNamespace(x_pad=1, x_query=6, x_center=38, x_max=41, is_half=False, device="cpu")
OCTAVE = 12
CURVE_HZ = 321.0  # of an F0 curve file that covers the second second


def main_branch(checkout: Path, demo: Demo, report: Report) -> None:
    """RVC's main branch."""
    from rmvpe.hosts.rvc import RMVPE

    stand_in("faiss", "librosa", "parselmouth", "torchaudio", "infer.hubert", "tools.cuda_graph")
    put("i18n.i18n", I18nAuto=lambda: str)
    put("infer.rmvpe", RMVPE=RMVPE)
    put("infer.audio", load_audio=read_audio)
    os.environ.update(rmvpe_root="assets/rmvpe")
    pipeline = importlib.import_module("infer.vc.pipeline").Pipeline(40000, CONFIG)
    p_len = len(demo.audio) // HOP
    coarse, f0 = pipeline.get_f0(demo.audio.astype(np.float64), p_len, 0, "rmvpe")
    report.same("vc/pipeline.py, float64 audio", f0, demo.f0_hz, gaps=False)
    report.check("vc/pipeline.py fills all gaps", bool((f0 > 0).all()), f"{int((f0 <= 0).sum())} frames of 0")
    coarse_pitch(report, "vc/pipeline.py", coarse)
    _, shifted = pipeline.get_f0(demo.audio.astype(np.float64), p_len, OCTAVE, "rmvpe")
    report.same("vc/pipeline.py, 12 semitones up", shifted, 2 * demo.f0_hz, gaps=False)
    _, f0 = pipeline.get_f0(demo.silence.astype(np.float64), len(demo.silence) // HOP, 0, "rmvpe")
    report.silent("vc/pipeline.py, silence", f0, 101)
    real_time(importlib.import_module("infer.rtrvc"), demo, report, fills=True)
    extraction(checkout / "train/dataset/extract_f0.py", ["cpu", "{folder}", "1", "rmvpe"], demo, report, fills=True)


def branch_20240604(checkout: Path, demo: Demo, report: Report) -> None:
    """RVC's branch 20240604."""
    from rmvpe.hosts.rvc import RMVPE

    stand_in(
        "faiss", "librosa", "parselmouth", "pyworld", "torchcrepe", "torchfcpe", "fairseq", "torchaudio", "configs"
    )
    stand_in("infer.lib.jit")
    put("infer.lib.rmvpe", RMVPE=RMVPE)
    put("infer.lib.audio", load_audio=read_audio)
    os.environ.update(rmvpe_root="assets/rmvpe")
    pipeline = importlib.import_module("infer.modules.vc.pipeline").Pipeline(40000, CONFIG)
    converted(pipeline.get_f0, "vc/pipeline.py", ("rmvpe", 3), demo, report)
    with patch("multiprocessing.Manager"):  # it would start a process
        module = importlib.import_module("infer.lib.rtrvc")
    real_time(module, demo, report, fills=False)
    script = checkout / "infer/modules/train/extract/extract_f0_print.py"
    extraction(script, ["{folder}", "1", "rmvpe"], demo, report, fills=False)


def mangio(checkout: Path, demo: Demo, report: Report) -> None:
    """Mangio-RVC-Fork."""
    module = without_its_rmvpe(checkout, checkout, report)
    pipeline = module.VC(40000, CONFIG)
    converted(pipeline.get_f0, "vc_infer_pipeline.py", ("rmvpe", 3, 128), demo, report)
    p_len = len(demo.audio) // HOP
    _, f0 = pipeline.get_f0("demo.wav", demo.audio.copy(), p_len, 0, "hybrid[rmvpe+rmvpe]", 3, 128)
    loud = demo.audio / np.quantile(np.abs(demo.audio), 0.999)
    report.same("vc_infer_pipeline.py, hybrid", f0, demo.reference(loud)[1:])


def aicovergen(checkout: Path, demo: Demo, report: Report) -> None:
    """AICoverGen; its hybrid methods have no RMVPE."""
    module = without_its_rmvpe(checkout, checkout / "src", report)
    converted(module.VC(40000, CONFIG).get_f0, "vc_infer_pipeline.py", ("rmvpe", 3, 128), demo, report)


def without_its_rmvpe(checkout: Path, folder: Path, report: Report) -> Any:
    """The pipeline of a project with a file rmvpe.py beside it, which is left out as the docs say; no line changes."""
    import rmvpe

    stand_in("faiss", "librosa", "parselmouth", "pyworld", "torchcrepe")
    vars(np).setdefault("int", int)  # the file needs numpy below 1.24 for it
    emptied = Path.cwd() / "without_rmvpe"
    emptied.mkdir()
    shutil.copy(folder / "vc_infer_pipeline.py", emptied)
    sys.path[:] = [str(emptied), *(path for path in sys.path if path != str(checkout))]
    spec = importlib.machinery.PathFinder.find_spec("rmvpe", sys.path)
    found = spec.origin if spec else None
    report.check("from rmvpe import RMVPE, unchanged", found == rmvpe.__file__, f"finds {found}")
    return importlib.import_module("vc_infer_pipeline")


def fumiama(checkout: Path, demo: Demo, report: Report) -> None:
    """fumiama's RVC, with the real numba."""
    from rmvpe.hosts.fumiama import RMVPE

    stand_in("rvc.jit", "rvc.ipex")
    put("rvc.f0.rmvpe", RMVPE=RMVPE)
    generator = importlib.import_module("rvc.f0.gen").Generator(Path("nowhere"), False, 1, "cpu")
    coarse, f0 = generator.calculate(demo.audio, demo.n_frames, 0, "rmvpe", None)
    report.same("f0/gen.py, one frame per 10 ms", f0, demo.f0_hz, gaps=False)
    report.check("f0/gen.py fills all gaps", bool((f0 > 0).all()), f"{int((f0 <= 0).sum())} frames of 0")
    coarse_pitch(report, "f0/gen.py", coarse)
    p_len = len(demo.audio) // HOP
    _, f0 = generator.calculate(demo.audio, p_len, OCTAVE, "rmvpe", None)
    report.same("f0/gen.py, p_len frames, 12 semitones up", f0, resized(2 * demo.f0_hz, p_len), gaps=False)
    _, f0 = generator.calculate(demo.silence, None, 0, "rmvpe", None)
    report.silent("f0/gen.py, silence", f0, 100)


def vietnamese(checkout: Path, demo: Demo, report: Report) -> None:
    """Vietnamese-RVC, with the real numba."""
    from rmvpe.hosts.vietnamese import RMVPE

    stand_in("librosa", "parselmouth", "main.library.utils", "main.library.predictors.CREPE")
    stand_in("main.library.predictors.WORLD")
    config = SimpleNamespace(providers=["CPUExecutionProvider"], int8=False, compile_all=False, compile_mode=None)
    put("main.app.variables", config=config, configs={"predictors_path": "."}, logger=MagicMock(), translations={})
    put("main.library.predictors.RMVPE.RMVPE", RMVPE=RMVPE)
    module = importlib.import_module("main.library.predictors.Generator")
    p_len = len(demo.audio) // HOP
    for tensor in (False, True):
        f0 = module.Generator(return_tensor=tensor).get_f0_rmvpe(demo.audio, p_len)
        report.same(f"Generator.py, return_tensor={tensor}", f0, demo.f0_hz)
    low, high = 200, 400
    clipped = module.Generator(f0_min=low, f0_max=high).get_f0_rmvpe(demo.audio, p_len, clipping=True)
    inside = np.where((demo.f0_hz >= low) & (demo.f0_hz <= high), demo.f0_hz, 0)
    report.same(f"Generator.py, clipping to {low}-{high} Hz", clipped, inside)


def converted(get_f0: Any, what: str, method: tuple[Any, ...], demo: Demo, report: Report) -> None:
    """A `get_f0(path, x, p_len, key, *method, curve)` of the older pipelines, which keep zeros."""
    p_len = len(demo.audio) // HOP
    coarse, f0 = get_f0("demo.wav", demo.audio.astype(np.float64), p_len, 0, *method)
    report.same(f"{what}, float64 audio", f0, demo.f0_hz)
    coarse_pitch(report, what, coarse)
    _, f0 = get_f0("demo.wav", demo.audio.astype(np.float64), p_len, OCTAVE, *method)
    report.same(f"{what}, 12 semitones up", f0, 2 * demo.f0_hz)
    curve = np.array([[0.0, CURVE_HZ], [1.0, CURVE_HZ]])
    _, f0 = get_f0("demo.wav", demo.audio.astype(np.float64), p_len, 0, *method, curve)
    start = CONFIG.x_pad * 100
    expected = demo.f0_hz.copy()
    expected[start : start + 101] = CURVE_HZ
    report.same(f"{what}, a curve file from {CONFIG.x_pad} s on", f0, expected)
    _, f0 = get_f0("silent.wav", demo.silence.astype(np.float64), len(demo.silence) // HOP, 0, *method)
    report.silent(f"{what}, silence", f0, 101)


def real_time(module: Any, demo: Demo, report: Report, *, fills: bool) -> None:
    """The class of rtrvc.py, made without a voice model: windows as tensors of torch."""
    import torch

    voice = module.RVC.__new__(module.RVC)
    vars(voice).update(device="cpu", is_half=False, config=SimpleNamespace(use_jit=False))
    vars(voice).update(f0_mel_min=1127 * np.log(1 + 50 / 700), f0_mel_max=1127 * np.log(1 + 1100 / 700))
    for audio in demo.windows():
        _, f0 = voice.get_f0_rmvpe(torch.from_numpy(audio.copy()), 0)
        name = f"rtrvc.py, a window of {len(audio) // 16} ms"
        report.same(name, f0, demo.reference(audio), gaps=not fills)
        voiced = f0[3:-1] > 0  # what is kept
        passed = len(voiced) == len(audio) // HOP - 3 and bool(voiced.any())
        report.check(f"{name}, what is kept", passed, f"{int(voiced.sum())} of {len(voiced)} frames voiced")


def extraction(script: Path, arguments: list[str], demo: Demo, report: Report, *, fills: bool) -> None:
    """A script that writes two .npy files for each file of a training set, run in this process."""
    folder = Path.cwd() / "experiment"
    (folder / "1_16k_wavs").mkdir(parents=True)
    for name, audio in {"demo.wav": demo.audio, "silent.wav": demo.silence}.items():
        soundfile.write(folder / "1_16k_wavs" / name, audio, 16000, subtype="FLOAT")
    with patch("multiprocessing.Process", InlineProcess), patch.object(sys, "argv", [script.name]):
        sys.argv += [argument.format(folder=folder) for argument in arguments]
        runpy.run_path(str(script), run_name="__main__")
    f0 = np.load(folder / "2b-f0nsf" / "demo.wav.npy")
    coarse = np.load(folder / "2a_f0" / "demo.wav.npy")
    report.same(f"{script.name}, 2b-f0nsf", f0, demo.f0_hz, gaps=not fills)
    coarse_pitch(report, f"{script.name}, 2a_f0", coarse)
    silent = folder / "2b-f0nsf" / "silent.wav.npy"
    if fills:
        report.check(f"{script.name}, a silent file", not silent.exists(), "written" if silent.exists() else "left out")
    else:
        report.silent(f"{script.name}, a silent file", np.load(silent), 101)


class InlineProcess:
    """A process that runs at once, in this one."""

    def __init__(self, target: Any, args: tuple[Any, ...]):
        self._target, self._args = target, args

    def start(self) -> None:
        self._target(*self._args)

    def join(self) -> None:
        pass


def read_audio(path: str, rate_hz: int) -> np.ndarray:
    """Stands for the hosts' reading through ffmpeg."""
    audio, rate = soundfile.read(path, dtype="float32")
    assert rate == rate_hz
    return np.asarray(audio)


def coarse_pitch(report: Report, what: str, coarse: np.ndarray) -> None:
    """The numbers that index the network's embedding of pitch."""
    passed = np.issubdtype(coarse.dtype, np.integer) and coarse.min() >= 1 and coarse.max() <= 255
    report.check(f"{what}, coarse pitch", passed, f"{coarse.dtype}, {coarse.min()} to {coarse.max()} of 1 to 255")


def resized(f0_hz: np.ndarray, n_frames: int) -> np.ndarray:
    """f0 read at the frames i * T / n_frames, 0 where a neighbour is: fumiama's rule, written once more."""
    position = np.arange(n_frames) * len(f0_hz) / n_frames
    before = np.floor(position).astype(int)
    after = np.minimum(before + 1, len(f0_hz) - 1)
    share = position - before
    voiced = (f0_hz[before] > 0) & ((f0_hz[after] > 0) | (share == 0))
    return np.where(voiced, f0_hz[before] * (1 - share) + f0_hz[after] * share, 0.0)
