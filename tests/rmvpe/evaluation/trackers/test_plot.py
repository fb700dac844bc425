"""The picture of a comparison names every tracker, best first, and can be drawn for any number of them."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from rmvpe.evaluation.trackers.compare import TrackerComparison, TrackerResult
from rmvpe.evaluation.trackers.plot import draw, plot_trackers

pytest.importorskip("matplotlib")
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

RATIOS = ("clean", "0 dB", "music")


def result(name: str, rpa: tuple[float, ...], oa: tuple[float, ...], ours: bool = False) -> TrackerResult:
    pooled = {ratio: {"RPA": pitch, "OA": both} for ratio, pitch, both in zip(RATIOS, rpa, oa)}
    return TrackerResult(name, name, ours, "", pooled, [], 0.1, 0.2, 1.0, None)


def comparison(*results: TrackerResult) -> TrackerComparison:
    return TrackerComparison({found.name: found for found in results}, {}, (), (), 10.0)


def legend_texts(axes: Axes) -> list[Text]:
    legend = axes.get_legend()
    assert legend is not None
    return legend.get_texts()


def test_legends_list_all_trackers_best_first():
    nan = math.nan
    found = comparison(
        result("quiet", (0.95, 0.4, nan), (0.9, 0.7, 0.5)),
        result("rmvpe", (0.9, 0.85, nan), (0.9, 0.8, 0.5), ours=True),
        result("loud", (0.99, 0.055, nan), (0.3, 0.1, 0.5)),
    )
    left, right = draw(found, "a title").axes
    rows = [[text.get_text().split() for text in legend_texts(axes)] for axes in (left, right)]
    assert rows[0] == [["85", "rmvpe"], ["40", "quiet"], ["6", "loud"]]  # at the last ratio with a voice
    assert rows[1] == [["85", "rmvpe"], ["80", "quiet"], ["20", "loud"]]  # the mean


def test_many_trackers_have_different_looks_and_all_names_are_inside_the_picture():
    results = [result(f"tracker {k} with a long name", (0.9, 0.8, 0.0), (0.9, 0.8, 0.5)) for k in range(9)]
    figure = draw(comparison(*results[:6], *(replace(found, ours=True) for found in results[6:])))
    FigureCanvasAgg(figure).draw()  # lays the figure out
    lines = figure.axes[0].get_lines()
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 9
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in legend_texts(axes)]
        assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_one_tracker_at_one_ratio_can_be_drawn(ending: str, tmp_path: Path):
    plot_trackers(comparison(result("only", (0.9,), (0.8,))), tmp_path / f"one.{ending}")
    assert (tmp_path / f"one.{ending}").stat().st_size > 5000
