"""MIR-1K to Hybrid: sound and labels, splits, the summary, faulty clips, checksums."""

import io
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rmvpe.data.prepare import mir1k
from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.download import Expected, digests
from rmvpe.errors import UserError
from rmvpe.pitch import midi_to_hz
from tests.helpers.mir1k import (
    FILES,
    RATE,
    SECONDS,
    SINGERS,
    UNVOICED_S,
    beside,
    clip,
    f0_of,
    pv_bytes,
    tree,
    wav_bytes,
    write_zip,
)
from tests.helpers.webserver import Site, serve


@pytest.fixture(scope="module")
def made(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, mir1k.Summary]:
    out = tmp_path_factory.mktemp("made") / "Hybrid"
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
            original, _ = soundfile.read(io.BytesIO(FILES[f"MIR-1K/Wavfile/{item.name}.wav"]))
            # 2 steps of 16 bits: one for writing, one for the 32767 and 32768 that stand for 1.0
            assert item.accompaniment is not None
            np.testing.assert_allclose(item.accompaniment, original[:, 0], atol=2 / 32768)
            np.testing.assert_allclose(item.voice, original[:, 1], atol=2 / 32768)
    assert sorted(names) == sorted(Path(name).stem for name in FILES if "/Wavfile/" in name)
    assert beside(out) == ["Hybrid"]
    audio = soundfile.info(next(out.glob("test/*.wav")))
    assert (audio.samplerate, audio.channels, audio.subtype) == (RATE, 2, "PCM_16")


def test_labels_have_no_lag_on_a_glide(made: tuple[Path, mir1k.Summary]):
    source = Hybrid(made[0], "valid")
    for index in range(len(source)):
        item = source[index]
        low_hz = 110.0 + 8 * SINGERS.index(item.name.split("_")[0])
        f0_hz, time_s = item.f0_hz.astype(np.float64), item.time_s
        # Away from the ends of voiced parts, where the label's own steps of 20 ms decide what is voiced
        inner = (f0_hz > 0) & (np.abs(time_s - np.mean(UNVOICED_S)) > 0.1) & (time_s > 0.03) & (time_s < 1.1)
        assert inner.sum() > 70
        cents = {
            shift_ms: 1200 * np.abs(np.log2(f0_hz[inner] / f0_of(time_s[inner] + shift_ms / 1000, low_hz))).mean()
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
    parts = list(zip((edges[0::2] + 1).tolist(), edges[1::2].tolist(), strict=True))
    # From the first voiced line to the last one, both in 10 ms: the middle of a part is where the label has it
    assert parts == [(10, 20), (40, 42), (60, 60), (80, 110)]


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
    assert "an unknown archive" in text


def test_a_folder_and_any_number_of_workers_give_the_same(made: tuple[Path, mir1k.Summary], tmp_path: Path):
    for name, data in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    for number, root in enumerate((tmp_path / "in", tmp_path / "in" / "MIR-1K")):
        out = tmp_path / f"out{number}"
        mir1k.prepare(str(root), out, workers=1 + 2 * number)
        expected, result = tree(made[0]), tree(out)
        manifests = [json.loads(tree.pop("manifest.json")) for tree in (expected, result)]
        assert manifests[0].pop("archive") != manifests[1].pop("archive")
        assert manifests[0] == manifests[1]
        assert result == expected
    with pytest.raises(UserError, match="is a folder"):
        mir1k.prepare(str(root), tmp_path / "other", expected=Expected(size=3))


AUDIO, LABEL = clip(200.0)
LINES = len(LABEL)
# What is wrong: (the content of the clip's files, None removes one; what the message says)
FAULTS: dict[str, tuple[dict[str, bytes | None], str]] = {
    "text": ({"pv": b"60\nabc\n" + b"0\n" * (LINES - 2)}, r"amy_1_01\.pv, line 2: 'abc' is not a MIDI number"),
    "negative": ({"pv": b"-1\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: '-1'"),
    "Hz": ({"pv": b"220.0\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: '220\.0' is not a MIDI"),
    "hz": ({"pv": b"440.0\n" + b"0\n" * (LINES - 1)}, r"amy_1_01\.pv, line 1: '440.0'"),
    "empty line": ({"pv": b"60\n\n" + b"0\n" * (LINES - 2)}, r"amy_1_01\.pv, line 2: ''"),
    "empty": ({"pv": b""}, r"amy_1_01\.pv: the label is shorter than the recording, 0\.00 s and 1\.23 s"),
    "short": (
        {"pv": pv_bytes(LABEL[:-4])},
        r"amy_1_01\.pv: the label is shorter than the recording, 1\.12 s",
    ),
    "long": ({"pv": pv_bytes(np.append(LABEL, [60] * 4))}, r"amy_1_01\.pv: the label is longer than the recording"),
    "no label": ({"pv": None}, r"amy_1_01\.wav: its label MIR-1K/PitchLabel/amy_1_01\.pv is missing"),
    "no recording": ({"wav": None}, r"amy_1_01\.pv: its recording is missing"),
    "cut wav": ({"wav": wav_bytes(AUDIO)[:9000]}, r"amy_1_01\.pv: the label is longer than the recording"),
    "no wav": ({"wav": b"<html>"}, r"amy_1_01\.wav: cannot be read as sound"),
    "mono": ({"wav": wav_bytes(AUDIO[:, 0])}, r"amy_1_01\.wav: 16000 Hz with 1 channels"),
    "rate": ({"wav": wav_bytes(AUDIO, 44100)}, r"amy_1_01\.wav: 44100 Hz with 2 channels"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_clip_is_left_out_by_name(tmp_path: Path, kind: str):
    changes, sentence = FAULTS[kind]
    files = dict(FILES)
    for suffix, data in changes.items():
        name = f"MIR-1K/{'Wavfile' if suffix == 'wav' else 'PitchLabel'}/amy_1_01.{suffix}"
        del files[name]
        files |= {} if data is None else {name: data}
    archive = write_zip(tmp_path / "MIR-1K.zip", files)
    summary = mir1k.prepare(str(archive), tmp_path / "Hybrid")
    assert len(summary.made) == 19
    (fault,) = summary.faults
    assert re.search(sentence, fault)
    assert not list((tmp_path / "Hybrid").glob("*/amy*"))
    assert json.loads((tmp_path / "Hybrid" / "manifest.json").read_text())["skipped"] == summary.faults


def test_strict_takes_no_fault(tmp_path: Path):
    archive = write_zip(tmp_path / "MIR-1K.zip", {**FILES, "MIR-1K/PitchLabel/amy_1_01.pv": b"abc"})
    with pytest.raises(
        UserError, match=r"MIR-1K\.zip has 1 faulty files, first MIR-1K/PitchLabel/amy_1_01\.pv, line 1"
    ):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", strict=True)
    assert beside(tmp_path / "Hybrid") == []


@pytest.mark.parametrize(("drop", "add"), [(1, 0), (2, 0), (0, 1), (0, 2)])
def test_a_label_off_by_little_is_used(tmp_path: Path, drop: int, add: int):
    label = np.append(LABEL[: LINES - drop], [60.0] * add)
    files = {**FILES, "MIR-1K/PitchLabel/yifen_1_01.pv": pv_bytes(label)}
    summary = mir1k.prepare(str(write_zip(tmp_path / "MIR-1K.zip", files)), tmp_path / "Hybrid")
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
    summary = mir1k.prepare(str(write_zip(tmp_path / "a" / "b" / "MIR-1K.zip", files)), tmp_path / "a" / "b" / "Hybrid")
    assert len(summary.made) == 20
    assert [fault.split(": ")[1] for fault in summary.faults] == [
        "the name is not SINGER_SONG_CLIP.wav",
        "somebody is not one of MIR-1K's 19 singers",
    ]
    assert {path.name for path in tmp_path.rglob("*evil*")} == set()


def test_a_split_without_a_clip_is_an_error(tmp_path: Path):
    files = {name: data for name, data in FILES.items() if "stool" not in name and "titon" not in name}
    with pytest.raises(UserError, match=r"MIR-1K\.zip gives no clip for valid \(0 faulty files\)"):
        mir1k.prepare(str(write_zip(tmp_path / "MIR-1K.zip", files)), tmp_path / "Hybrid")
    assert beside(tmp_path / "Hybrid") == []


def test_checksums_of_a_local_archive(tmp_path: Path, archive: Path):
    with pytest.raises(UserError, match=r"MIR-1K\.zip has the sha256 [0-9a-f]{64}, expected 0{64}"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", expected=Expected(sha256="0" * 64))
    with pytest.raises(UserError, match=r"MIR-1K\.zip has \d+ bytes, expected 5"):
        mir1k.prepare(str(archive), tmp_path / "Hybrid", expected=Expected(size=5))


def test_the_official_archive_must_be_the_one_recorded():
    recorded = mir1k.expected_of(mir1k.OFFICIAL_URL)
    assert recorded == mir1k.KNOWN["MIR-1K.zip"]
    assert recorded.md5
    # Nothing is known of another address, whatever the name there, nor of a file
    assert mir1k.expected_of("http://example.org/MIR-1K.zip") == mir1k.expected_of("MIR-1K.zip") == Expected()


def test_a_downloaded_archive_is_kept_and_its_secrets_are_not(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found, out = digests(archive), tmp_path / "Hybrid"
    with serve(Site(archive.read_bytes())) as site:
        with pytest.raises(UserError, match=f"has the md5 {found['md5']}, expected {mir1k.KNOWN['MIR-1K.zip'].md5}"):
            mir1k.prepare(site.url, out, expected=mir1k.KNOWN["MIR-1K.zip"])
        assert not out.exists()
        mir1k.prepare(site.url, out, expected=Expected(sha256=found["sha256"]))
        assert len(site.requests) == 1
        summary = mir1k.prepare(f"{site.url}?token=secret", tmp_path / "Other", downloads=tmp_path / "kept")
    assert (tmp_path / "kept" / "MIR-1K.zip").is_file()
    assert summary.archive["origin"] == "http://127.0.0.1/MIR-1K.zip"  # what follows the path may be a secret
    assert b"secret" not in (tmp_path / "Other" / "manifest.json").read_bytes()
