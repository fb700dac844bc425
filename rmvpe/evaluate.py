"""Accuracy of a network on a data set with known f0, at chosen voice-to-music ratios.

The mix is made here, deterministically: voice plus its own accompaniment at the given ratio (`mix_at_snr`), so that
every network, framework and version meets the same audio.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rmvpe.config import DecodeConfig, ModelConfig
from rmvpe.data.augment import active_rms, mix_at_snr
from rmvpe.data.pipeline import DEFAULT_VOICE_RMS, Source
from rmvpe.decode import decode
from rmvpe.framing import frame_times, plan_padding
from rmvpe.mel import log_mel
from rmvpe.metrics import Aligned, align, lag, melody_scores, octave_errors, pool
from rmvpe.targets import f0_at_times

Network = Callable[[np.ndarray], np.ndarray]  # log-mel [B, T, n_mels] -> salience [B, T, 360]
CLEAN = float("inf")


def file_salience(network: Network, audio: np.ndarray, model: ModelConfig) -> np.ndarray:
    """Salience [frames, 360] of a whole 16 kHz clip [n] in one piece, padded with silence to the U-Net's stride."""
    plan = plan_padding(len(audio), model.mel, model.time_multiple, "silence")
    mel = log_mel(np.pad(audio, (0, plan.zeros_right)), model.mel)
    return network(mel[None])[0, : plan.n_frames]


def mixed(item: dict, snr_db: float, hop_samples: int) -> np.ndarray:
    """The item's voice with its accompaniment at `snr_db`; `CLEAN` is the voice alone."""
    if item["accompaniment"] is None or snr_db == CLEAN:
        return item["voice"]
    frames = np.arange(len(item["voice"]) // hop_samples + 1) * (hop_samples / 16000)
    level = active_rms(item["voice"], f0_at_times(item["time_s"], item["f0_hz"], frames), hop_samples)
    mix = mix_at_snr(item["voice"], item["accompaniment"], level or DEFAULT_VOICE_RMS, snr_db)
    return mix / max(1.0, float(np.abs(mix).max()))  # a wav file could not hold more


def align_file(salience: np.ndarray, item: dict, model: ModelConfig, threshold: float) -> Aligned:
    """Reference and estimate of one file on the annotation's times, pitch read whatever the voicing decision."""
    f0_hz, _, confidence = decode(salience, DecodeConfig(threshold=0.0))
    times = frame_times(len(f0_hz), model.mel)
    return align(item["time_s"], item["f0_hz"], times, f0_hz, confidence >= threshold)


def evaluate(
    network: Network,
    source: Source,
    model: ModelConfig,
    *,
    threshold: float,
    snr_db: Sequence[float] = (CLEAN, 0.0),
    indices: Iterable[int] | None = None,
) -> dict[str, dict[str, float]]:
    """Pooled scores by voice-to-music ratio ("clean", "0 dB"): RPA, RCA, OA, VR, VFA, octave errors, lag in frames."""
    parts: dict[str, list[Aligned]] = {snr_name(snr): [] for snr in snr_db}
    for index in range(len(source)) if indices is None else indices:
        item = source[index]
        for snr in snr_db:
            salience = file_salience(network, mixed(item, snr, model.mel.hop_samples), model)
            parts[snr_name(snr)].append(align_file(salience, item, model, threshold))
    return {name: scores(pool(files)) for name, files in parts.items()}


def scores(aligned: Aligned) -> dict[str, float]:
    """All figures of one pool of frames; lag in points of the annotation's grid."""
    return melody_scores(aligned) | {
        "octave": octave_errors(aligned),
        "lag": float(lag(aligned.ref_hz, aligned.est_hz)),
    }


def snr_name(snr_db: float) -> str:
    """How tables call a voice-to-music ratio."""
    return "clean" if snr_db == CLEAN else f"{snr_db:g} dB"
