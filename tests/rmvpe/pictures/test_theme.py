"""Both themes: what must be told apart is apart in brightness or shape, not by hue alone."""

import itertools

import numpy as np
import pytest

from rmvpe.errors import UserError
from rmvpe.pictures.theme import DARK, DEFAULT_THEME, LIGHT, THEMES, Theme, theme_named

pytest.importorskip("matplotlib")
from matplotlib.colors import to_hex, to_rgb


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2, 0 to 1."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    """Contrast ratio of WCAG 2, 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_a_theme_has_a_name() -> None:
    assert {name: theme_named(name).name for name in THEMES} == {"dark": "dark", "light": "light"}
    assert theme_named(DEFAULT_THEME) is DARK
    with pytest.raises(UserError, match="'blue' is no theme of pictures: give dark or light"):
        theme_named("blue")


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_no_energy_has_the_colour_of_the_paper_and_brightness_goes_one_way(theme: Theme) -> None:
    colormap = theme.colormap()
    assert to_hex(colormap(0.0)) == theme.paper
    steps = [luminance(to_hex(colormap(share))) for share in np.linspace(0, 1, 60)]
    slopes = np.diff(steps) * (1 if theme is DARK else -1)
    # 8-bit colours: a step may be nothing, never backwards by more than rounding
    assert slopes.min() > -1e-3
    assert abs(steps[-1] - steps[0]) > 0.3


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_text_and_lines_can_be_read_on_the_paper(theme: Theme) -> None:
    """At least 4.5 for text and 2.2 for thick lines, which have markers as well."""
    for colour in (theme.ink, theme.f0, theme.note_name, theme.threshold, theme.good, theme.bad):
        assert contrast(colour, theme.paper) >= 4.5, colour
    assert contrast(theme.f0, theme.halo) >= 4.5  # the outline sets the f0 off from whatever is behind
    for colour in theme.lines:
        assert contrast(colour, theme.paper) >= 2.2, colour


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda theme: theme.name)
def test_curves_differ_without_their_colours(theme: Theme) -> None:
    shapes = [(look["marker"], str(look["linestyle"])) for look in map(theme.line, range(9))]
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.combinations(shapes, 2))
    assert len({theme.line(k)["color"] for k in range(len(theme.lines))}) == len(theme.lines)
