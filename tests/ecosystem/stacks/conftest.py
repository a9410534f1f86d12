"""Real stacks: what people have around Starlette, in the versions that went with it.

`scripts/stacks` makes an environment for each row of `tests/ecosystem/stacks.json`, and runs these tests there. Each
test has a process of its own, by pytest-forked: some instrumentation cannot be undone, and the order of imports is what
this is about. So nothing imports Starlette outside of a test.
"""

import sys
import traceback

import pytest
import stack

import starlette_backport


def pytest_report_header():
    return "starlette %s" % starlette_backport.status().starlette


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.forked)


@pytest.fixture(params=["first", "late"])
def order(request, monkeypatch):
    assert "starlette" not in sys.modules, "expected a process of its own: is pytest-forked installed?"
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE", raising=False)
    if request.param == "first":
        starlette_backport.apply()
    return Order(request.param)


class Order:
    """When the backport is applied: first of all, or late, once all is imported, built and installed."""

    def __init__(self, name):
        self.name = name

    def check(self, page, rest=lambda: None, page_without=None):
        """Check that `page` works with the backport and fails without it, and that `rest` works in any case.

        Where it does not just fail without it, `page_without` says what is true then.
        """
        page_without = page_without or (lambda: self.fails(page))
        if self.name == "late":
            page_without()
            rest()
            starlette_backport.apply()
        assert starlette_backport.status().state == "applied"
        page()
        rest()
        starlette_backport.revert()
        page_without()
        rest()

    def fails(self, page, *args):
        """Check that `page` fails as it does on the release: with a bare AssertionError in ``call_next``."""
        error = stack.failure(page, *args)
        # On 0.15.0 and 0.16.0 it comes in a group: another middleware adds that there was no response.
        found = [(type(leaf), leaf.args, traceback.extract_tb(leaf.__traceback__)[-1].name) for leaf in leaves(error)]
        assert (AssertionError, (), "call_next") in found


def leaves(error):
    """Return the exceptions in `error`, which may be a group."""
    return [leaf for one in getattr(error, "exceptions", ()) for leaf in leaves(one)] or [error]
