"""The check of the built site finds links that lead nowhere and what comes from other hosts."""

from pathlib import Path

import pytest

from scripts.check_site import main


def site(folder: Path, body: str, style: str = "") -> Path:
    """A site of two pages in `folder`; the first holds `body`."""
    (folder / "sub").mkdir()
    (folder / "index.html").write_text(f"<html><head></head><body><h1 id='top'>a</h1>{body}</body></html>")
    (folder / "sub" / "other.html").write_text("<h1 id='here'>b</h1><a href='../index.html#top'>back</a>")
    (folder / "picture.svg").write_text("<svg/>")
    (folder / "site.css").write_text(style)
    return folder


@pytest.mark.parametrize(
    "body",
    [
        "<a href='sub/other.html#here'>x</a><img src='picture.svg'><link rel='stylesheet' href='site.css'>",
        "<a href='#top'>x</a><a href='.'>x</a><a href='https://arxiv.org/abs/2306.15412'>x</a>",
        "<link rel='canonical' href='https://example.org/'>",
    ],
)
def test_a_good_site(tmp_path: Path, body: str, capsys: pytest.CaptureFixture[str]):
    assert main([str(site(tmp_path, body))]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("body", "style", "named"),
    [
        ("<a href='gone.html'>x</a>", "", "gone.html"),
        ("<a href='sub/other.html#gone'>x</a>", "", "#gone"),
        ("<a href='#gone'>x</a>", "", "#gone"),
        ("<img src='gone.png'>", "", "gone.png"),
        ("<script src='https://cdn.example.org/a.js'></script>", "", "cdn.example.org"),
        ("<link rel='stylesheet' href='//fonts.example.org/a.css'>", "", "fonts.example.org"),
        ("", "@font-face{src:url(https://fonts.example.org/a.woff2)}", "fonts.example.org"),
        ("", "@import 'https://fonts.example.org/a.css';", "fonts.example.org"),
    ],
)
def test_faults_are_named(tmp_path: Path, body: str, style: str, named: str, capsys: pytest.CaptureFixture[str]):
    assert main([str(site(tmp_path, body, style))]) == 1
    found = capsys.readouterr().out.splitlines()
    assert len(found) == 1
    assert named in found[0]


def test_an_empty_folder_is_no_site(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path)]) == 2
    assert "make docs" in capsys.readouterr().err
