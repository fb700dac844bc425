"""Pitch trackers of other projects, and this one's, behind one function, for `rmvpe.evaluation.trackers.compare`.

A tracker hears 16 kHz mono audio and answers with an `F0Track` on its own frame times, whose `f0_hz` holds a pitch for
*every* frame for which the tracker has one (0 where it has none) and whose `voiced` is the tracker's own decision: raw
pitch accuracy judges the first, voicing the second. Each runs as its project documents it: default model, default
range, recommended threshold; where a document is silent, the docstring says what was chosen. Frame times are the
tracker's own. Of the packages below all bring their weights, so that nothing is downloaded.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rmvpe.backends import BACKENDS, is_installed
from rmvpe.errors import UserError
from rmvpe.estimator import DEFAULT_WEIGHTS, load
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
    """A tracker that is ready: what it makes of audio float32 [samples] at 16 kHz, and its settings in words."""

    hear: Callable[[np.ndarray], F0Track]
    settings: str


@dataclass(frozen=True)
class Kind:
    """How a tracker is found and made ready; it can be pickled, so that another process can do it.

    `label`: its name in pictures. `open`: from the number of threads it may use to the `Tracker`. `modules`: what has
    to be installed, any one of them if `any_of`. `package`: what pip installs. `ours`: it is this project's.
    """

    label: str
    open: Callable[[int], Tracker]
    modules: tuple[str, ...] = ()
    package: str = ""
    any_of: bool = False
    ours: bool = False

    def missing(self) -> str | None:
        """One sentence with the mend if something is not installed, else None."""
        absent = [name for name in self.modules if not is_installed(name)]
        if not absent or (self.any_of and len(absent) < len(self.modules)):
            return None
        names, verb = " and ".join(absent), "is" if len(absent) == 1 else "are"
        return f"{names} {verb} not installed: run pip install {self.package}"


def open_rmvpe(weights: str, backend: str, threads: int, *, high_register: bool = False) -> Tracker:
    """This project's own, at the default settings of `rmvpe predict` on the CPU, with a pitch in unvoiced frames too.

    `high_register` as in `DecodeConfig`. Raises UserError for weights or a backend that are not there.
    """
    estimator = load(weights, backend, "cpu").with_config(high_register=high_register)

    def hear(audio: np.ndarray) -> F0Track:
        curve = estimator.pitch_curve(audio)
        times = frame_times(len(curve.f0_hz), estimator.model.mel)
        return F0Track(times, curve.f0_hz, curve.voiced(estimator.config), curve.confidence)

    name, threshold = Path(weights).name, estimator.config.threshold
    twice = ", high register" if high_register else ""
    return Tracker(
        hear, f"weights {name}, {estimator.backend.name}, voiced from {threshold:g} (stored with them){twice}"
    )


def open_fcpe(threads: int) -> Tracker:
    """FCPE, bundled model fcpe_c_v001 of torchfcpe.

    Its README recommends the decoder local_argmax and the threshold 0.006; the range is the model's own (its
    `infer` sets no other). It gives samples // 160 + 1 values at a hop of 160, read here as k x 10 ms, as its README
    does. What `infer` would set to 0 under the threshold is kept as pitch here; voicing is the same.
    """
    import torch
    from torchfcpe import spawn_bundled_infer_model

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its settings
        model = spawn_bundled_infer_model(device="cpu")
    network, limits = model.model, model.get_model_f0_range()

    def hear(audio: np.ndarray) -> F0Track:
        with torch.inference_mode():
            salience = network(model.wav2mel(torch.from_numpy(audio)[None, :, None], RATE_HZ))  # [1, frames, bins]
            cents = network.latent2cents_local_decoder(salience, mask=False)
            f0_hz = network.cent_to_f0(cents)[0, :, 0].numpy()
            confidence = salience.amax(dim=-1)[0].numpy()
        return F0Track(HOP_S * np.arange(len(f0_hz)), f0_hz, confidence > FCPE_THRESHOLD, confidence)

    band = f"{limits['f0_min']:.1f}-{limits['f0_max']:.1f} Hz"
    return Tracker(hear, f"fcpe_c_v001, local_argmax, {band}, voiced above {FCPE_THRESHOLD} (README)")


def open_swift(threads: int) -> Tracker:
    """SwiftF0: its one model, full range, its own 16 ms frames and times; voiced from confidence 0.5 (README)."""
    from swift_f0 import SwiftF0
    from swift_f0.core import FMAX, FMIN

    model = SwiftF0(threads=threads)

    def hear(audio: np.ndarray) -> F0Track:
        result = model.detect(audio, RATE_HZ)
        voiced = result.confidence >= SWIFT_THRESHOLD
        return F0Track(result.timestamps, result.pitch_hz, voiced, result.confidence)

    return Tracker(hear, f"16 ms frames, {FMIN:g}-{FMAX:g} Hz, voiced from {SWIFT_THRESHOLD} (README)")


def open_crepe(capacity: str, threads: int) -> Tracker:
    """CREPE ("full" or "tiny") by torchcrepe, its default range, hop 10 ms, frame k at k hops; voiced from 0.21.

    The threshold is its README's; the median filter shown there spans 10-20 ms and so is no filter at this hop, and its
    optional silence gate is left out, as it mutes tones that are far from silent. Of its decoders "weighted_argmax" is
    taken, which its README names as the original implementation's: its default, Viterbi, stays at the highest bin
    wherever the network is not sure (inside music, RPA 0 % at 0 dB on two files), which would be no fair picture.
    Frames go through in batches of 512 (the README: what memory allows). torchcrepe dithers the cents of its bins by up
    to 20 cents from numpy's global generator, which is therefore seeded, so that figures repeat.
    """
    import torch
    import torchcrepe

    low_hz, high_hz = CREPE_RANGE_HZ

    def hear(audio: np.ndarray) -> F0Track:
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
        hear, f"{capacity} model, weighted_argmax, {band}, voiced from {CREPE_THRESHOLD} (torchcrepe's README)"
    )


def open_pesto(threads: int) -> Tracker:
    """PESTO: its default model mir-1k_g7 and reduction, step 10 ms, frame k at k steps as its `predict` says.

    It documents no voicing threshold. Of 0.05, 0.1, 0.2, 0.3, 0.5 and 0.7, 0.2 gave it the highest overall accuracy on
    singing, alone and with music at 10 dB (SSVD, four files), so the choice is not to its disadvantage.
    """
    import pesto
    import torch

    model = pesto.load_model(PESTO_MODEL, step_size=1000 * HOP_S, sampling_rate=RATE_HZ)

    def hear(audio: np.ndarray) -> F0Track:
        with torch.inference_mode():
            f0_hz, confidence, _ = model(torch.from_numpy(audio), convert_to_freq=True, return_activations=False)
        times = HOP_S * np.arange(len(f0_hz))
        return F0Track(times, f0_hz.numpy(), confidence.numpy() >= PESTO_THRESHOLD, confidence.numpy())

    return Tracker(hear, f"{PESTO_MODEL}, voiced from {PESTO_THRESHOLD} (none documented: the best of six)")


def open_praat(threads: int) -> Tracker:
    """Praat's To Pitch (ac) with its standard values, by parselmouth: time step 0.75 / 75 Hz = 10 ms, Praat's times.

    https://www.fon.hum.uva.nl/praat/manual/Sound__To_Pitch__raw_ac____.html. Where Praat decides for unvoiced, the
    strongest of its pitch candidates is kept as pitch.
    """
    import parselmouth

    low_hz, high_hz = PRAAT_RANGE_HZ

    def hear(audio: np.ndarray) -> F0Track:
        pitch = parselmouth.Sound(audio.astype(np.float64), RATE_HZ).to_pitch_ac(
            time_step=HOP_S,
            pitch_floor=low_hz,
            pitch_ceiling=high_hz,
            silence_threshold=PRAAT_SILENCE,
            voicing_threshold=PRAAT_VOICING,
        )
        selected = pitch.selected_array
        candidates = pitch.to_array()  # [candidates, frames]; fewer than the most are filled with nan
        heard = (candidates["frequency"] > 0) & (candidates["frequency"] <= high_hz)
        best = np.where(heard, candidates["strength"], -np.inf).argmax(axis=0)[None]
        guess = np.take_along_axis(np.where(heard, candidates["frequency"], 0.0), best, axis=0)[0]
        voiced = selected["frequency"] > 0
        return F0Track(pitch.xs(), np.where(voiced, selected["frequency"], guess), voiced, selected["strength"])

    settings = f"{low_hz:g}-{high_hz:g} Hz, silence {PRAAT_SILENCE}, voicing {PRAAT_VOICING} (standard values)"
    return Tracker(hear, f"To Pitch (ac) of Praat {parselmouth.PRAAT_VERSION}, {settings}")


def open_pyin(threads: int) -> Tracker:
    """pYIN by librosa: its documented range C2 to C7, at its 22.05 kHz and 2048 samples (93 ms) per frame.

    Audio is resampled to that rate first; hop 220 samples (9.98 ms), frame k at k hops (`librosa.times_like`).
    Unvoiced frames keep its best guess (`fill_na=None`). Voicing is its own flag.
    """
    import librosa
    import soxr

    low_hz, high_hz = (float(librosa.note_to_hz(note)) for note in PYIN_NOTES)

    def hear(audio: np.ndarray) -> F0Track:
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
    return Tracker(hear, f"librosa {librosa.__version__}, {settings}")


PEERS = {
    "fcpe": Kind("FCPE", open_fcpe, ("torchfcpe",), "torchfcpe"),
    "swift-f0": Kind("SwiftF0", open_swift, ("swift_f0",), "swift-f0"),
    "crepe": Kind("CREPE", partial(open_crepe, "full"), ("torchcrepe",), "torchcrepe"),
    "crepe-tiny": Kind("CREPE tiny", partial(open_crepe, "tiny"), ("torchcrepe",), "torchcrepe"),
    "pesto": Kind("PESTO", open_pesto, ("pesto",), "pesto-pitch"),
    "praat": Kind("Praat", open_praat, ("parselmouth",), "praat-parselmouth"),
    "pyin": Kind("pYIN", open_pyin, ("librosa",), "librosa"),
}
OWN = "rmvpe"


def find_trackers(names: Sequence[str], backend: str = "auto", *, high_register: bool = False) -> dict[str, Kind]:
    """The trackers of these names: "rmvpe" (the bundled weights), "rmvpe:WEIGHTS", or one of `PEERS`.

    `backend`: the framework of this project's own; `high_register`: its setting of `DecodeConfig`. Raises UserError for
    a name that is none of them.
    """
    return {name: _kind(name, backend, high_register) for name in dict.fromkeys(name.strip() for name in names)}


def _kind(name: str, backend: str, high_register: bool) -> Kind:
    own, _, weights = name.partition(":")
    if own == OWN:
        label = f"{OWN} {Path(weights).stem}" if weights else OWN
        modules = BACKENDS if backend == "auto" else (backend,)
        package = " or ".join(f"'rmvpe[{framework}]'" for framework in modules)
        opener = partial(open_rmvpe, weights or DEFAULT_WEIGHTS, backend, high_register=high_register)
        return Kind(label, opener, modules, package, any_of=True, ours=True)
    if name not in PEERS:
        raise UserError(f"{name!r} is no tracker: choose among {OWN}, {OWN}:WEIGHTS, {', '.join(PEERS)}")
    return PEERS[name]


def on_grid(track: F0Track, n_frames: int) -> F0Track:
    """The track at k x 10 ms, k = 0 to n_frames - 1; one that lies there already comes back as it is.

    Between two pitches log-frequency is interpolated, voicing is the nearest frame's; nothing is assumed beyond half a
    frame outside the tracker's own times.
    """
    times = HOP_S * np.arange(n_frames)
    track = replace(track, f0_hz=np.nan_to_num(track.f0_hz, nan=0.0))
    track = replace(track, voiced=track.voiced & (track.f0_hz > 0))
    if len(track) == n_frames and np.allclose(track.time_s, times, rtol=0.0, atol=1e-9):
        return track
    return track.resampled(HOP_S, n_frames)
