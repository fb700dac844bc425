"""A release's tag, version and changelog agree."""

import pytest

import rmvpe
from rmvpe.errors import UserError
from scripts.check_release import CHANGELOG, check_release

SECTION = "## [1.2.0] - 2026-11-25\n"


def test_a_release_with_its_section() -> None:
    check_release("v1.2.0", "1.2.0", f"# Changelog\n\n{SECTION}")


@pytest.mark.parametrize(
    ("tag", "changelog", "remedy"),
    [
        ("1.2.0", SECTION, "tag v1.2.0"),
        ("v1.3.0", SECTION, "tag v1.2.0"),
        ("v1.2.0", "## [Unreleased]\n", "rename the section Unreleased"),
        ("v1.2.0", "## [1.2.0]\n", r"## \[1.2.0\] - DATE"),
        ("v1.2.0", "## [1x2.0] - 2026-11-25\n", "rename the section Unreleased"),
    ],
)
def test_what_disagrees_is_named(tag: str, changelog: str, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy):
        check_release(tag, "1.2.0", changelog)


def test_the_changelog_has_a_place_for_this_version() -> None:
    """Its own section once it is released, and before that the section Unreleased."""
    text = CHANGELOG.read_text(encoding="utf-8")
    assert f"## [{rmvpe.__version__}] - " in text or "## [Unreleased]" in text
