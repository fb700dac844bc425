"""Whether a folder of tests runs is decided by what can be imported, so that none is skipped by mistake."""

import importlib

import pytest

from rmvpe.backends import is_installed
from tests.conftest import NEEDS


@pytest.mark.parametrize("library", sorted({library for needed in NEEDS.values() for library in needed}))
def test_what_can_be_imported_is_installed(library: str):
    try:
        importlib.import_module(library)
    except ModuleNotFoundError:
        assert not is_installed(library)
    else:
        assert is_installed(library)  # a namespace such as orbax has no file of its own, and would not count


def test_nothing_that_is_missing_is_installed():
    assert not is_installed("no_such_package")
    assert not is_installed("no_such_package.part")
