"""The picture of scores says what each line is, which way is better, and in what unit."""

import math
from typing import Any

import pytest

from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.evaluation.plot import draw
from rmvpe.pictures.theme import theme_named

pytest.importorskip("matplotlib")
from matplotlib.colors import to_hex
from matplotlib.text import Text


def evaluation(*ratios: str) -> Evaluation:
    sung = {"RPA": 0.9, "OA": 0.85, "VR": 0.95, "VFA": 0.1}
    alone = {"RPA": math.nan, "OA": 0.97, "VR": math.nan, "VFA": 0.03}
    pooled = {ratio: alone if ratio == "music" else sung for ratio in ratios}
    files: list[dict[str, Any]] = [{"ratio": ratio, "name": "a", **pooled[ratio]} for ratio in ratios]
    return Evaluation(0.2, pooled, files)


def test_each_score_is_written_out_with_its_direction() -> None:
    left, right = draw(evaluation("clean", "10 dB", "0 dB", "music")).axes
    legend = left.get_legend()
    assert legend is not None
    texts = {text.get_text() for text in legend.get_texts()}
    assert texts == {
        "raw pitch accuracy (RPA), higher is better",
        "overall accuracy (OA), higher is better",
        "voicing recall (VR), higher is better",
        "voicing false alarm (VFA), lower is better",
    }
    assert left.get_ylabel().endswith("(%)")
    assert right.get_ylabel() == "raw pitch accuracy of each file (%)"
    assert left.get_xlabel() == "voice-to-music ratio (dB); clean: no music; music: no voice"
    assert right.get_xlabel() == "voice-to-music ratio (dB); clean: no music"
    assert "3.0 %" in {text.get_text() for text in left.findobj(Text)}


def test_lines_differ_without_their_colours() -> None:
    left, _ = draw(evaluation("clean", "0 dB")).axes
    looks = {str(line.get_label()).split(" (")[0]: (line.get_marker(), line.get_linestyle()) for line in left.lines}
    assert len(set(looks.values())) == len(looks) == 4
    assert looks["voicing false alarm"] == ("v", "--")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_theme_is_used(theme: str) -> None:
    figure = draw(evaluation("clean"), theme=theme)
    assert to_hex(figure.get_facecolor()) == theme_named(theme).paper
    assert figure.axes[0].lines[0].get_color() == theme_named(theme).f0
