"""Releases that are not affected: nothing is changed, and only those with the fix get a warning."""

import sys
import warnings

import pytest
from support import AFFECTED, NUMBERS, RELEASE

import starlette_backport

pytestmark = pytest.mark.skipif(AFFECTED, reason="needs a Starlette that is not affected: scripts/test runs it on some")

HAS_FIX = NUMBERS >= (0, 24, 0)


def test_nothing_is_changed():
    import starlette.middleware.base
    import starlette.middleware.gzip

    functions = [
        starlette.middleware.base.BaseHTTPMiddleware.__call__,
        starlette.middleware.gzip.GZipMiddleware.__call__,
    ]
    codes = [function.__code__ for function in functions]
    meta_path = list(sys.meta_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            status = starlette_backport.apply()
        with starlette_backport.applied() as inner:
            assert inner == status
    assert [function.__code__ for function in functions] == codes
    assert sys.meta_path == meta_path
    assert [warning.category for warning in caught] == [starlette_backport.BackportNotNeededWarning] * HAS_FIX
    if caught:
        assert "remove" in str(caught[0].message)
        assert RELEASE in str(caught[0].message)
        assert caught[0].filename == __file__
    assert status == starlette_backport.status()
    assert status[:4] == (RELEASE, False, "not needed", ())
    assert status.reason == ("it has the fix" if HAS_FIX else "it sends no template messages yet")
    starlette_backport.revert()
