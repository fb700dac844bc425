"""Check a built site: every link leads to a file and an anchor that are there, and nothing comes from other hosts.

    python scripts/check_site.py site

MkDocs checks the links of the pages' text. This reads the built HTML, so it also covers pictures, styles, scripts and
what the API pages link. Links to other hosts are allowed, but not styles, scripts, fonts or pictures of theirs.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rmvpe.errors import UserError
from rmvpe.program import Command, run_program

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}  # a browser fetches these
NOT_FETCHED = {"canonical", "alternate", "next", "prev"}  # kinds of <link> that only name an address
STYLE_URL = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
MAX_SHOWN = 20


class Page(HTMLParser):
    """The anchors of a page, what it links, and what a browser loads to show it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect one tag."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in LOADED and LOADED[tag] in values and values.get("rel") not in NOT_FETCHED:
            self.loaded.append(values[LOADED[tag]])


def faults(site: Path) -> list[str]:
    """What is wrong with the site, a sentence each."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        raise UserError(f"{site} holds no page: build the site first with make docs")
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for address in page.loaded:
            if is_foreign(address):
                found.append(f"{name} loads {address}")
            elif address.split(":")[0] != "data" and not target(site, path, address).exists():
                found.append(f"{name} loads {address}, which is not there")
        for address in page.links:
            parts = urlsplit(address)
            # 404.html is shown at any address, so its links start at the root of a host that we do not know
            if parts.scheme or parts.netloc or name == Path("404.html"):
                continue
            linked = target(site, path, address) if parts.path else path
            if not linked.exists():
                found.append(f"{name} links {address}, which is not there")
            elif parts.fragment and linked in pages and unquote(parts.fragment) not in pages[linked].anchors:
                found.append(f"{name} links {address}, but that page has no such anchor")
    for style in sorted(site.rglob("*.css")):
        for address in (a or b for a, b in STYLE_URL.findall(style.read_text(encoding="utf-8"))):
            if is_foreign(address):
                found.append(f"{style.relative_to(site)} loads {address}")
    return found


def is_foreign(address: str) -> bool:
    """Whether an address is on another host."""
    return bool(urlsplit(address).netloc)


def target(site: Path, page: Path, address: str) -> Path:
    """The file that an address on a page means."""
    path = unquote(urlsplit(address).path)
    file = (site / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve()
    return file / "index.html" if file.is_dir() else file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    parser.add_argument("site", type=Path, help="the folder that was built")


def run(arguments: argparse.Namespace) -> int:
    """Print the faults; exit code 1 if there are any."""
    found = faults(arguments.site)
    for fault in found[:MAX_SHOWN]:
        print(fault)
    if len(found) > MAX_SHOWN:
        print(f"and {len(found) - MAX_SHOWN} more")
    return 1 if found else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and call."""
    return run_program("check_site", Command(__doc__ or "", add_arguments, run), argv)


if __name__ == "__main__":
    sys.exit(main())
