"""Adapters: pitch trackers of other projects, and this one, behind one interface for `trackers.compare`.

A tracker takes 16 kHz mono audio and returns an `F0Track` on its own frame times. `f0_hz` holds a pitch for *every*
frame for which the tracker has one (0 where it has none), and `voiced` is the tracker's own decision: raw pitch
accuracy uses the first, voicing scores the second. Each tracker runs as its project documents it: default model,
default range, recommended threshold. Where the documentation says nothing, the docstring here says what was chosen.
All packages below contain their weights, so nothing is downloaded.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rmvpe.backends import BACKENDS, INSTALL, MODULES, is_installed
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, Estimator, load
from rmvpe.framing import frame_times
from rmvpe.track import F0Track

RATE_HZ = 16_000
HOP_SAMPLES, HOP_S = 160, 0.01  # the common grid: frame k at k x 10 ms
FCPE_THRESHOLD = 0.006
SWIFT_THRESHOLD = 0.5
CREPE_THRESHOLD, CREPE_RANGE_HZ, CREPE_BATCH = 0.21, (50.0, 2006.0), 512
PESTO_MODEL, PESTO_THRESHOLD = "mir-1k_g7", 0.2
PRAAT_RANGE_HZ, PRAAT_SILENCE, PRAAT_VOICING = (75.0, 600.0), 0.03, 0.45
PYIN_RATE_HZ, PYIN_FRAME, PYIN_HOP = 22_050, 2048, 220
PYIN_NOTES = ("C2", "C7")


@dataclass(frozen=True)
class Tracker:
    """A tracker that is ready to use.

    `predict`: from 16 kHz mono audio float32 [samples] to its `F0Track`. `settings`: one line for the report.
    """

    predict: Callable[[np.ndarray], F0Track]
    settings: str


@dataclass(frozen=True)
class TrackerSpec:
    """How to find and load a tracker. It can be pickled, so that another process can load the tracker.

    `label`: its name in tables and pictures. `open`: loads the `Tracker`, given the number of threads that it may use.
    `modules`: what must be importable, all of them, or one of them if `any_of`. `package`: what pip installs.
    `ours`: whether it is this project's own.
    """

    label: str
    open: Callable[[int], Tracker]
    modules: tuple[str, ...] = ()
    package: str = ""
    any_of: bool = False
    ours: bool = False

    def missing(self) -> str | None:
        """One sentence with the command to run if something is not installed, else None."""
        absent = [name for name in self.modules if not is_installed(name)]
        if not absent or (self.any_of and len(absent) < len(self.modules)):
            return None
        names, verb = " and ".join(absent), "is" if len(absent) == 1 else "are"
        return f"{names} {verb} not installed: run pip install {self.package}"


def track_everywhere(estimator: Estimator, audio: np.ndarray) -> F0Track:
    """As `Estimator.from_audio` of 16 kHz mono audio [samples], but unvoiced frames keep their pitch."""
    curve = estimator.pitch_curve(audio, RATE_HZ)
    times = frame_times(len(curve.f0_hz), estimator.model.mel)
    return F0Track(times, curve.f0_hz, curve.voiced(estimator.config), curve.confidence)


def open_rmvpe(weights: str, backend: str, threads: int, *, high_register: bool = False) -> Tracker:
    """This project's own tracker, with the default settings of `rmvpe predict`, on the CPU.

    `high_register` as in `DecodeConfig`. Raises UserError for weights or a backend that do not exist.
    """
    estimator = load(weights, backend, "cpu").with_config(high_register=high_register)
    name, threshold = Path(weights).name, estimator.config.known_threshold
    settings = f"weights {name}, {estimator.backend.name}, voiced from {threshold:g} (stored with them)"
    return Tracker(partial(track_everywhere, estimator), settings + (", high register" if high_register else ""))


def open_fcpe(threads: int) -> Tracker:
    """FCPE (https://github.com/CNChTu/FCPE), the model fcpe_c_v001 that torchfcpe contains.

    Its README recommends the decoder local_argmax and the threshold 0.006. The range is the model's own; its `infer`
    sets no other. It returns samples // 160 + 1 values at a hop of 160; value k is at k x 10 ms, as in its README.
    `infer` sets the pitch below the threshold to 0; here it is kept. Voicing is the same.
    """
    import torch
    from torchfcpe import spawn_bundled_infer_model

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its settings
        model = spawn_bundled_infer_model(device="cpu")
    network, limits = model.model, model.get_model_f0_range()

    def predict(audio: np.ndarray) -> F0Track:
        with torch.inference_mode():
            salience = network(model.wav2mel(torch.from_numpy(audio)[None, :, None], RATE_HZ))  # [1, frames, bins]
            cents = network.latent2cents_local_decoder(salience, mask=False)
            f0_hz = network.cent_to_f0(cents)[0, :, 0].numpy()
            confidence = salience.amax(dim=-1)[0].numpy()
        return F0Track(HOP_S * np.arange(len(f0_hz)), f0_hz, confidence > FCPE_THRESHOLD, confidence)

    band = f"{limits['f0_min']:.1f}-{limits['f0_max']:.1f} Hz"
    return Tracker(predict, f"fcpe_c_v001, local_argmax, {band}, voiced above {FCPE_THRESHOLD} (README)")


def open_swift(threads: int) -> Tracker:
    """SwiftF0 (https://github.com/lars76/swift-f0): its only model, full range, its own 16 ms frames and times.

    Voiced from confidence 0.5 on (README).
    """
    from swift_f0 import SwiftF0
    from swift_f0.core import FMAX, FMIN

    model = SwiftF0(threads=threads)

    def predict(audio: np.ndarray) -> F0Track:
        result = model.detect(audio, RATE_HZ)
        voiced = result.confidence >= SWIFT_THRESHOLD
        return F0Track(result.timestamps, result.pitch_hz, voiced, result.confidence)

    return Tracker(predict, f"16 ms frames, {FMIN:g}-{FMAX:g} Hz, voiced from {SWIFT_THRESHOLD} (README)")


def open_crepe(capacity: str, threads: int) -> Tracker:
    """CREPE (Kim et al. 2018, arXiv 1802.06182), model "full" or "tiny", by torchcrepe.

    Default range, hop 10 ms, frame k at k hops, voiced from 0.21 on (torchcrepe's README). The median filter of the
    README spans 10 to 20 ms, so at this hop it does nothing. The optional silence gate is not used, because it mutes
    tones that are far from silent. The decoder is "weighted_argmax", which the README calls the original
    implementation's. The default, Viterbi, stays at the highest bin where the network is not sure (inside music, RPA
    0 % at 0 dB on two files), which would not be a fair comparison. Frames are processed in batches of 512; the README
    recommends as many as memory allows. torchcrepe adds up to 20 cents of dither to its bins from numpy's global
    generator. The generator is seeded here, so that the scores can be repeated.
    """
    import torch
    import torchcrepe

    low_hz, high_hz = CREPE_RANGE_HZ

    def predict(audio: np.ndarray) -> F0Track:
        np.random.seed(0)  # noqa: NPY002 (see above)
        f0_hz, periodicity = torchcrepe.predict(
            torch.from_numpy(audio)[None],
            RATE_HZ,
            HOP_SAMPLES,
            low_hz,
            high_hz,
            capacity,
            torchcrepe.decode.weighted_argmax,
            return_periodicity=True,
            batch_size=CREPE_BATCH,
        )
        confidence = periodicity[0].numpy()
        times = HOP_S * np.arange(len(confidence))
        return F0Track(times, f0_hz[0].numpy(), confidence >= CREPE_THRESHOLD, confidence)

    band = f"{low_hz:g}-{high_hz:g} Hz"
    return Tracker(
        predict, f"{capacity} model, weighted_argmax, {band}, voiced from {CREPE_THRESHOLD} (torchcrepe's README)"
    )


def open_pesto(threads: int) -> Tracker:
    """PESTO (Riou et al. 2023, arXiv 2309.02265), its default model mir-1k_g7 and default reduction.

    Step 10 ms, frame k at k steps, as in its own `predict`. It documents no voicing threshold. Of 0.05, 0.1, 0.2, 0.3,
    0.5 and 0.7, the threshold 0.2 gave the highest overall accuracy on singing, alone and with music at 10 dB (SSVD,
    four files), so the choice is the best for PESTO.
    """
    import pesto
    import torch

    model = pesto.load_model(PESTO_MODEL, step_size=1000 * HOP_S, sampling_rate=RATE_HZ)

    def predict(audio: np.ndarray) -> F0Track:
        with torch.inference_mode():
            f0_hz, confidence, _ = model(torch.from_numpy(audio), convert_to_freq=True, return_activations=False)
        times = HOP_S * np.arange(len(f0_hz))
        return F0Track(times, f0_hz.numpy(), confidence.numpy() >= PESTO_THRESHOLD, confidence.numpy())

    return Tracker(predict, f"{PESTO_MODEL}, voiced from {PESTO_THRESHOLD} (none documented: the best of six)")


def open_praat(threads: int) -> Tracker:
    """Praat's To Pitch (ac) with its standard values, by parselmouth: time step 0.75 / 75 Hz = 10 ms, Praat's times.

    https://www.fon.hum.uva.nl/praat/manual/Sound__To_Pitch__raw_ac____.html. In unvoiced frames the pitch is the
    strongest of Praat's pitch candidates.
    """
    import parselmouth

    low_hz, high_hz = PRAAT_RANGE_HZ

    def predict(audio: np.ndarray) -> F0Track:
        pitch = parselmouth.Sound(audio.astype(np.float64), RATE_HZ).to_pitch_ac(
            time_step=HOP_S,
            pitch_floor=low_hz,
            pitch_ceiling=high_hz,
            silence_threshold=PRAAT_SILENCE,
            voicing_threshold=PRAAT_VOICING,
        )
        selected = pitch.selected_array
        candidates = pitch.to_array()  # [candidates, frames]; NaN where a frame has fewer candidates
        is_pitch = (candidates["frequency"] > 0) & (candidates["frequency"] <= high_hz)
        strongest = np.where(is_pitch, candidates["strength"], -np.inf).argmax(axis=0)[None]
        guess = np.take_along_axis(np.where(is_pitch, candidates["frequency"], 0.0), strongest, axis=0)[0]
        voiced = selected["frequency"] > 0
        return F0Track(pitch.xs(), np.where(voiced, selected["frequency"], guess), voiced, selected["strength"])

    settings = f"{low_hz:g}-{high_hz:g} Hz, silence {PRAAT_SILENCE}, voicing {PRAAT_VOICING} (standard values)"
    return Tracker(predict, f"To Pitch (ac) of Praat {parselmouth.PRAAT_VERSION}, {settings}")


def open_pyin(threads: int) -> Tracker:
    """pYIN (Mauch and Dixon 2014, doi 10.1109/ICASSP.2014.6853678) by librosa, with its documented range C2 to C7.

    Audio is resampled to librosa's 22.05 kHz. Frames have 2048 samples (93 ms), the hop is 220 samples (9.98 ms), and
    frame k is at k hops (`librosa.times_like`). Unvoiced frames keep the best guess (`fill_na=None`). Voicing is
    pYIN's own flag.
    """
    import librosa
    import soxr

    low_hz, high_hz = (float(librosa.note_to_hz(note)) for note in PYIN_NOTES)

    def predict(audio: np.ndarray) -> F0Track:
        f0_hz, voiced, probability = librosa.pyin(
            soxr.resample(audio, RATE_HZ, PYIN_RATE_HZ),
            fmin=low_hz,
            fmax=high_hz,
            sr=PYIN_RATE_HZ,
            frame_length=PYIN_FRAME,
            hop_length=PYIN_HOP,
            fill_na=None,
        )
        times = librosa.times_like(f0_hz, sr=PYIN_RATE_HZ, hop_length=PYIN_HOP)
        return F0Track(times, f0_hz, voiced, probability)

    settings = f"{'-'.join(PYIN_NOTES)}, 93 ms frames at 22.05 kHz, hop 9.98 ms, its own voicing (documented values)"
    return Tracker(predict, f"librosa {librosa.__version__}, {settings}")


PEERS = {
    "fcpe": TrackerSpec("FCPE", open_fcpe, ("torchfcpe",), "torchfcpe"),
    "swift-f0": TrackerSpec("SwiftF0", open_swift, ("swift_f0",), "swift-f0"),
    "crepe": TrackerSpec("CREPE", partial(open_crepe, "full"), ("torchcrepe",), "torchcrepe"),
    "crepe-tiny": TrackerSpec("CREPE tiny", partial(open_crepe, "tiny"), ("torchcrepe",), "torchcrepe"),
    "pesto": TrackerSpec("PESTO", open_pesto, ("pesto",), "pesto-pitch"),
    "praat": TrackerSpec("Praat", open_praat, ("parselmouth",), "praat-parselmouth"),
    "pyin": TrackerSpec("pYIN", open_pyin, ("librosa",), "librosa"),
}
OWN = "rmvpe"


def find_trackers(
    names: Sequence[str], backend: str = "auto", *, high_register: bool = False
) -> dict[str, TrackerSpec]:
    """The trackers of these names: "rmvpe" (the bundled weights), "rmvpe:WEIGHTS", or one of `PEERS`.

    `backend` and `high_register` (as in `DecodeConfig`) are for this project's own trackers. Raises UserError for an
    unknown name.
    """
    return {name: _spec(name, backend, high_register) for name in dict.fromkeys(name.strip() for name in names)}


def _spec(name: str, backend: str, high_register: bool) -> TrackerSpec:
    own, _, weights = name.partition(":")
    if own == OWN:
        label = f"{OWN} {Path(weights).stem}" if weights else OWN
        backends = BACKENDS if backend == "auto" else (backend,)
        package = " or pip install ".join(INSTALL[name] for name in backends)
        modules = tuple(MODULES[name] for name in backends)
        opener = partial(open_rmvpe, weights or DEFAULT_WEIGHTS, backend, high_register=high_register)
        return TrackerSpec(label, opener, modules, package, any_of=True, ours=True)
    if name not in PEERS:
        raise UserError(f"{name!r} is not a tracker: choose among {OWN}, {OWN}:WEIGHTS, {', '.join(PEERS)}")
    return PEERS[name]


def on_grid(track: F0Track, n_frames: int) -> F0Track:
    """The track at the times k x 10 ms, k = 0 to n_frames - 1. A track that already has these times is not changed.

    Between two pitches log-frequency is interpolated; voicing is that of the nearest frame. More than half a frame
    before the first and after the last time of the tracker there is no pitch.
    """
    times = HOP_S * np.arange(n_frames)
    track = replace(track, f0_hz=np.nan_to_num(track.f0_hz, nan=0.0))
    track = replace(track, voiced=track.voiced & (track.f0_hz > 0))
    if len(track) == n_frames and np.allclose(track.time_s, times, rtol=0.0, atol=1e-9):
        return track
    return track.resampled(HOP_S, n_frames, start_s=0.0)
