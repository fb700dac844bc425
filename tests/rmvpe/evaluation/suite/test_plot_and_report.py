"""The pictures and tables of a stress set show the numbers where and as they are."""

import math
from typing import Any

import numpy as np
import pytest

from rmvpe.evaluation.suite.clips import Clip, Material
from rmvpe.evaluation.suite.conditions import Level
from rmvpe.evaluation.suite.report import BEYOND_NOISE, difference_table, is_better, level_table, short_names
from rmvpe.evaluation.suite.run import LevelScores
from rmvpe.evaluation.suite.scores import SCORES, Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan)


def no_clip(material: Material, number: int) -> Clip | None:
    return None


def level(condition: str, name: str = "") -> Level:
    return Level(condition, name, no_clip)


def scores(**known: Interval) -> dict[str, Interval]:
    return dict.fromkeys(SCORES, UNKNOWN) | known


def at(line: Any, axis: int) -> list[float]:
    """The marks of a line, across or down."""
    return np.asarray(line.get_xydata(), dtype=float)[:, axis].tolist()


FOUND = [
    LevelScores(level("voice"), (), scores(RPA=Interval(0.9, 0.8, 0.95), OA=Interval(0.7, 0.6, 0.75))),
    LevelScores(level("room", "0.3 s"), (), scores(RPA=Interval(0.5, 0.5, 0.5), VFA=Interval(0.25, 0.2, 0.4))),
    LevelScores(level("room", "1 s"), (), scores(VFA=Interval(0.3, math.nan, math.nan))),
]


def test_a_table_shows_intervals_and_leaves_out_what_is_not_known() -> None:
    lines = level_table(FOUND).splitlines()
    assert lines[0] == "| condition | clips | RPA % | RPA mid % | RCA % | OA % | VR % | VFA % | VO % | cents |"
    assert lines[2] == "| voice | 0 | 90.0 (80.0-95.0) | - | - | 70.0 (60.0-75.0) | - | - | - | - |"
    assert lines[3] == "| room: 0.3 s | 0 | 50.0 | - | - | - | - | 25.0 (20.0-40.0) | - | - |"
    assert lines[4] == "| room: 1 s | 0 | - | - | - | - | - | 30.0 | - | - |"


def test_a_difference_is_marked_where_its_interval_leaves_out_0() -> None:
    some = scores(RPA=Interval(0.012, 0.003, 0.02), VFA=Interval(-0.02, -0.05, 0.01), cents=Interval(-1.04, -2.0, -0.5))
    [line] = difference_table([(level("room", "1 s"), some)]).splitlines()[2:]
    assert line == (
        f"| room: 1 s | +1.2{BEYOND_NOISE} (+0.3 to +2.0) | - | - | - | - | -2.0 (-5.0 to +1.0) | - | "
        f"-1.0{BEYOND_NOISE} (-2.0 to -0.5) |"
    )
    assert is_better("RPA", some["RPA"])
    assert is_better("cents", some["cents"])
    assert not is_better("VFA", some["RPA"])


def test_names_are_short_unless_two_would_be_the_same() -> None:
    assert short_names(["small", "a/best.safetensors"]) == {"small": "small", "a/best.safetensors": "best.safetensors"}
    assert short_names(["a/b.safetensors", "c/b.safetensors"])["c/b.safetensors"] == "c/b.safetensors"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_marks_and_bars_are_at_the_scores(theme: str) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_hex

    from rmvpe.evaluation.suite.plot import draw_levels
    from rmvpe.pictures.theme import theme_named

    figure = draw_levels(FOUND, "title", theme)
    assert to_hex(figure.get_facecolor()) == theme_named(theme).paper
    pitch, accuracy, voiced = figure.axes
    assert [text.get_text() for text in pitch.get_yticklabels()] == ["voice", "room: 0.3 s", "1 s"]
    rpa = next(line for line in pitch.lines if str(line.get_label()).startswith("RPA"))
    assert at(rpa, 0) == [90.0, 50.0]
    vfa = next(line for line in voiced.lines if str(line.get_label()).startswith("VFA"))
    assert "lower is better" in str(vfa.get_label())
    assert at(vfa, 0) == [25.0, 30.0]
    bars = [segment for bar in voiced.collections for segment in getattr(bar, "get_segments", list)()]
    assert [(bar[0][0], bar[-1][0]) for bar in bars] == [(20.0, 40.0)]
    # A level's marks are near its name, one level below the other
    places = pitch.get_yticks()
    assert all(abs(y - place) < 0.5 for y, place in zip(at(rpa, 1), places, strict=False))
    assert pitch.get_ylim()[0] > places[2] > places[1] > places[0] > pitch.get_ylim()[1]
    # Everything that is written is inside the picture
    FigureCanvasAgg(figure).draw()
    inside = figure.bbox
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        texts = [*axes.get_yticklabels(), axes.xaxis.label, *legend.get_texts()]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        assert min(box.x0 for box in boxes) >= inside.x0
        assert max(box.x1 for box in boxes) <= inside.x1
        assert max(box.y1 for box in boxes) <= inside.y1
        assert min(box.y0 for box in boxes) >= inside.y0
    assert accuracy.get_xlabel() == "pitch and voicing (%)"


def test_a_difference_is_filled_beyond_noise_and_hollow_within() -> None:
    pytest.importorskip("matplotlib")
    from rmvpe.evaluation.suite.plot import draw_differences

    known = {
        "new": [
            (level("voice"), scores(RPA=Interval(0.05, 0.02, 0.08))),
            (level("room", "1 s"), scores(RPA=Interval(0.01, -0.02, 0.03))),
        ]
    }
    axes = draw_differences(known).axes[0]
    filled, hollow = (line for line in axes.lines if line.get_marker() == "o")
    assert (at(filled, 0), at(hollow, 0)) == ([5.0], [1.0])
    assert hollow.get_markerfacecolor() == "none"
    assert filled.get_markerfacecolor() != "none"
