"""Texts of a picture: drawn as they are written, in any script for which a font is installed."""

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rmvpe.text import printable_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.text import Text

# Fonts for what the standard one lacks, of Linux, Windows and macOS; the first that has a character draws it
FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "IPAGothic", "TakaoGothic", "NanumGothic"),
    *("Microsoft YaHei", "Yu Gothic", "MS Gothic", "Malgun Gothic", "SimHei", "Microsoft JhengHei"),
    *("PingFang SC", "Hiragino Sans GB", "Hiragino Sans", "Apple SD Gothic Neo", "Heiti SC", "STHeiti"),
    *("Noto Sans Thai", "Loma", "Garuda", "Leelawadee UI", "Tahoma", "Thonburi"),
    *("Noto Sans Arabic", "Noto Sans Devanagari", "Nirmala UI", "Mangal", "Kohinoor Devanagari", "Geeza Pro"),
    *("Noto Emoji", "Symbola", "Noto Sans Symbols", "Noto Sans Symbols2", "Noto Sans Symbols 2"),
    *("Segoe UI Symbol", "Segoe UI Emoji", "Apple Symbols", "FreeSans", "Unifont", "Arial Unicode MS"),
)
MORE = ("Noto Sans ", "Lohit ", "Segoe UI")  # how other families with many scripts begin
BOX, NO_BOX = "\u25a1", "?"  # in place of a character that no font has
VARIATION_SELECTORS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


def literal(figure: "Figure") -> None:
    """Let each text of a figure be drawn as it is written.

    `$` begins no formula and control characters are escaped. Characters that the text's own font lacks come from other
    installed fonts; those that no font has become a box, and no warning.
    """
    from matplotlib.text import Text

    unusual: dict[FontProperties, list[Text]] = {}
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
        written = text.get_text()
        shown = printable_lines(written)
        if shown != written:
            text.set_text(shown)
        if not shown.isascii():
            unusual.setdefault(text.get_fontproperties(), []).append(text)
    for properties, texts in unusual.items():
        _choose_fonts(properties, texts)


def _choose_fonts(properties: "FontProperties", texts: Sequence["Text"]) -> None:
    """Give texts of the same properties more fonts where theirs lack characters, and replace what none has."""
    own = [font for family in properties.get_family() if (font := _open(properties, family)) is not None]
    letters = {letter for text in texts for letter in text.get_text() if letter != "\n"}
    blank = {letter for letter in letters if _decides(own, letter) is False}
    missing = {letter for letter in letters if _decides(own, letter) is None}
    families: list[str] = []
    for family in _candidates() if missing else ():
        font = _open(properties, family)
        found = {letter: drawn for letter in missing if font and (drawn := _decides([font], letter)) is not None}
        if any(found.values()):
            families.append(family)
            blank |= {letter for letter, drawn in found.items() if not drawn}
            missing -= found.keys()
        if not missing:
            break
    box = BOX if _decides(own, BOX) else NO_BOX
    table = str.maketrans({letter: _instead_of(letter, box) for letter in missing | blank})
    for text in texts:
        if families:
            text.set_fontfamily([*text.get_fontfamily(), *families])
        text.set_text(text.get_text().translate(table))


def _candidates() -> Iterator[str]:
    """Installed families that may have what is missing, the likeliest first."""
    from matplotlib.font_manager import fontManager

    tried: set[str] = set()
    for more in (False, True):
        if more:
            _add_new_fonts()
        names = {entry.name for entry in fontManager.ttflist} - tried
        others = sorted(name for name in names if name.startswith(MORE) and name not in FAMILIES)
        yield from (name for name in (*FAMILIES, *others) if name in names)
        tried |= names


def _add_new_fonts() -> None:
    """Add the fonts to matplotlib's list that were installed after it was made.

    On Linux only, where fonts for other scripts are installed when they are missed; other systems bring them.
    """
    from matplotlib.font_manager import findSystemFonts, fontManager

    if sys.platform != "linux":
        return
    known = {entry.fname for entry in fontManager.ttflist}
    for path in findSystemFonts():
        if path not in known:
            try:
                fontManager.addfont(path)
            except (RuntimeError, OSError, ValueError):
                continue  # bitmaps, which matplotlib cannot draw (NotImplementedError), or damaged


def _open(properties: "FontProperties", family: str) -> Any:
    """The font with which matplotlib draws `family` at these properties, without fallback; None where there is none."""
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    wanted = properties.copy()
    wanted.set_family([family])
    try:
        path = fontManager.findfont(wanted, fallback_to_default=False)
        face = getattr(path, "face_index", 0)  # from matplotlib 3.11 on
        return FT2Font(path, face_index=face) if face else FT2Font(path)
    except (RuntimeError, OSError, ValueError):
        return None


def _decides(fonts: Iterable[Any], letter: str) -> bool | None:
    """Whether the first of `fonts` that has a character can draw it; None if none has it.

    Fonts of coloured emoji have characters without an outline: those would be blank.
    """
    for font in fonts:
        if font.get_char_index(ord(letter)):
            return letter.isspace() or _is_invisible(letter) or _has_outline(font, letter)
    return None


def _has_outline(font: Any, letter: str) -> bool:
    try:
        font.load_char(ord(letter))
        return len(font.get_path()[0]) > 0
    except (RuntimeError, OSError, ValueError):
        return False


def _is_invisible(letter: str) -> bool:
    """Joiners, marks of direction and selectors of a variant: what they change is drawn, they are not."""
    return unicodedata.category(letter) == "Cf" or letter in VARIATION_SELECTORS


def _instead_of(letter: str, box: str) -> str:
    if _is_invisible(letter):
        return ""
    return " " if letter.isspace() else box
