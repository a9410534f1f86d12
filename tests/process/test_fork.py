"""Builds with the diffs in patches/. The other tests show what they do."""

import pathlib
import re
import sys
import warnings

import pytest
import starlette
import starlette.middleware.base
from support import RELEASE, REPOSITORY

import starlette_backport

INSTALLED = pathlib.Path(starlette.__file__).parent
REASON = "it is a patched build, with the diffs of starlette-backport"


@pytest.fixture
def functions():
    """Return what makes a copy of all that can be changed in Starlette's functions."""

    def look():
        modules = [
            module
            for name, module in sorted(sys.modules.items())
            if name.split(".")[0] == "starlette"
        ]
        classes = [
            value
            for module in modules
            for value in vars(module).values()
            if isinstance(value, type)
        ]
        values = [
            value
            for cls in classes
            for value in vars(cls).values()
            if hasattr(value, "__code__")
        ]
        return [(value, value.__code__, value.__kwdefaults__) for value in values]

    return look


def test_apply_changes_nothing(functions):
    status = starlette_backport.status()
    assert (status.state, status.affected, status.has_fix, status.reason) == (
        "not needed",
        False,
        True,
        REASON,
    )
    before = functions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", starlette_backport.BackportNotNeededWarning)
        assert starlette_backport.apply() == status
        with starlette_backport.applied():
            assert functions() == before
    starlette_backport.revert()
    assert functions() == before
    assert starlette.__version__ == RELEASE


def test_it_has_the_module_of_the_package():
    ours = pathlib.Path(starlette_backport.__file__).parent / "_early_messages.py"
    assert (INSTALLED / "_early_messages.py").read_bytes() == ours.read_bytes()


def test_its_version_is_the_one_with_a_recorded_hash():
    hashes = pathlib.Path(REPOSITORY, "patches", "hashes.txt").read_text(
        encoding="utf-8"
    )
    release = re.sub(r"\.b(\d)$", r"b\1", RELEASE)
    (version,) = re.findall(
        r"^starlette==(%s\+backport\.\d+) " % re.escape(release), hashes, re.M
    )
    metadata = INSTALLED.parent / ("starlette-%s.dist-info" % version) / "METADATA"
    assert "\nVersion: %s\n" % version in metadata.read_text(encoding="utf-8")
