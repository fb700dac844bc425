"""Does an ONNX file give what the estimator gives? It runs as other programs run it, in onnxruntime on the CPU."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime

from rmvpe import audio
from rmvpe.checkpoint.store import Checkpoint
from rmvpe.config import DecodeConfig
from rmvpe.decode import decode
from rmvpe.errors import UserError
from rmvpe.estimator import Estimator, default_config
from rmvpe.evaluation.agreement import CENTS_TOLERANCE, FLIP_MARGIN
from rmvpe.framing import plan_padding
from rmvpe.mel import log_mel
from rmvpe.pitch import cents_between
from rmvpe_ort.device import resolve
from rmvpe_ort.export import ExportSettings
from rmvpe_ort.infer import ERRORS_ONLY, Backend

RECORDING = resources.files("rmvpe_ort") / "check.flac"
SALIENCE_FOR_CENTS = 20.0  # a shifted salience weighs the nine bins otherwise: 2.7 cents on the built-in recording


@dataclass(frozen=True)
class Check:
    """What a comparison found. cents, flips: of f0 and voicing; flip_distance: of confidences from the threshold."""

    frames: int
    voiced_both: int
    cents: float
    flips: int
    flip_distance: float

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.voiced_both} voiced in both, max |Δ f0| {self.cents:.4f} cents, "
            f"{self.flips} voicing flips"
        )


def recording(path: str | Path | None = None) -> np.ndarray:
    """Samples [n] at 16 kHz of a sound file, by default of the built-in one. Raises UserError as `rmvpe.audio.read`."""
    if path is not None:
        return audio.read(path).samples
    return audio.read(RECORDING.read_bytes()).samples


def check(
    file: Path, checkpoint: Checkpoint, settings: ExportSettings, samples: np.ndarray, *, name: Path | None = None
) -> Check:
    """Compare a file that was made with `settings` with the estimator of its checkpoint, on 16 kHz audio [n].

    name: what messages call it, where it does not have its final name yet. Raises UserError if they
    disagree, or if no frame of the audio is voiced, so that nothing was compared.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(file), options, providers=resolve("cpu").providers)
    decoding = default_config(checkpoint)
    if settings.kind != "waveform":
        decoding = DecodeConfig(silence_gate_db=-np.inf).resolved(decoding)  # such a file never sees the audio
    curve = Estimator(Backend(checkpoint, "cpu"), checkpoint.config, decoding).pitch_curve(samples, 16000)
    voiced = curve.voiced(decoding)

    threshold = np.array(usual_threshold(checkpoint, settings), np.float32)
    if settings.kind == "waveform":
        f0_hz, unvoiced, *_ = session.run(None, {"waveform": samples[None], "threshold": threshold})
        found_hz, found = f0_hz[0], ~unvoiced[0]
    elif settings.kind == "mel-pitch":
        (f0_hz,) = session.run(None, {"mel": spectrogram(samples, checkpoint), "threshold": threshold})
        found_hz = f0_hz[0][: len(voiced)]
        found = found_hz > 0
    else:
        (salience,) = session.run(None, {settings.input_name: spectrogram(samples, checkpoint)})
        found_hz, found, _ = decode(salience[0][: len(voiced)], reader_of(decoding, settings))
    return _judged(name or file, found_hz, found, curve.f0_hz, voiced, curve.confidence, decoding, settings)


def _judged(
    file: Path,
    found_hz: np.ndarray,
    found: np.ndarray,
    f0_hz: np.ndarray,
    voiced: np.ndarray,
    confidence: np.ndarray,
    decoding: DecodeConfig,
    settings: ExportSettings,
) -> Check:
    both, flipped = found & voiced, found != voiced
    if not both.any():
        raise UserError(f"{file} could not be checked: no frame of the recording is voiced; give another --audio")
    cents = float(np.abs(cents_between(found_hz[both].astype(np.float64), f0_hz[both])).max())
    distance = np.abs(confidence[flipped] - decoding.known_threshold)
    result = Check(len(voiced), int(both.sum()), cents, int(flipped.sum()), float(distance.max(initial=0.0)))
    tolerance = CENTS_TOLERANCE if settings.salience_for is None else SALIENCE_FOR_CENTS
    if not (cents <= tolerance and result.flip_distance <= FLIP_MARGIN):
        raise UserError(f"{file} disagrees with its weights ({result}): please report it, with the weights' name")
    return result


def usual_threshold(checkpoint: Checkpoint, settings: ExportSettings) -> float:
    """What a program passes that the file was made for."""
    if settings.threshold_for is not None and checkpoint.threshold is not None:
        return settings.threshold_for
    return default_config(checkpoint).known_threshold


def reader_of(decoding: DecodeConfig, settings: ExportSettings) -> DecodeConfig:
    """How a program reads the salience of a file of kind mel: by the calibration, or by its own number alone."""
    if settings.salience_for is None:
        return decoding
    return DecodeConfig(threshold=settings.salience_for, calibration=(1.0, 0.0))


def spectrogram(samples: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
    """Log-mel [1, bands, frames] of audio [n] and the silence up to a multiple of the network's stride."""
    config = checkpoint.config
    plan = plan_padding(len(samples), config.mel, config.time_multiple, "silence")
    return log_mel(np.pad(samples, (0, plan.zeros_right)), config.mel).T[None]
