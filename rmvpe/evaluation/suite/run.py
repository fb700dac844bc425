"""Score weights on the stress set: every clip is made once, and all weights get the same sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rmvpe.console import print_traceback
from rmvpe.errors import UserError, failure_message
from rmvpe.evaluation.evaluate import PitchEstimator
from rmvpe.evaluation.suite.clips import Material
from rmvpe.evaluation.suite.conditions import Level, Suite
from rmvpe.evaluation.suite.scores import ClipScores, Interval, clip_scores, difference, summary
from rmvpe.framing import frame_times

DEFAULT_CLIPS, QUICK_CLIPS = 12, 3
NO_MUSIC = "no recording has music beside the voice; give --music FOLDER"


@dataclass(frozen=True)
class LevelScores:
    """The clips of a level with one estimator, and their pooled scores."""

    level: Level
    clips: tuple[ClipScores, ...]
    scores: dict[str, Interval]


@dataclass(frozen=True)
class SuiteEvaluation:
    """The levels by the name of the weights, all with the same clips. `left_out`, `failures`: a sentence each."""

    results: dict[str, list[LevelScores]]
    left_out: tuple[str, ...]
    failures: tuple[str, ...]

    def differences(self) -> dict[str, list[tuple[Level, dict[str, Interval]]]]:
        """By level, how much higher the scores of each of the other weights are than those of the first."""
        (_, baseline), *others = self.results.items()
        return {
            name: [
                (one.level, difference(one.clips, against.clips)) for one, against in zip(found, baseline, strict=True)
            ]
            for name, found in others
        }


def evaluate_suite(
    estimators: Mapping[str, PitchEstimator],
    suite: Suite,
    material: Material,
    *,
    progress: bool = False,
    debug: bool = False,
) -> SuiteEvaluation:
    """Score estimators, by name, on all clips of a suite.

    A recording of the user's on which anything fails is left out and listed in `failures`, with its traceback on stderr
    for `debug`. Raises UserError if none is left.
    """
    from tqdm import tqdm

    voices, failures = readable_voices(material, debug)
    made = range(material.count)
    jobs = [(level, number) for level in suite.levels for number in (voices if level.of_voices else made)]
    clips: dict[str, dict[str, list[ClipScores]]] = {name: {} for name in estimators}
    for level, number in tqdm(jobs, unit="clip", dynamic_ncols=True, disable=not progress):
        clip = level.make(material, number)
        if clip is None:
            continue
        for name, estimator in estimators.items():
            curve = estimator.pitch_curve(clip.sound, clip.sample_rate)
            time_s = frame_times(len(curve.f0_hz), estimator.model.mel)
            scored = clip_scores(clip, time_s, curve, estimator.config)
            clips[name].setdefault(level.name, []).append(scored)
    results = {
        name: [
            LevelScores(level, tuple(found[level.name]), summary(found[level.name]))
            for level in suite.levels
            if level.name in found
        ]
        for name, found in clips.items()
    }
    some = next(iter(clips.values()))
    silent = [f"{level.name} left out: {NO_MUSIC}" for level in suite.levels if level.name not in some]
    return SuiteEvaluation(results, (*suite.left_out, *silent), tuple(failures))


def readable_voices(material: Material, debug: bool = False) -> tuple[Sequence[int], list[str]]:
    """The numbers of the voices that can be read, and why the others cannot, a sentence each."""
    voices, failures = [], []
    for number in range(material.voices()):
        try:
            material.voice(number)
        except Exception as error:
            if material.data is None:
                raise
            if debug:
                print_traceback()
            failures.append(failure_message(material.voice_name(number), error))
            continue
        voices.append(number)
    if not voices:
        raise UserError(f"none of {len(failures)} files can be evaluated; the first: {failures[0]}")
    return voices, failures
