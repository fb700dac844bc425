"""Synthetic items: the label is the pitch one measures; items depend on (seed, split, index); splits stay apart."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from rmvpe.data.readers.hybrid import Hybrid
from rmvpe.data.synthesis import contours, dataset, tones, world_voice
from rmvpe.pitch import hz_to_midi
from tests.helpers.paths import ROOT

RATE = 16_000
needs_pyworld = pytest.mark.skipif(importlib.util.find_spec("pyworld") is None, reason="pyworld is not installed")


def _vowel(seconds: float, f0_hz: float) -> np.ndarray:
    """A glottal pulse train, its pitch falling by 4 %, through two resonances, in words of 0.6 s with pauses."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = np.cumsum(f0_hz * (1 - 0.04 * time / seconds)) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    response = np.zeros(800)
    for hz, width, gain in ((650, 90, 1.0), (1200, 120, 0.6), (2600, 200, 0.3)):
        response += gain * np.exp(-np.pi * width * time[:800]) * np.sin(2 * np.pi * hz * time[:800])
    words = np.convolve(((time % 0.8) < 0.6).astype(float), np.hanning(321) / 160, mode="same")
    voice = np.convolve(pulses, response)[: len(time)] * words
    return 0.5 * voice / np.abs(voice).max()


def _measure(voice: np.ndarray, f0_hz: np.ndarray) -> np.ndarray:
    """f0 [frames] at 10 ms from time 0 by autocorrelation, searched a fifth around `f0_hz`; nan where that is 0.

    Windows of four periods, spectra padded for a lag grid of 1/16 sample, then a parabola through the peak.
    """
    found = np.full(len(f0_hz), np.nan)
    for frame in np.flatnonzero(f0_hz):
        half = max(round(2 * RATE / f0_hz[frame]), 96)
        if half <= frame * 160 < len(voice) - half:
            window = np.hanning(2 * half)
            spectrum = np.abs(np.fft.rfft(voice[frame * 160 - half : frame * 160 + half] * window, 4 * half)) ** 2
            taper = np.abs(np.fft.rfft(window, 4 * half)) ** 2
            ratio = np.fft.irfft(spectrum, 64 * half) / np.maximum(np.fft.irfft(taper, 64 * half), 1e-9)
            lags = np.arange(int(16 * RATE / f0_hz[frame] / 1.5), int(16 * RATE / f0_hz[frame] * 1.5))
            at = lags[np.argmax(ratio[lags])]
            left, peak, right = ratio[at - 1 : at + 2]
            found[frame] = 16 * RATE / (at + 0.5 * (left - right) / (left - 2 * peak + right))
    return found


def _cents(voice: np.ndarray, f0_hz: np.ndarray) -> dict[int, np.ndarray]:
    """Cents from label to measurement where the neighbours are voiced too, the label shifted by -1, 0, 1 frames."""
    measured = _measure(voice, f0_hz)
    inside = (np.convolve(f0_hz > 0, np.ones(7), mode="same") == 7) & np.isfinite(measured)
    return {lag: 1200 * np.log2(measured[inside] / np.roll(f0_hz, lag)[inside]) for lag in (-1, 0, 1)}


@pytest.fixture(scope="module")
def clips() -> list[world_voice.Analysis]:
    """Two analysed clips of one speaker."""
    return [world_voice.analyse(_vowel(2.5, f0_hz)) for f0_hz in (120.0, 150.0)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """voices/ and music/ with one folder per split, named after held-out ones."""
    root = tmp_path_factory.mktemp("sources")
    for folder, f0_hz in {"someone": 110.0, "klettres-nds": 170.0, "klettres-hu": 200.0}.items():
        (root / "voices" / folder).mkdir(parents=True)
        for clip in range(2):
            soundfile.write(root / "voices" / folder / f"{clip}.flac", _vowel(0.9, f0_hz + 30 * clip), RATE)
    for number, folder in enumerate(("a-band", "naev-data", "0ad-data")):
        (root / "music" / folder).mkdir(parents=True)
        noise = 0.1 * np.random.default_rng(number).standard_normal(5 * RATE)
        soundfile.write(root / "music" / folder / "track.flac", noise, RATE)
    return root


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/prepare_synthetic.py as a module."""
    path = ROOT / "scripts" / "prepare_synthetic.py"
    spec = importlib.util.spec_from_file_location("prepare_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _arguments(folders: Path, out: Path, *more: str) -> list[str]:
    sources = ["--voices", str(folders / "voices"), "--music", str(folders / "music"), "--out", str(out)]
    return [*sources, "--train-hours", "0.005", "--valid-minutes", "0.2", "--test-minutes", "0.2", *more]


def _plan(kind: str, index: int, seconds: float = 4.0) -> dataset.Plan:
    return dataset.Plan("train", index, 0, kind, seconds, ("a", "b"), None)


@needs_pyworld
def test_world_loads_without_pkg_resources() -> None:
    assert callable(world_voice.world().synthesize)


# Measured over whole data sets the median is 2 cents (sung) and 6 (spoken): jitter and glides within the window of
# four periods, and the aperiodicity that real voices have. The bounds leave a factor of about 2.
@needs_pyworld
@pytest.mark.parametrize(("kind", "bound_cents"), [("sing", 5.0), ("speech", 10.0)])
def test_the_label_is_the_pitch_one_measures(clips: list[world_voice.Analysis], kind: str, bound_cents: float) -> None:
    errors = []
    for index in range(4):
        voice, _, f0_hz, _ = dataset.render_item(_plan(kind, index), clips, None)
        assert len(voice) == 4 * RATE
        assert len(f0_hz) == 401
        assert 0.2 < (f0_hz > 0).mean() < 0.99
        errors.append(_cents(voice, f0_hz))
    cents = {lag: np.concatenate([error[lag] for error in errors]) for lag in (-1, 0, 1)}
    median = {lag: np.median(np.abs(error)) for lag, error in cents.items()}
    assert median[0] < bound_cents
    assert abs(np.median(cents[0])) < bound_cents / 2
    assert median[0] == min(median.values()), "the label is early or late"


def test_a_tone_has_exactly_its_label() -> None:
    rng = np.random.default_rng(3)
    cents = []
    for _ in range(3):
        sound, f0_hz = tones.tones(4 * RATE, (60.0, 1950.0), rng)
        assert not sound[np.repeat(f0_hz[:-1] == 0, 80) & np.repeat(f0_hz[1:] == 0, 80)].any()
        cents.append(_cents(sound, f0_hz[::2])[0])
    # The label is exact; half a cent is what the autocorrelation of glides and vibrato leaves.
    assert np.median(np.abs(np.concatenate(cents))) < 0.5


def test_a_tone_is_band_limited_and_its_phase_the_integral_of_f0() -> None:
    tone = tones.harmonic_tone(np.full(401, 1000.0), np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(tone[: 2 * RATE] * np.hanning(2 * RATE)))
    partials = np.flatnonzero(spectrum > 1e-3 * spectrum.max()) / 2
    assert np.abs(partials - 1000 * np.round(partials / 1000)).max() <= 2
    assert partials.max() < 7700


@needs_pyworld
@pytest.mark.parametrize("f0_hz", [33.0, 210.0, 1532.0, 1900.0])
def test_voices_are_periodic_at_any_pitch(f0_hz: float) -> None:
    # WORLD's own pulses reach 18 dB above 700 Hz: f0 drowned in scatter. Aperiodicity 0.001 allows 60 dB.
    contour, flat = np.full(401, f0_hz), np.zeros((401, 513))
    frames = world_voice.Analysis(contour, flat, flat + 0.001, contour > 0)
    voice = world_voice.synthesise(frames, contour, 2 * RATE, np.random.default_rng(0))[RATE // 2 : 3 * RATE // 2]
    power = np.square(np.abs(np.fft.rfft(voice * np.blackman(RATE))))
    bins = np.arange(len(power))  # 1 Hz each
    harmonic = np.abs(bins - f0_hz * np.round(bins / f0_hz)) < 5
    assert power[harmonic].sum() > 1e5 * power[~harmonic].sum()
    # White frames have the same power as noise and as harmonics, but for the fade below 8 kHz.
    noise = world_voice.synthesise(frames, 0 * contour, 2 * RATE, np.random.default_rng(0))
    assert np.std(voice) == pytest.approx(np.std(noise), rel=0.1)


@needs_pyworld
def test_silent_items_have_no_pitch(clips: list[world_voice.Analysis]) -> None:
    peaks = []
    for index in range(6):
        voice, _, f0_hz, _ = dataset.render_item(_plan("silent", index, 1.0), clips, None)
        assert not f0_hz.any()
        peaks.append(np.abs(voice).max())
    assert min(peaks) == 0.0
    assert 0.0 < max(peaks) < 0.25


@needs_pyworld
def test_pauses_are_quiet_and_unvoiced(clips: list[world_voice.Analysis]) -> None:
    voice, _, f0_hz, _ = dataset.render_item(_plan("sing", 1), clips, None)
    deep = np.convolve(f0_hz > 0, np.ones(13), mode="same") == 0
    quiet = np.abs(voice[np.repeat(deep[:-1], 160)])
    assert deep.any()
    assert np.sqrt(np.mean(quiet**2)) < 0.05 * np.sqrt(np.mean(voice**2))


@needs_pyworld
def test_the_accompaniment_has_the_level_of_the_voice(clips: list[world_voice.Analysis]) -> None:
    music = 0.01 * np.random.default_rng(0).standard_normal(2 * RATE)
    voice, accompaniment, f0_hz, _ = dataset.render_item(_plan("sing", 2), clips, music)
    assert accompaniment is not None
    active = voice[np.repeat(f0_hz[:-1] > 0, 160)]
    assert np.sqrt(np.mean(accompaniment**2)) == pytest.approx(np.sqrt(np.mean(active**2)), rel=1e-6)
    assert max(np.abs(voice).max(), np.abs(accompaniment).max()) <= 1.0


def test_melodies_keep_to_the_voicing_and_move() -> None:
    voiced = np.arange(2400) % 300 > 60
    limits = hz_to_midi(np.array([80.0, 1000.0]))
    drawn = [contours.melody(voiced, 60.0, tuple(limits), np.random.default_rng(seed)).midi for seed in range(30)]
    assert all(contour.shape == voiced.shape for contour in drawn)
    assert all(np.ptp(contour) > 1.0 for contour in drawn)
    assert 50 < np.median(drawn) < 70
    assert min(map(np.min, drawn)) > limits[0] - 6


def test_voices_set_in_and_break_off_off_pitch_and_settle() -> None:
    """The sizes are those measured in real singing, within a factor of about two."""
    voiced = np.arange(4000) % 100 >= 20  # runs of 0.4 s
    off = [contours.edge_glides(voiced, np.random.default_rng(seed)) for seed in range(10)]
    runs = np.concatenate([contour[voiced].reshape(-1, 80) for contour in off])  # [runs, frames]
    assert all(not contour[~voiced].any() for contour in off)
    first, settled, last = (np.median(np.abs(runs[:, frame])) for frame in (0, 20, -1))
    assert 0.4 < first < 1.6
    assert 0.25 < last < 1.6
    bends = np.median(np.abs(np.diff(runs[:, ::2], n=2)), axis=0)  # changes of slope between frames of 10 ms
    assert 0.25 < bends[0] < 1.2
    assert 0.2 < bends[-1] < 1.0
    assert bends[10] < 0.1
    assert settled < 0.1
    assert np.mean(runs[:, -1]) < -0.1  # ends fall
    assert np.abs(runs).max() <= 5.0


@needs_pyworld
def test_speech_sets_in_and_breaks_off_so_too(clips: list[world_voice.Analysis]) -> None:
    first, settled = [], []
    for index in range(6):
        _, _, f0_hz, _ = dataset.render_item(_plan("speech", index), clips, None)
        midi = hz_to_midi(f0_hz)
        for start, end in contours.runs(f0_hz > 0):
            if end - start > 20:  # frames of 10 ms
                first.append(abs(midi[start] - midi[start + 10]))
                settled.append(abs(midi[start + 10] - midi[start + 11]))
    assert len(first) > 20
    # The voice itself falls by 4 % in 2.5 s, a hundredth of a semitone in 10 ms
    assert 0.3 < np.median(first) < 2.0
    assert np.median(settled) < 0.1


def test_vowels_are_broken_off_for_a_moment() -> None:
    voiced = np.arange(4000) % 400 >= 20
    broken = [contours.breaks(voiced, np.random.default_rng(seed)) for seed in range(20)]
    assert not any((gaps & ~voiced).any() for gaps in broken)
    lengths = [end - start for gaps in broken for start, end in contours.runs(gaps)]
    assert min(len(contours.runs(gaps)) for gaps in broken) < 4 < max(len(contours.runs(gaps)) for gaps in broken)
    assert np.median(lengths) < 14  # 5 ms each
    assert max(lengths) < 60


@needs_pyworld
def test_a_broken_vowel_has_no_harmonics_and_says_so(clips: list[world_voice.Analysis]) -> None:
    """The words of the clips are separated by pauses of 0.2 s: any shorter gap in the label is a break."""
    broken, whole = [], []
    for index in range(16):
        voice, _, f0_hz, _ = dataset.render_item(_plan("sing", index), clips, None)
        for (_, end), (start, _) in itertools.pairwise(contours.runs(f0_hz > 0)):
            if 5 <= start - end <= 11:  # frames of 10 ms
                period = RATE / f0_hz[end - 1]
                broken.append(_periodicity(voice[end * 160 + 160 : start * 160 - 160], period))
                whole.append(_periodicity(voice[end * 160 - 800 : end * 160 - 320], period))
    assert len(broken) > 5
    assert np.median(broken) < 0.5 < 0.8 < np.median(whole)


def _periodicity(sound: np.ndarray, period: float) -> float:
    """Correlation of `sound` with itself one period later, at the best of the lags within a semitone."""
    lags = range(int(period / 1.06), int(period * 1.06) + 2)
    return max(float(np.corrcoef(sound[lag:], sound[:-lag])[0, 1]) for lag in lags)


def test_recipes_are_shares() -> None:
    for recipe in dataset.RECIPES.values():
        assert sum(recipe.shares.values()) == pytest.approx(1.0)
        assert sum(share for share, _, _ in recipe.registers_hz) == pytest.approx(1.0)
    assert set(dataset.RECIPES["valid"].shares) == set(dataset.RECIPES["test"].shares) == {"sing", "speech"}


def test_no_folder_is_on_two_sides() -> None:
    for held_out in (dataset.HELD_OUT_VOICES, dataset.HELD_OUT_MUSIC):
        assert not set(held_out["valid"]) & set(held_out["test"])
    side = {name: split for split, names in dataset.HELD_OUT_VOICES.items() for name in names}
    for group in (
        ("tuxpaint-ru", "klettres-ru", "ktuberling-ru-m", "ktuberling-ru-f"),
        ("klettres-es", "tuxpaint-es"),
        ("klettres-de-f", "klettres-de-m", "ktuberling-de"),
        ("tuxpaint-el", "ktuberling-el"),
        ("klettres-uk", "ktuberling-uk"),
        ("klettres-lt", "ktuberling-lt"),
        ("ktuberling-ca-f", "ktuberling-ca-m", "tuxpaint-ca"),
        ("klettres-da", "ktuberling-da", "tuxpaint-da"),
    ):
        assert len({side.get(name, "train") for name in group}) == 1, group


def test_plans_take_sources_of_their_split_only(folders: Path) -> None:
    sources = dataset.split_sources(folders / "voices", folders / "music").of_split
    for split, voice, music in (
        ("train", "someone", "a-band"),
        ("valid", "klettres-nds", "naev-data"),
        ("test", "klettres-hu", "0ad-data"),
    ):
        plans = [dataset.plan_item(sources[split], split, index, 0) for index in range(40)]
        assert {Path(clip).parent.name for plan in plans for clip in plan.clips} == {voice}
        assert {Path(plan.music).parent.name for plan in plans if plan.music} == {music}
        assert {plan.kind for plan in plans} == set(dataset.RECIPES[split].shares)
        assert all((plan.music is None) == (plan.kind == "tone") for plan in plans)


@needs_pyworld
def test_items_depend_neither_on_workers_nor_on_order(folders: Path, tmp_path: Path, script: ModuleType) -> None:
    pool, alone = tmp_path / "pool", tmp_path / "alone"
    assert script.main(_arguments(folders, pool, "--workers", "2")) == 0
    sources = dataset.split_sources(folders / "voices", folders / "music").of_split
    places = (("test", 0), ("train", 1), ("train", 0), ("valid", 0))
    plans = [dataset.plan_item(sources[split], split, index, 0) for split, index in places]
    for plan in plans:
        dataset.make_item(plan, folders / "voices", folders / "music", tmp_path / "cache", alone)
    names = sorted(str(path.relative_to(alone)) for path in alone.rglob("*.*"))
    with_notes = [plan for plan in plans if plan.kind in ("sing", "silent")]
    assert with_notes
    expected = [f"{plan.split}/{plan.name}.{suffix}" for plan in plans for suffix in ("wav", "pv")]
    assert names == sorted(expected + [f"{plan.split}/{plan.name}.notes.csv" for plan in with_notes])
    assert all((pool / name).read_bytes() == (alone / name).read_bytes() for name in names)

    manifest = json.loads((pool / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["seed"] == 0
    assert sorted(manifest["items"]) == [name.removesuffix(".wav") for name in names if name.endswith(".wav")]
    for split in dataset.SPLITS:
        Hybrid(pool, split).check()

    # A second run refuses; --resume makes just what is missing, and only with the same seed.
    lost = sorted((pool / "train").glob("*.wav"))[0]
    lost.unlink()
    for refused in ([], ["--resume", "--seed", "1"]):
        assert script.main(_arguments(folders, pool, *refused)) == 2
    assert script.main(_arguments(folders, pool, "--resume")) == 0
    assert lost.read_bytes() == (alone / "train" / lost.name).read_bytes()


def test_bad_input_is_one_sentence_and_exit_code_2(
    folders: Path, tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, foreign, broken = tmp_path / "empty", tmp_path / "foreign", tmp_path / "broken"
    for folder in (empty, foreign, broken):
        folder.mkdir()
    (foreign / "thesis.txt").write_text("mine", encoding="utf-8")
    (broken / "manifest.json").write_text('{"items": {"tr', encoding="utf-8")
    train_only = tmp_path / "voices"
    for speaker in ("someone", "klettres-hu"):
        (train_only / speaker).mkdir(parents=True)
        soundfile.write(train_only / speaker / "0.wav", _vowel(0.9, 170.0), RATE)
    good = _arguments(folders, tmp_path / "out")
    for arguments, sentence in (
        ([*good, "--voices", str(tmp_path / "nowhere")], "nowhere is not a folder"),
        ([*good, "--music", str(empty)], "empty has no .wav or .flac files, nor a sub-folder"),
        ([*good, "--voices", str(train_only)], "the valid split has no voice"),
        ([*good, "--out", str(foreign)], "foreign holds files this script did not make"),
        ([*good, "--out", str(foreign / "thesis.txt")], "thesis.txt is a file"),
        ([*good, "--out", str(broken), "--resume"], "manifest.json is not a manifest of this script"),
        ([*good, "--seed", "-1"], "--seed -1 must be a number of 0 or more"),
        ([*good, "--train-hours", "nan"], "--train-hours nan must be"),
    ):
        assert script.main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("prepare_synthetic: ")
        assert sentence in captured.err
    assert not (tmp_path / "out").exists()


def test_without_pyworld_nothing_is_written(
    folders: Path,
    tmp_path: Path,
    script: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)  # as if it were not installed
    assert script.main(_arguments(folders, tmp_path / "out")) == 2
    assert capsys.readouterr().err.endswith("needs pyworld: run pip install pyworld\n")
    assert not (tmp_path / "out").exists()
