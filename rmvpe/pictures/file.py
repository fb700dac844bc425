"""Files of pictures: written completely or not at all, with a mark by which they are known as ours again."""

import os
import re
import stat
import struct
from typing import TYPE_CHECKING, BinaryIO

from rmvpe.errors import UserError
from rmvpe.files import atomic_path
from rmvpe.picture_text import literal
from rmvpe.text import in_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
SOFTWARE = "rmvpe"  # in the metadata of each picture
SVG_MARK = re.compile(rb"<\?xml\b.*<svg\b.*<dc:creator>\s*<cc:Agent>\s*<dc:title>rmvpe</dc:title>", re.DOTALL)
PDF_MARK = b"/Creator (rmvpe)"
PDF_TRAILER = re.compile(rb"/Info (\d{1,9}) 0 R.*startxref\s+(\d{1,12})\s", re.DOTALL)
PDF_TABLE = re.compile(rb"xref\s+0 \d{1,9} ?\r?\n")
HEAD_BYTES = 4096  # the most that is read at once to find the mark
PIXELS_WIDE = 1650  # sharp at the width of a README
SMALL_TITLE = 0.7  # size of a title that needs several lines


def require_matplotlib() -> None:
    """Raise UserError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UserError("pictures need matplotlib, which is not installed: run pip install matplotlib") from error


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise UserError unless `path` ends in .png, .pdf or .svg and matplotlib is installed."""
    if os.path.splitext(path)[1].lower() not in PICTURE_SUFFIXES:
        raise UserError(f"{path} is not a picture file: use a name that ends in {', '.join(PICTURE_SUFFIXES)}")
    require_matplotlib()


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure to `path`, completely or not at all, in the format of its ending, with `mark` in it.

    Its texts are drawn literally (`rmvpe.picture_text`). Raises UserError if the folder cannot be written.
    """
    literal(figure)
    with atomic_path(path) as temporary:
        dpi = PIXELS_WIDE / figure.get_figwidth()
        figure.savefig(temporary, dpi=dpi, facecolor=figure.get_facecolor(), metadata=mark(path))


def mark(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata by which `is_our_picture` knows a picture; `path` ends in .png, .pdf or .svg."""
    is_png = os.path.splitext(path)[1].lower() == ".png"
    return {"Software" if is_png else "Creator": SOFTWARE}


def is_our_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PNG, SVG or PDF with our `mark`; at most a few kilobytes are read.

    False for anything else: also what is no regular file, cannot be read or is damaged.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return _png_software(head) == SOFTWARE.encode()
            if head.startswith(b"%PDF-"):
                return PDF_MARK in _pdf_info(file)
            return SVG_MARK.match(head) is not None
    except (OSError, ValueError, struct.error):
        return False


def _png_software(head: bytes) -> bytes:
    """The text "Software" of a PNG, b"" if there is none among the chunks of `head`."""
    position = 8
    while position + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        keyword, _, text = head[position + 8 : position + 8 + length].partition(b"\0")
        if kind == b"tEXt" and keyword == b"Software":
            return text
        position += 12 + length
    return b""


def _pdf_info(file: BinaryIO) -> bytes:
    """The beginning of the Info object of a PDF as matplotlib writes it, b"" if it is not found."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - HEAD_BYTES))
    trailer = PDF_TRAILER.search(file.read())
    if trailer is None:
        return b""
    number, table = map(int, trailer.groups())
    file.seek(table)
    first = PDF_TABLE.match(file.read(32))
    if first is None:
        return b""
    file.seek(table + first.end() + 20 * number)  # each object of the table has 20 bytes
    file.seek(int(file.read(10)))
    return file.read(HEAD_BYTES).partition(b"endobj")[0]


def title_lines(title: str, size: float, columns: int) -> tuple[str, float]:
    """A title in one line, or smaller and in several lines where it is wider than `columns`; and its size in points."""
    shown = in_lines(title, columns)
    if "\n" not in shown:
        return shown, size
    return in_lines(title, int(columns / SMALL_TITLE)), SMALL_TITLE * size
