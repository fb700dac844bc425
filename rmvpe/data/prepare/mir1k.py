"""MIR-1K to a Hybrid folder: 1000 clips of 19 amateurs singing Chinese pop songs, 133 minutes, with manual pitch.

    MIR-1K/Wavfile/SINGER_SONG_CLIP.wav     16 kHz, left accompaniment, right voice
    MIR-1K/PitchLabel/SINGER_SONG_CLIP.pv   MIDI semitones, 0 = unvoiced; frames of 40 ms every 20 ms

Line k (from 1) of a .pv is the time k x 20 ms, the centre of its frame; there are floor(duration / 20 ms) - 1 lines, so
that the audio ends 20 to 40 ms after the last one. Hybrid wants lines at 10 ms: those between two voiced lines are
interpolated in log-frequency, and a line half-way between a voiced and an unvoiced one is unvoiced, at onsets as at
ends, so that nothing is shifted in time. The other folders (whole songs, lyrics, kinds of unvoiced sound) are not used.

Origin: http://mirlab.org/dataset/public/. Its authors state no licence; use it for research and cite C.-L. Hsu and
J.-S. R. Jang, "On the Improvement of Singing Voice Separation for Monaural Recordings Using the MIR-1K Dataset", IEEE
TASLP 18 (2), 2010, https://doi.org/10.1109/TASL.2009.2026503.
"""

import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.prepare.archives import MemberFault, Members, open_archive
from rmvpe.data.prepare.output_folder import MANIFEST, DataFolder
from rmvpe.data.readers.hybrid import write_hybrid_pair
from rmvpe.download import Expected, check, digests, download
from rmvpe.errors import UserError
from rmvpe.files import write_text
from rmvpe.interpolation import f0_at_times
from rmvpe.pitch import midi_to_hz

OFFICIAL_URL = "http://mirlab.org/dataset/public/MIR-1K.zip"
MADE_BY = "scripts/prepare_MIR_1K.py"
LICENCE = "stated nowhere by its authors: for research, with citation"
CITATION = (
    "C.-L. Hsu and J.-S. R. Jang, On the Improvement of Singing Voice Separation for Monaural Recordings Using the "
    "MIR-1K Dataset, IEEE TASLP 18 (2), pp. 310-319, 2010, doi:10.1109/TASL.2009.2026503"
)
# Checksums that others have recorded; we could download neither archive. The zip: mirdata
# (https://github.com/mir-dataset-loaders/mirdata). The rar: an upload by a third party,
# https://figshare.com/articles/dataset/5802891
KNOWN = {
    "MIR-1K.zip": Expected(md5="3a4e5acd740110ae481a836460dabb6a"),
    "MIR-1K.rar": Expected(md5="1810d01457ccbb84a0b41c4da53eee74", size=797_386_646),
}
# 11 men and 8 women; each singer is in one split only, and every split has both
SPLITS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "men": ("abjones", "bobon", "bug", "davidson", "fdps", "geniusturtle", "jmzen", "Kenshin", "leon"),
        "women": ("amy", "Ani", "annar", "ariel", "heycat", "tammy"),
    },
    "valid": {"men": ("stool",), "women": ("titon",)},
    "test": {"men": ("khair",), "women": ("yifen",)},
}
SPLIT_OF = {singer: split for split, sexes in SPLITS.items() for names in sexes.values() for singer in names}
ACCOMPANIMENT_CHANNEL, VOICE_CHANNEL = 0, 1
LABEL_STEP_LINES = 2  # one step of MIR-1K's labels is two of Hybrid's 10 ms steps
AFTER_LABEL_S = 0.03  # the audio ends 20 to 40 ms after the last line
LENGTH_TOLERANCE_S = 0.05  # a larger difference means another recording's label, or a missing part
HIGHEST_MIDI = 127.0


@dataclass(frozen=True)
class Clip:
    """One recording and its label, both as paths inside the archive."""

    name: str
    singer: str
    split: str
    wav: str
    label: str


@dataclass(frozen=True)
class Made:
    """What was written for one clip. `lines`: 10 ms lines of the label; `low_hz`, `high_hz`: None where unvoiced."""

    name: str
    singer: str
    split: str
    seconds: float
    lines: int
    voiced: int
    low_hz: float | None
    high_hz: float | None


@dataclass(frozen=True)
class Summary:
    """What a run made: the clips, one sentence per fault, and the archive {"origin", "size", "md5", "sha256"}."""

    made: list[Made]
    faults: list[str]
    archive: dict[str, Any]


class ClipFault(Exception):
    """A clip that cannot be used; the message names the file."""


def prepare(
    archive: str,
    out: Path,
    *,
    expected: Expected | None = None,
    downloads: Path | None = None,
    workers: int = 1,
    strict: bool = False,
    force: bool = False,
    progress: bool = False,
    log: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Make `out`/{train,valid,test} from `archive`: a .zip, a .rar, an unpacked folder, or an address of an archive.

    `expected`: size and checksums of the archive; None means `expected_of(archive)`. A downloaded archive stays in
    `downloads` (default: beside `out`). `workers` are threads; the result is the same for any number. `out` appears
    whole or not at all; it replaces one that this function made before only with `force`. `log` gets a sentence for
    each event of the download. Raises UserError for what cannot be used, for a split without a clip, and with `strict`
    for any faulty clip.
    """
    output = DataFolder(out, MADE_BY)
    output.check(force)
    path, facts = _obtain(archive, expected, downloads or output.path.parent, progress, log)
    with output.writing() as temporary, open_archive(path, output.work) as members:
        clips, faults = find_clips(members, path)
        made, broken = _convert(members, clips, temporary, max(workers, 1), progress)
        summary = Summary(made, faults + broken, facts)
        _check_result(summary, path, strict)
        _write_manifest(temporary, summary)
        output.commit(temporary)
    return summary


def expected_of(archive: str) -> Expected:
    """What is known of the archive at an address: the recorded checksum of the official one, nothing of others."""
    return KNOWN[PurePosixPath(archive).name] if archive == OFFICIAL_URL else Expected()


def find_clips(members: Members, path: Path) -> tuple[list[Clip], list[str]]:
    """The clips of an archive in order of their names, and a sentence for every file that cannot be one."""
    names = {PurePosixPath(name) for name in members.names() if "__MACOSX" not in name}
    wavs = sorted(name for name in names if name.parent.name == "Wavfile" and not name.name.startswith("."))
    folders = {wav.parent.parent for wav in wavs}
    if len(folders) != 1:
        raise UserError(f"{path} holds {len(folders)} folders Wavfile/ with recordings, MIR-1K has one: give MIR-1K")
    labels = folders.pop() / "PitchLabel"
    clips, faults = [], []
    for wav in wavs:
        match = re.fullmatch(r"([A-Za-z]+)_(\d+)_(\d+)\.wav", wav.name)
        label = labels / f"{wav.stem}.pv"
        if match is None:
            faults.append(f"{wav}: the name is not SINGER_SONG_CLIP.wav")
        elif match[1] not in SPLIT_OF:
            faults.append(f"{wav}: {match[1]} is not one of MIR-1K's 19 singers")
        elif label not in names:
            faults.append(f"{wav}: its label {label} is missing")
        else:
            clips.append(Clip(wav.stem, match[1], SPLIT_OF[match[1]], str(wav), str(label)))
    stems = {wav.stem for wav in wavs}
    orphans = sorted(name for name in names if name.parent == labels and name.stem not in stems)
    faults += [f"{name}: its recording is missing" for name in orphans if name.suffix == ".pv"]
    return clips, faults


def parse_label(text: str, name: str) -> np.ndarray:
    """The MIDI numbers of a .pv file, float64 [lines], 0 = unvoiced. Raises ClipFault that names `name` and line."""
    lines = text.removeprefix("\ufeff").rstrip().splitlines()
    midi = np.zeros(len(lines))
    for index, line in enumerate(lines):
        try:
            midi[index] = float(line)
        except ValueError:
            midi[index] = np.nan
        if not 0 <= midi[index] <= HIGHEST_MIDI:
            raise ClipFault(f"{name}, line {index + 1}: {line[:40]!r} is not a MIDI number from 0 to 127")
    return midi


def label_to_hybrid(midi: np.ndarray) -> np.ndarray:
    """f0 in Hz at 0, 10, 20, ... ms, [2 lines + 2], of MIR-1K's `midi` [lines] at 20, 40, ... ms; 0 = unvoiced.

    It ends half a step after the last line, where the annotation ends.
    """
    f0_hz, count = midi_to_hz(midi), len(midi)
    # In units of 10 ms all times are whole numbers, so that "half-way" is exact
    at = np.arange(LABEL_STEP_LINES * count + 2, dtype=np.float64)
    result = f0_at_times(LABEL_STEP_LINES * np.arange(1.0, count + 1), f0_hz, at)
    # Half-way between a voiced and an unvoiced line neither is nearer; to choose one of them would shift onsets and
    # ends by 5 ms
    both = (f0_hz[:-1] > 0) & (f0_hz[1:] > 0)
    result[3 : 2 * count : 2] *= both
    return result


def convert_clip(members: Members, clip: Clip, folder: Path) -> Made:
    """Write one clip below `folder`/SPLIT. Raises ClipFault for a fault in the data, UserError for one of the disk."""
    f0_hz = label_to_hybrid(parse_label(_read(members, clip.label).decode("utf-8", errors="replace"), clip.label))
    audio = _decode(_read(members, clip.wav), clip.wav)
    seconds, last_s = len(audio) / SAMPLE_RATE_HZ, (len(f0_hz) - 2) / 100
    if abs(seconds - last_s - AFTER_LABEL_S) > LENGTH_TOLERANCE_S:
        kind = "longer" if last_s > seconds - AFTER_LABEL_S else "shorter"
        raise ClipFault(f"{clip.label}: the label is {kind} than the recording, {last_s:.2f} s and {seconds:.2f} s")
    f0_hz = f0_hz[: int(seconds * 100 + 1e-6) + 1]
    # Hybrid allows 30 ms after the last line, as intact clips have
    audio = audio[: round(((len(f0_hz) - 1) / 100 + AFTER_LABEL_S) * SAMPLE_RATE_HZ)]
    voice, accompaniment = audio[:, VOICE_CHANNEL], audio[:, ACCOMPANIMENT_CHANNEL]
    write_hybrid_pair(folder / clip.split, clip.name, voice, accompaniment, f0_hz)
    voiced = f0_hz[f0_hz > 0]
    low, high = (float(voiced.min()), float(voiced.max())) if len(voiced) else (None, None)
    return Made(clip.name, clip.singer, clip.split, len(audio) / SAMPLE_RATE_HZ, len(f0_hz) - 1, len(voiced), low, high)


def summary_lines(summary: Summary) -> list[str]:
    """Lines for the terminal: the archive, a table of splits, then the faults."""
    lines = [
        _archive_line(summary.archive),
        f"{'split':6}{'clips':>6}{'minutes':>9}{'voiced':>8}{'pitch':>16}  singers",
    ]
    for split in SPLITS:
        facts = split_facts(summary.made, split)
        pitch = "none" if facts["low_hz"] is None else f"{facts['low_hz']:.0f} to {facts['high_hz']:.0f} Hz"
        lines.append(
            f"{split:6}{facts['clips']:6}{facts['minutes']:9.1f}{facts['voiced']:8.1%}{pitch:>16}  "
            + ", ".join(facts["singers"])
        )
    lines.append(f"skipped: {len(summary.faults)}")
    return lines + [f"  {fault}" for fault in summary.faults]


def _archive_line(archive: dict[str, Any]) -> str:
    if "sha256" not in archive:
        return f"{archive['origin']}: a folder, no checksum"
    known = [name for name, expected in KNOWN.items() if expected.md5 == archive["md5"]]
    verdict = f"the MD5 is that recorded for {known[0]}" if known else "an unknown archive: compare its checksum"
    sums = f"sha256 {archive['sha256']}, md5 {archive['md5']}"
    return f"{archive['origin']}: {archive['size']} bytes, {sums} ({verdict})"


def split_facts(made: list[Made], split: str) -> dict[str, Any]:
    """Clips, minutes, voiced share, pitch range and singers of one split."""
    here = [clip for clip in made if clip.split == split]
    lows = [clip.low_hz for clip in here if clip.low_hz is not None]
    highs = [clip.high_hz for clip in here if clip.high_hz is not None]
    return {
        "clips": len(here),
        "minutes": sum(clip.seconds for clip in here) / 60,
        "voiced": sum(clip.voiced for clip in here) / max(sum(clip.lines for clip in here), 1),
        "low_hz": min(lows, default=None),
        "high_hz": max(highs, default=None),
        "singers": sorted({clip.singer for clip in here}, key=str.casefold),
    }


def _read(members: Members, name: str) -> bytes:
    try:
        return members.read(name)
    except MemberFault as error:
        raise ClipFault(str(error)) from error


def _decode(data: bytes, name: str) -> np.ndarray:
    """float32 [samples, 2] at 16 kHz."""
    import soundfile

    try:
        audio, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ClipFault(f"{name}: cannot be read as sound ({error})") from error
    if rate != SAMPLE_RATE_HZ or audio.shape[1] != 2:
        raise ClipFault(f"{name}: {rate} Hz with {audio.shape[1]} channels, MIR-1K has 16000 Hz and two")
    return audio


def _obtain(
    archive: str, expected: Expected | None, downloads: Path, progress: bool, log: Callable[[str], None]
) -> tuple[Path, dict[str, Any]]:
    """The archive's path on this machine, checked, and what the manifest says of it."""
    if "://" in archive:
        parts = urlsplit(archive)
        name = PurePosixPath(parts.path).name.strip(".") or "MIR-1K.zip"
        path = download(archive, downloads / name, expected or expected_of(archive), progress=progress, log=log)
        origin = f"{parts.scheme}://{parts.hostname}{parts.path}"  # the rest of an address may be a secret
    else:
        path, origin = Path(archive), Path(archive).name
        if path.is_dir():
            if expected is not None:
                raise UserError(f"{path} is a folder: a size or checksum can be given for an archive only")
            return path, {"origin": origin}
        check(path, expected or Expected())
    return path, {"origin": origin, "size": path.stat().st_size, **digests(path)}


def _convert(
    members: Members, clips: list[Clip], folder: Path, workers: int, progress: bool
) -> tuple[list[Made], list[str]]:
    from tqdm import tqdm

    def one(clip: Clip) -> Made | str:
        try:
            return convert_clip(members, clip, folder)
        except ClipFault as fault:
            return str(fault)

    # Threads, not processes: reading, decoding and writing release the interpreter's lock, and after a kill no other
    # process goes on writing
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(one, clip) for clip in clips]
        try:
            bar = tqdm(jobs, unit="clip", disable=None if progress else True)
            done = [job.result() for job in bar]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [item for item in done if isinstance(item, Made)], [item for item in done if isinstance(item, str)]


def _check_result(summary: Summary, path: Path, strict: bool) -> None:
    hint = f", first {summary.faults[0]}" if summary.faults else ""
    if strict and summary.faults:
        raise UserError(f"{path} has {len(summary.faults)} faulty files{hint}: without --strict they are skipped")
    for split in SPLITS:
        if not any(clip.split == split for clip in summary.made):
            raise UserError(
                f"{path} gives no clip for {split} ({len(summary.faults)} faulty files{hint}): give all of MIR-1K"
            )


def _write_manifest(folder: Path, summary: Summary) -> None:
    manifest = {
        "made_by": MADE_BY,
        "data": "MIR-1K",
        "archive": summary.archive,
        "licence": LICENCE,
        "citation": CITATION,
        "label": "MIDI semitones, 0 = unvoiced, line k (from 1) = k x 10 ms; from line k = k x 20 ms",
        "splits": {split: split_facts(summary.made, split) for split in SPLITS},
        "skipped": summary.faults,
        "items": {f"{clip.split}/{clip.name}": asdict(clip) for clip in summary.made},
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1))
