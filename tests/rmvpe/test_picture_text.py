"""Names in every picture of ours: as they are written, in any script, without a warning (which here is an error)."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmvpe.evaluation.evaluate import Evaluation
from rmvpe.evaluation.plot import draw as draw_scores
from rmvpe.evaluation.trackers.compare import TrackerComparison, TrackerResult
from rmvpe.evaluation.trackers.plot import draw as draw_trackers
from rmvpe.plot import draw as draw_track
from rmvpe.plot import save_figure
from rmvpe.track import F0Track
from rmvpe.training.loss_curves import LossCurve, compare
from rmvpe.training.plot import draw_comparison, draw_run

pytest.importorskip("matplotlib")
from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from rmvpe.picture_text import BOX, literal

NAMES = {
    "dollars": "cash $$ money",
    "formula": r"A$AP - x^2_$\frac{ 50%",
    "price": "$20 for a $5 song",
    "underscore": "_hidden $x$",
    "control": "esc\x1b[31m nl\n tab\t",
    "bytes": "caf\udce9 \ud800",
    "direction": "\u202egnp.\u2066x",
    "chinese": "\u4e2d\u6587\u6b4c\u66f2",
    "japanese": "\u65e5\u672c\u8a9e\u306e\u6b4c\u3000",
    "korean": "\ud55c\uad6d\uc5b4",
    "thai": "\u0e40\u0e1e\u0e25\u0e07",
    "arabic": "\u0623\u063a\u0646\u064a\u0629",
    "hindi": "\u0939\u093f\u0928\u094d\u0926\u0940",
    "emoji": "\U0001f3a4 \U0001f469\U0001f3fd\u200d\U0001f3a4 \u2764\ufe0f",
    "unassigned": "\u0378\ue000\U000e0100\ufffe",
    "long": "a song with a name " * 13,
}


def of_track(name: str) -> Figure:
    return draw_track(np.zeros(1600, dtype=np.float32), F0Track(np.arange(11) * 0.01, *np.zeros((3, 11))), name)


def of_scores(name: str) -> Figure:
    scores = dict.fromkeys(("RPA", "OA", "VR", "VFA"), 0.5)
    return draw_scores(Evaluation(0.1, {"clean": scores}, [{"file": name, "ratio": "clean", **scores}]), name)


def of_trackers(name: str) -> Figure:
    pooled = {"clean": {"RPA": 0.5, "OA": 0.5}}
    results = {
        label: TrackerResult(label, label, label == name, "", pooled, [], 0.1, 0.2, 1.0, None) for label in (name, "b")
    }
    return draw_trackers(TrackerComparison(results, {}, (), (), 10.0), name)


def of_run(name: str) -> Figure:
    return draw_run(LossCurve(np.arange(1, 4), np.ones(3)), {name: ([1], [0.5])}, name)


def of_comparison(name: str) -> Figure:
    a = LossCurve(np.arange(1, 4), np.ones(3))
    return draw_comparison(a, a, compare(a, a), (name, "b"), name)


PICTURES = [of_track, of_scores, of_trackers, of_run, of_comparison]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def joined(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("picture", PICTURES)
def test_any_name_can_be_drawn(picture: Callable[[str], Figure], name: str, tmp_path: Path):
    for ending in ("png", "svg", "pdf") if picture is of_track else ("png",):
        save_figure(picture(NAMES[name]), tmp_path / f"picture.{ending}")
        assert (tmp_path / f"picture.{ending}").stat().st_size > 1000


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["dollars", "formula", "price", "long"])
def test_a_name_is_drawn_as_it_is_written(picture: Callable[[str], Figure], name: str):
    figure = picture(NAMES[name])
    assert joined(NAMES[name]) in joined(texts(figure))
    assert not any(text.get_parse_math() or text.get_usetex() for text in figure.findobj(Text))


@pytest.mark.parametrize("picture", PICTURES)
def test_what_cannot_be_seen_is_escaped(picture: Callable[[str], Figure]):
    shown = joined(texts(picture("a\n\x1b\udce9\u202eb")))
    assert r"a\n\x1b\xe9\u202eb" in shown


@pytest.mark.parametrize("picture", [of_run, of_comparison])
def test_a_name_that_begins_with_an_underscore_is_in_the_legend(picture: Callable[[str], Figure]):
    legends = [axes.get_legend() for axes in picture("_mine").axes]
    shown = [text.get_text().lstrip("\u200b") for legend in legends if legend for text in legend.get_texts()]
    assert "_mine" in shown


def test_dollars_make_the_same_picture_as_without_formulas(tmp_path: Path):
    """What is drawn, not only what is set: the pixels are those of a text that no one could read as a formula."""
    plain, drawn = Figure(figsize=(4, 1)), Figure(figsize=(4, 1))
    with rc_context({"text.parse_math": False}):
        plain.text(0.1, 0.4, "$x^2$ \\$")
        plain.savefig(tmp_path / "plain.png")
    drawn.text(0.1, 0.4, "$x^2$ \\$")
    literal(drawn)
    drawn.savefig(tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_characters_without_a_font_are_boxes(monkeypatch: pytest.MonkeyPatch):
    """As on a machine with the fonts of matplotlib alone."""
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    figure = Figure()
    text = figure.text(0.1, 0.4, "a\u65e5\u672c b\U0001f3a4\ufe0f\u200d\u3000\u00e9")
    literal(figure)
    assert text.get_text().replace("\ufe0f", "").replace("\u200d", "") == f"a{BOX}{BOX} b{BOX} \u00e9"
    figure.canvas.draw()


@pytest.mark.skipif(
    not any(re.search(r"NotoSansCJK|msyh|PingFang|Hiragino", path) for path in font_manager.findSystemFonts()),
    reason="no Chinese font is installed",
)
def test_an_installed_font_is_used_even_if_matplotlib_does_not_know_it_yet(monkeypatch: pytest.MonkeyPatch):
    entries = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    figure = Figure()
    text = figure.text(0.1, 0.4, "\u65e5\u672c")
    literal(figure)
    assert text.get_text() == "\u65e5\u672c"
    assert len(text.get_fontfamily()) == 2
    figure.canvas.draw()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=()), max_size=12))
def test_any_text_is_drawn_without_a_warning(name: str):
    figure = Figure(figsize=(4, 1))
    figure.text(0.1, 0.4, name, fontweight="bold")
    figure.suptitle(name)
    literal(figure)
    first = texts(figure)
    figure.canvas.draw()
    literal(figure)
    assert texts(figure) == first
