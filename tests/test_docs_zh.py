"""The Chinese pages show the same commands and figures as their English pages, so that neither drifts."""

import re
from collections import Counter

import pytest

from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
ENGLISH = {
    "index.md": ["index.md"],
    "start.md": ["start/songs.md", "start/notebook.md", "start/embed.md", "start/train.md"],
    "fine-tuning.md": ["fine-tuning.md"],
    "sdaa.md": ["sdaa.md"],
}
BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)*(?:e-?\d+)?")
HAN = r"[\u4e00-\u9fff]"


def text_of(names: list[str]) -> str:
    """The pages of docs/ of these names, one after the other."""
    return "\n".join((DOCS / name).read_text(encoding="utf-8") for name in names)


def both(page: str) -> tuple[str, str]:
    """A Chinese page and its English one."""
    return text_of([f"zh/{page}"]), text_of(ENGLISH[page])


def blocks(text: str) -> list[list[str]]:
    """The lines of each block of code, without comments."""
    return [
        [re.sub(r"(^|\s+)#\s.*", "", line).rstrip() for line in block.splitlines()] for block in BLOCK.findall(text)
    ]


def prose(text: str) -> str:
    """A page without its blocks of code and without the addresses of its links."""
    return re.sub(r"\]\([^)\s]+\)", "]", BLOCK.sub("", text))


def rows(text: str) -> list[list[str]]:
    """The numbers of each row of the tables, sorted: a sentence may name them in another order."""
    return [sorted(NUMBER.findall(line)) for line in prose(text).splitlines() if line.startswith("|")]


def test_every_chinese_page_has_an_english_one() -> None:
    assert sorted(path.relative_to(DOCS / "zh").as_posix() for path in DOCS.glob("zh/**/*.md")) == sorted(ENGLISH)


@pytest.mark.parametrize("page", ENGLISH)
def test_the_commands_are_the_same(page: str) -> None:
    chinese, english = both(page)
    assert blocks(chinese) == blocks(english)


@pytest.mark.parametrize("page", ENGLISH)
def test_the_tables_have_the_same_figures(page: str) -> None:
    chinese, english = both(page)
    assert rows(chinese)
    assert rows(chinese) == rows(english)


@pytest.mark.parametrize("page", ENGLISH)
def test_the_text_has_the_same_figures(page: str) -> None:
    chinese, english = (Counter(NUMBER.findall(prose(text))) for text in both(page))
    assert chinese == english


@pytest.mark.parametrize("page", ENGLISH)
def test_links_to_english_pages_say_so(page: str) -> None:
    for line in (DOCS / "zh" / page).read_text(encoding="utf-8").splitlines():
        if re.search(r"\]\(\.\./[\w/-]+\.md", line):
            assert "英文" in line, line


@pytest.mark.parametrize("page", ENGLISH)
def test_chinese_typography(page: str) -> None:
    # As it is shown: without the brackets of links and the stars of bold text (CommonMark needs the space after these)
    shown = re.sub(r"\*\* |!?\[|[\]*]", "", prose((DOCS / "zh" / page).read_text(encoding="utf-8")))
    for fault, pattern in {
        "no space between Chinese and Latin text": rf"{HAN}[A-Za-z0-9`]|[A-Za-z0-9`%]{HAN}",
        "Latin punctuation in Chinese text": rf"{HAN}[,.:;!?()]|[,:;!?()]{HAN}",
        "a space beside Chinese punctuation": r"[^|\s] [，。：；？（）、“”]|[，。：；？（）、“”] [^|\s]",
        "a line break inside a paragraph, which browsers show as a space": r"[，。：；？（）、\w`]\n {,3}[^\s|\-<#\d]",
    }.items():
        assert [shown[max(0, m.start() - 10) : m.end() + 10] for m in re.finditer(pattern, shown)] == [], fault
