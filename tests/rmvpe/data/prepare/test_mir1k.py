"""MIR-1K to Hybrid: an archive of its exact shape, its times, its faults, and whole command lines that get killed."""

import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.prepare import mir1k
from rmvpe.data.prepare.archives import UNPACKERS
from rmvpe.data.prepare.download import Expected, digests
from rmvpe.data.prepare.output_folder import MadeFolder
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.errors import UserError
from rmvpe.pitch import hz_to_midi, midi_to_hz
from tests.helpers.paths import ROOT
from tests.helpers.webserver import Site, serve

RATE = 16_000
SCRIPT = ROOT / "scripts" / "prepare_MIR_1K.py"
SINGERS = sorted(mir1k.SPLIT_OF)
SECONDS = 1.234  # not a multiple of the label's step, as in the original
UNVOICED_S = (0.5, 0.62)


def _f0(time_s: np.ndarray, low_hz: float) -> np.ndarray:
    """A glide of an octave per second, silent for a while: 12 cents in 10 ms, so that a lag shows."""
    silent = (time_s > UNVOICED_S[0]) & (time_s < UNVOICED_S[1])
    return np.where(silent, 0.0, low_hz * 2**time_s)


def _clip(low_hz: float, seconds: float = SECONDS) -> tuple[np.ndarray, np.ndarray]:
    """int16 [samples, 2], left noise and right voice, and the label [lines], floor(duration / 20 ms) - 1 of them."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    f0_hz = _f0(time_s, low_hz)
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    voice = sum(np.sin(k * phase) / k for k in (1, 2, 3)) * 0.2 * (f0_hz > 0)
    noise = np.random.default_rng(round(low_hz)).normal(0, 0.05, len(time_s))
    lines = 0.02 * np.arange(1, int(seconds / 0.02 + 1e-6))
    return np.round(np.stack([noise, voice], axis=1) * 32767).astype(np.int16), hz_to_midi(_f0(lines, low_hz))


def _wav(audio: np.ndarray, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def _pv(midi: np.ndarray) -> bytes:
    return "".join(f"{value:.6f}\r\n" for value in midi).encode()


def _files() -> dict[str, bytes]:
    """MIR-1K in small: every singer, one clip each and abjones two, and the folders that are not used."""
    files = {"MIR-1K/readme.txt": b"MIR-1K"}
    names = [f"{singer}_1_01" for singer in SINGERS] + ["abjones_2_11"]
    for number, name in enumerate(names):
        audio, midi = _clip(110.0 + 8 * number)
        song = name.rpartition("_")[0]
        files[f"MIR-1K/Wavfile/{name}.wav"] = _wav(audio)
        files[f"MIR-1K/PitchLabel/{name}.pv"] = _pv(midi)
        files[f"MIR-1K/UndividedWavfile/{song}.wav"] = _wav(audio[:800])
        files[f"MIR-1K/vocal-nonvocalLabel/{name}.vocal"] = b"1\r\n" * len(midi)
        files[f"MIR-1K/UnvoicedFrameLabel/{name}.unv"] = b"5\r\n" * len(midi)
        files[f"MIR-1K/Lyrics/{name}.txt"] = "歌詞".encode("big5-hkscs")
        files[f"MIR-1K/LyricsWav/{name}.wav"] = _wav(audio[:800])
    return files


FILES = _files()


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for folder in sorted({name.rpartition("/")[0] for name in FILES}):
            file.writestr(f"{folder}/", b"")
        for name, data in files.items():
            file.writestr(name, data)
    return path


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _beside(out: Path) -> list[str]:
    """What a run has left in the parent folder, the archive apart."""
    return sorted(path.name for path in out.parent.iterdir() if path.suffix not in (".zip", ".rar"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _zip(tmp_path_factory.mktemp("archive") / "MIR-1K.zip", FILES)


@pytest.fixture(scope="module")
def made(archive: Path) -> tuple[Path, mir1k.Summary]:
    out = archive.parent / "made" / "Hybrid"
    return out, mir1k.prepare(str(archive), out, workers=2)


def test_every_clip_is_read_back_through_hybrid(made: tuple[Path, mir1k.Summary]):
    out, summary = made
    assert not summary.faults
    names = []
    for split in ("train", "valid", "test"):
        source = Hybrid(out, split)
        for index in range(len(source)):
            item = source[index]
            names.append(item.name)
            original, _ = soundfile.read(io.BytesIO(FILES[f"MIR-1K/Wavfile/{item['name']}.wav"]))
            # 2 steps of 16 bits: one for writing, one for the 32767 and 32768 that stand for 1.0
            np.testing.assert_allclose(item.accompaniment, original[:, 0], atol=2 / 32768)
            np.testing.assert_allclose(item.voice, original[:, 1], atol=2 / 32768)
    assert sorted(names) == sorted(Path(name).stem for name in FILES if "/Wavfile/" in name)
    assert _beside(out) == ["Hybrid"]
    audio = soundfile.info(next(out.glob("test/*.wav")))
    assert (audio.samplerate, audio.channels, audio.subtype) == (RATE, 2, "PCM_16")


def test_labels_have_no_lag_on_a_glide(made: tuple[Path, mir1k.Summary]):
    source = Hybrid(made[0], "valid")
    for index in range(len(source)):
        item = source[index]
        low_hz = 110.0 + 8 * SINGERS.index(item.name.split("_")[0])
        f0_hz, time_s = item.f0_hz.astype(np.float64), item.time_s
        # Away from the ends of voiced stretches, where the label's own steps of 20 ms decide what is voiced
        inner = (f0_hz > 0) & (np.abs(time_s - np.mean(UNVOICED_S)) > 0.1) & (time_s > 0.03) & (time_s < 1.1)
        assert inner.sum() > 70
        cents = {
            shift_ms: 1200 * np.abs(np.log2(f0_hz[inner] / _f0(time_s[inner] + shift_ms / 1000, low_hz))).mean()
            for shift_ms in range(-30, 31, 5)
        }
        assert min(cents, key=cents.__getitem__) == 0
        # Written with 5 digits of a semitone: 0.0005 cents, and float32 f0 adds 0.0001. 5 ms of lag would be 6 cents.
        assert cents[0] < 0.002
        assert cents[5] == pytest.approx(6.0, abs=0.01)


def test_voicing_has_no_lag():
    midi = np.zeros(60)
    for first, last in ((5, 10), (20, 21), (30, 30), (40, 55)):
        midi[first - 1 : last] = 60.0
    voiced = mir1k.label_to_hybrid(midi) > 0
    edges = np.flatnonzero(np.diff(voiced.astype(int)))
    stretches = list(zip((edges[0::2] + 1).tolist(), edges[1::2].tolist(), strict=True))
    # From the first voiced line to the last one, both in 10 ms: the middle of a stretch is where the label has it
    assert stretches == [(10, 20), (40, 42), (60, 60), (80, 110)]


def test_lines_between_are_interpolated_in_log_frequency_and_never_across_voicing():
    f0_hz = mir1k.label_to_hybrid(np.array([60.0, 0.0, 48.0, 60.0, 60.5, 0.0]))
    c4 = midi_to_hz(np.array(60.0))
    expected = [0, c4, c4, 0, 0, 0, c4 / 2, c4 / np.sqrt(2), c4, c4 * 2 ** (0.25 / 12), c4 * 2 ** (0.5 / 12), 0, 0, 0]
    np.testing.assert_allclose(f0_hz, expected, rtol=1e-12)  # float64; at 0 ms nothing is known
    assert mir1k.label_to_hybrid(np.array([])).tolist() == [0, 0]


def test_singers_are_in_one_split_each_with_both_sexes():
    everyone = [name for sexes in mir1k.SPLITS.values() for names in sexes.values() for name in names]
    assert len(everyone) == len(set(everyone)) == 19
    assert {split: len(sexes) for split, sexes in mir1k.SPLITS.items()} == {"train": 2, "valid": 2, "test": 2}
    assert all(names for sexes in mir1k.SPLITS.values() for names in sexes.values())
    assert sum(len(sexes["men"]) for sexes in mir1k.SPLITS.values()) == 11


def test_singers_of_the_result_are_apart_and_the_manifest_says_so(made: tuple[Path, mir1k.Summary], archive: Path):
    out, _ = made
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    singers = {split: {path.stem.split("_")[0] for path in (out / split).glob("*.wav")} for split in mir1k.SPLITS}
    for first, second in itertools.combinations(singers.values(), 2):
        assert not first & second
    assert {split: set(facts["singers"]) for split, facts in manifest["splits"].items()} == singers
    assert sum(facts["clips"] for facts in manifest["splits"].values()) == len(manifest["items"]) == 20
    assert manifest["archive"] == {"origin": "MIR-1K.zip", "size": archive.stat().st_size, **digests(archive)}
    assert "Hsu" in manifest["citation"]
    assert "research" in manifest["licence"]


def test_the_summary_counts_what_was_made(made: tuple[Path, mir1k.Summary]):
    facts = mir1k.split_facts(made[1].made, "valid")
    assert facts["singers"] == ["stool", "titon"]
    assert facts["minutes"] == pytest.approx(2 * SECONDS / 60)
    lines = int(SECONDS * 50) - 1
    # 0.52 to 0.60 s are five silent lines, and with the lines around them 11 of Hybrid's
    assert facts["voiced"] == pytest.approx(1 - 11 / (2 * lines + 1))
    low = min(110.0 + 8 * SINGERS.index(singer) for singer in facts["singers"])
    assert facts["low_hz"] == pytest.approx(low * 2**0.02)  # the first line speaks for 20 ms
    text = "\n".join(mir1k.summary_lines(made[1]))
    assert "stool, titon" in text
    assert "skipped: 0" in text
    assert "an archive we do not know" in text


def test_a_folder_and_any_number_of_workers_give_the_same(made: tuple[Path, mir1k.Summary], tmp_path: Path):
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    for number, root in enumerate((tmp_path / "in", tmp_path / "in" / "MIR-1K")):
        out = tmp_path / f"out{number}"
        mir1k.prepare(str(root), out, workers=1 + 2 * number)
        expected, result = _tree(made[0]), _tree(out)
        manifests = [json.loads(tree.pop("manifest.json")) for tree in (expected, result)]
        assert manifests[0].pop("archive") != manifests[1].pop("archive")
        assert manifests[0] == manifests[1]
        assert result == expected
    with pytest.raises(UserError, match="is a folder"):
        mir1k.prepare(str(root), tmp_path / "other", expected=Expected(size=3))


AUDIO, LABEL = _clip(200.0)
LINES = len(LABEL)
FAULTS = {  # what is wrong: (files that replace the clip's own, None removes; what the sentence must say)
    "text": ({"pv": b"60\nabc\n" + b"0\n" * (LINES - 2)}, r"amy_1_01\.pv, line 2: 'abc' is not a MIDI number"),
    "negative": ({"pv": b"-1\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: '-1'"),
    "not a number": ({"pv": b"nan\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: 'nan'"),
    "hz": ({"pv": b"440.0\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: '440.0'"),
    "empty line": ({"pv": b"60\n\n" + b"0\n" * (LINES - 2)}, r"amy_1_01\.pv, line 2: ''"),
    "empty": ({"pv": b""}, r"amy_1_01\.pv: the label is shorter than the recording, 0\.00 s and 1\.23 s"),
    "short": ({"pv": _pv(LABEL[:-4])}, r"amy_1_01\.pv: the label is shorter than the recording, 1\.12 s and 1\.23 s"),
    "long": ({"pv": _pv(np.append(LABEL, [60] * 4))}, r"amy_1_01\.pv: the label is longer than the recording"),
    "no label": ({"pv": None}, r"amy_1_01\.wav: its label MIR-1K/PitchLabel/amy_1_01\.pv is missing"),
    "no recording": ({"wav": None}, r"amy_1_01\.pv: its recording is missing"),
    "cut wav": ({"wav": _wav(AUDIO)[:9000]}, r"amy_1_01\.pv: the label is longer than the recording"),
    "no wav": ({"wav": b"<html>"}, r"amy_1_01\.wav: cannot be read as sound"),
    "mono": ({"wav": _wav(AUDIO[:, 0])}, r"amy_1_01\.wav: 16000 Hz with 1 channels"),
    "rate": ({"wav": _wav(AUDIO, 44100)}, r"amy_1_01\.wav: 44100 Hz with 2 channels"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_clip_is_left_out_by_name(tmp_path: Path, kind: str):
    changes, sentence = FAULTS[kind]
    files = dict(FILES)
    for suffix, data in changes.items():
        name = f"MIR-1K/{'Wavfile' if suffix == 'wav' else 'PitchLabel'}/amy_1_01.{suffix}"
        del files[name]
        files |= {} if data is None else {name: data}
    archive = _zip(tmp_path / "MIR-1K.zip", files)
    summary = mir1k.prepare(str(archive), tmp_path / "Hybrid")
    assert len(summary.made) == 19
    (fault,) = summary.faults
    assert re.search(sentence, fault)
    assert not list((tmp_path / "Hybrid").glob("*/amy*"))
    assert json.loads((tmp_path / "Hybrid" / "manifest.json").read_text())["skipped"] == summary.faults


def test_strict_takes_no_fault(tmp_path: Path):
    archive = _zip(tmp_path / "MIR-1K.zip", {**FILES, "MIR-1K/PitchLabel/amy_1_01.pv": b"abc"})
    with pytest.raises(
        UserError, match=r"MIR-1K\.zip has 1 faulty files, first MIR-1K/PitchLabel/amy_1_01\.pv, line 1"
    ):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", strict=True)
    assert _beside(tmp_path / "Hybrid") == []


@pytest.mark.parametrize(("drop", "add"), [(1, 0), (2, 0), (0, 1), (0, 2)])
def test_a_label_off_by_little_is_used(tmp_path: Path, drop: int, add: int):
    label = np.append(LABEL[: LINES - drop], [60.0] * add)
    files = {**FILES, "MIR-1K/PitchLabel/yifen_1_01.pv": _pv(label)}
    summary = mir1k.prepare(str(_zip(tmp_path / "MIR-1K.zip", files)), tmp_path / "Hybrid")
    assert not summary.faults
    source = Hybrid(tmp_path / "Hybrid", "test")  # Hybrid has its own opinion of lengths
    source.check()
    item = source[[path.stem for path in sorted((tmp_path / "Hybrid" / "test").glob("*.wav"))].index("yifen_1_01")]
    assert 0 <= len(item.voice) / RATE - len(item.f0_hz) * 0.01 <= 0.03 + 1e-9


def test_names_that_are_not_of_the_data_are_left_out(tmp_path: Path):
    wav, label = FILES["MIR-1K/Wavfile/amy_1_01.wav"], FILES["MIR-1K/PitchLabel/amy_1_01.pv"]
    files = {
        **FILES,
        "MIR-1K/Wavfile/somebody_1_01.wav": wav,
        "MIR-1K/PitchLabel/somebody_1_01.pv": label,
        "MIR-1K/Wavfile/amy_mix.wav": wav,
        "MIR-1K/Wavfile/.DS_Store": b"",
        "__MACOSX/MIR-1K/Wavfile/._amy_1_01.wav": b"",
        "../../evil.txt": b"",
        "/tmp/evil_1_01.wav": wav,
    }
    summary = mir1k.prepare(str(_zip(tmp_path / "a" / "b" / "MIR-1K.zip", files)), tmp_path / "a" / "b" / "Hybrid")
    assert len(summary.made) == 20
    assert [fault.split(": ")[1] for fault in summary.faults] == [
        "the name is not SINGER_SONG_CLIP.wav",
        "somebody is not one of MIR-1K's 19 singers",
    ]
    assert {path.name for path in tmp_path.rglob("*evil*")} == set()


def test_damaged_archives(tmp_path: Path, archive: Path):
    data = archive.read_bytes()
    cases = {
        "cut.zip": (data[: len(data) // 2], "is a damaged or unfinished zip"),
        "page.zip": (b"<!DOCTYPE html>", r"is neither a zip nor a rar archive \(it begins with b'<!DOCTYP'\)"),
        "empty.zip": (b"", "is neither a zip nor a rar archive"),
        "other.zip": (_zip(tmp_path / "x.zip", {"a/b.wav": b""}).read_bytes(), r"holds 0 folders Wavfile/"),
    }
    for name, (content, sentence) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} {sentence}"):
            mir1k.prepare(str(tmp_path / name), tmp_path / "Hybrid")
    with pytest.raises(FileNotFoundError, match=r"nothing\.zip"):
        mir1k.prepare(str(tmp_path / "nothing.zip"), tmp_path / "Hybrid")
    assert _beside(tmp_path / "Hybrid") == []
    # One changed byte in one recording: that clip alone is lost
    at = data.index(FILES["MIR-1K/Wavfile/leon_1_01.wav"]) + 1000
    (tmp_path / "bit.zip").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    summary = mir1k.prepare(str(tmp_path / "bit.zip"), tmp_path / "Hybrid")
    assert len(summary.made) == 19
    assert "MIR-1K/Wavfile/leon_1_01.wav: cannot be read from the archive (Bad CRC-32" in summary.faults[0]


def test_a_split_without_a_clip_is_an_error(tmp_path: Path):
    files = {name: data for name, data in FILES.items() if "stool" not in name and "titon" not in name}
    with pytest.raises(UserError, match=r"MIR-1K\.zip gives no clip for valid \(0 faulty files\)"):
        mir1k.prepare(str(_zip(tmp_path / "MIR-1K.zip", files)), tmp_path / "Hybrid")
    assert _beside(tmp_path / "Hybrid") == []


def test_checksums_of_a_local_archive(tmp_path: Path, archive: Path):
    with pytest.raises(UserError, match=r"MIR-1K\.zip has the sha256 [0-9a-f]{64}, expected 0{64}"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", expected=Expected(sha256="0" * 64))
    with pytest.raises(UserError, match=r"MIR-1K\.zip has \d+ bytes, expected 5"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", expected=Expected(size=5))


def test_the_official_archive_must_be_the_one_recorded(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found, out = digests(archive), tmp_path / "Hybrid"
    with serve(Site(archive.read_bytes())) as site:
        monkeypatch.setattr(mir1k, "OFFICIAL_URL", site.url)
        with pytest.raises(UserError, match=f"has the md5 {found['md5']}, expected {mir1k.KNOWN['MIR-1K.zip'].md5}"):
            mir1k.prepare(site.url, out)
        assert not out.exists()
        mir1k.prepare(site.url, out, expected=Expected(sha256=found["sha256"]))  # the user knows better
        assert len(site.asked) == 1
        # Any other address has nothing to be compared with; what follows the path may be a secret
        told = mir1k.prepare(f"{site.url}?token=secret", tmp_path / "Other", downloads=tmp_path / "kept")
    assert (tmp_path / "kept" / "MIR-1K.zip").is_file()
    assert told.archive["origin"] == "http://127.0.0.1/MIR-1K.zip"
    assert b"secret" not in (tmp_path / "Other" / "manifest.json").read_bytes()


def test_a_folder_of_others_is_left_alone(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    (out / "train").mkdir(parents=True)
    (out / "train" / "mine.wav").write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(UserError, match="holds files this script did not make"):
            mir1k.prepare(str(archive), out, force=force)
    (out / "manifest.json").write_text('{"made_by": "scripts/prepare_synthetic.py", "items": {}}')
    with pytest.raises(UserError, match="holds files this script did not make"):
        mir1k.prepare(str(archive), out, force=True)
    assert (out / "train" / "mine.wav").read_bytes() == b"mine"
    unfinished = tmp_path / ".Other-unfinished"
    unfinished.mkdir()
    (unfinished / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"\.Other-unfinished is where the work is done"):
        mir1k.prepare(str(archive), tmp_path / "Other")
    assert (unfinished / "mine.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        mir1k.prepare(str(archive), tmp_path / "file")


def test_force_replaces_what_the_manifest_claims_and_nothing_else(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    mir1k.prepare(str(archive), out)
    with pytest.raises(UserError, match="was made before: add --force"):
        mir1k.prepare(str(archive), out)
    smaller = _zip(tmp_path / "smaller.zip", {name: data for name, data in FILES.items() if "abjones_2_11" not in name})
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt was not made by this script"):
        mir1k.prepare(str(smaller), out, force=True)
    (out / "notes.txt").unlink()
    # A manifest that claims a file elsewhere does not reach it
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["items"]["../precious"] = {}
    (out / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "precious.wav").write_bytes(b"mine")
    mir1k.prepare(str(smaller), out, force=True)
    assert len(list(out.glob("*/*.wav"))) == 19
    assert _beside(out) == ["Hybrid", "precious.wav"]


def test_what_comes_into_the_old_folder_meanwhile_is_kept(tmp_path: Path, archive: Path):
    out = tmp_path / "Hybrid"
    mir1k.prepare(str(archive), out)
    folder = MadeFolder(out, mir1k.MADE_BY)
    with folder.staging() as staging:
        (out / "train" / "notes.txt").write_text("mine")
        folder.publish(staging)
    assert _tree(out).keys() == {"manifest.json"}
    replaced = tmp_path / ".Hybrid-replaced"
    assert _tree(replaced).keys() == {"manifest.json", "train/notes.txt"}
    with pytest.raises(UserError, match=r"\.Hybrid-replaced/train/notes\.txt was not made by this script"):
        mir1k.prepare(str(archive), out, force=True)
    assert (replaced / "train" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_and_a_link_are_filled(tmp_path: Path, archive: Path):
    (tmp_path / "disk" / "Hybrid").mkdir(parents=True)
    (tmp_path / "Hybrid").symlink_to(tmp_path / "disk" / "Hybrid")
    mir1k.prepare(str(archive), tmp_path / "Hybrid")
    assert len(Hybrid(tmp_path / "Hybrid", "test")) == 2
    assert _beside(tmp_path / "disk" / "Hybrid") == ["Hybrid"]


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path, archive: Path):
    pytest.importorskip("fcntl")
    folder = MadeFolder(tmp_path / "Hybrid", mir1k.MADE_BY)
    with folder.staging(), pytest.raises(UserError, match="is in use by another run"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid")
    mir1k.prepare(str(archive), tmp_path / "Hybrid")


def test_a_rar_without_a_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "MIR-1K.rar").write_bytes(b"Rar!\x1a\x07\x01\x00 and so on")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"MIR-1K\.rar is a rar archive, which needs bsdtar, unar or 7z"):
        mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Hybrid")


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_a_rar_is_unpacked_by_a_program_on_the_path(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for bsdtar, called as bsdtar would be: the archive is a zip behind rar's first bytes."""
    (tmp_path / "MIR-1K.rar").write_bytes(b"Rar!\x1a\x07\x01\x00" + archive.read_bytes())
    program = tmp_path / "bin" / "bsdtar"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1 $2 $4" = "-x -f -C" ] && exec {sys.executable} -m zipfile -e "$3" "$5"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    summary = mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Hybrid")
    assert len(summary.made) == 20
    assert _beside(tmp_path / "Hybrid") == ["Hybrid", "bin"]
    program.write_text("#!/bin/sh\necho no such method >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"bsdtar could not unpack .*MIR-1K\.rar \(no such method\)"):
        mir1k.prepare(str(tmp_path / "MIR-1K.rar"), tmp_path / "Other")


@pytest.mark.parametrize("program", [row[0] for row in UNPACKERS])
def test_the_real_programs_take_our_arguments(tmp_path: Path, archive: Path, program: str):
    from rmvpe.data.prepare import archives

    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    # All of them look at the content, so that a zip shows whether they understand the call
    (tmp_path / "out").mkdir()
    archives.run_unpacker(next(row for row in UNPACKERS if row[0] == program), archive, tmp_path / "out")
    assert _tree(tmp_path / "out") == FILES


def _command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False)


def _wait_for(there, process: subprocess.Popen) -> None:
    """Until `there()`; the process must not end before."""
    until = time.monotonic() + 60
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.001)


def test_command_line_over_a_bad_line_and_a_kill(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data, out = archive.read_bytes(), tmp_path / "Hybrid"
    part = tmp_path / "MIR-1K.zip.part"
    with serve(Site(data, cuts=[300_000], pause_s=0.05)) as site:
        checks = ("--size", str(len(data)), "--sha256", digests(archive)["sha256"])
        arguments = ("--archive", site.url, "--out", out, *checks)
        process = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _wait_for(lambda: part.exists() and part.stat().st_size > 400_000, process)  # one cut is behind it
        process.kill()
        process.communicate()
        assert not out.exists()
        kept = part.stat().st_size
        site.pause_s = 0.0
        done = _run(*arguments)
        assert done.returncode == 0, done.stderr
        assert int(site.asked[-1].removeprefix("bytes=").removesuffix("-")) >= kept
    assert (tmp_path / "MIR-1K.zip").read_bytes() == data
    assert _beside(out) == ["Hybrid"]
    assert "skipped: 0" in done.stdout
    assert "for research" in done.stdout
    assert [len(Hybrid(out, split)) for split in ("train", "valid", "test")] == [16, 2, 2]
    again = _run("--archive", tmp_path / "MIR-1K.zip", "--out", out)
    assert again.returncode == 2
    assert again.stderr.startswith(f"prepare_MIR_1K: {out} was made before: add --force")
    assert again.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_kill_while_clips_are_written_leaves_no_half_folder(tmp_path: Path):
    # The same clip many times over, so that there is time for the kill
    many = {
        f"MIR-1K/{folder}/{singer}_{song}_01.{suffix}": FILES[f"MIR-1K/{folder}/amy_1_01.{suffix}"]
        for folder, suffix in (("Wavfile", "wav"), ("PitchLabel", "pv"))
        for singer in SINGERS
        for song in range(1, 21)
    }
    archive, out = _zip(tmp_path / "MIR-1K.zip", many), tmp_path / "Hybrid"
    process = subprocess.Popen(
        _command("--archive", archive, "--out", out, "--workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    unfinished = tmp_path / ".Hybrid-unfinished"
    _wait_for(lambda: any(unfinished.glob("*/*.wav")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert _beside(out) == [".Hybrid-unfinished"]
    done = _run("--archive", archive, "--out", out)
    assert done.returncode == 0, done.stderr
    assert _beside(out) == ["Hybrid"]
    assert len(list(out.glob("*/*.wav"))) == len(list(out.glob("*/*.pv"))) == 19 * 20
    assert not list(out.rglob("*.part"))


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are a POSIX matter")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, archive: Path):
    # A limit on the size of files stands in for a full disk: both fail in write(). A clip has 79 kB, a block 1 kB.
    command = _command("--archive", archive, "--out", tmp_path / "Hybrid")
    limited = ["bash", "-c", 'ulimit -f 48; exec "$@"', "limited", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert ".wav (System error.): free some space or choose another folder\n" in done.stderr
    assert _beside(tmp_path / "Hybrid") == []


def test_command_line_mistakes_are_one_sentence(tmp_path: Path):
    for arguments, sentence in (
        (("--archive", tmp_path / "nothing.zip"), "nothing.zip: No such file or directory"),
        (("--archive", "ftp://example.org/MIR-1K.zip"), "is no http:// or https:// address"),
        (("--sha256", "abc"), "is no sha256 checksum"),
        (("--workers", "0"), "--workers 0 must be 1 or more"),
    ):
        done = _run(*arguments, "--out", tmp_path / "Hybrid")
        assert done.returncode == 2
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
