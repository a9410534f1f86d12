"""Real stacks: what people have around Starlette, in the versions that went with it.

`scripts/stacks` sets up an environment for each row of `scripts/lib/stacks.json`, and runs these tests there.
Every test has a process of its own, by pytest-forked: the order of imports is what this is about, and much
instrumentation cannot be undone. So nothing imports Starlette outside of a test.
"""

import sys
import traceback

import pytest
import stack

import starlette_backport

PLACE = ("call_next", "starlette", "middleware", "base.py")


def pytest_report_header():
    return "starlette %s" % starlette_backport.status().starlette


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.forked)


@pytest.fixture(autouse=True)
def _process(monkeypatch):
    assert "starlette" not in sys.modules, "expected a process of its own: is pytest-forked installed?"
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE", raising=False)


@pytest.fixture(params=["first", "late"])
def order(request):
    order = Order(request.param)
    if order.name == "first":
        starlette_backport.apply()
    return order


class Order:
    """When the backport is applied: first of all, or late, once all is imported, built and installed."""

    def __init__(self, name):
        self.name = name

    def check(self, page, rest, page_without=None):
        """Check that `page` works with the backport and fails without it, and that `rest` works anyway.

        Where it does not just fail without it, `page_without` says what is true then.
        """
        if page_without is None:

            def page_without():
                self.fails(page)

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

    def fails(self, page):
        """Check that `page` ends as it does on the release: with a bare AssertionError in ``call_next``."""
        error = stack.failure(page)
        # On 0.15.0 and 0.16.0 another middleware around it adds that there was no response.
        assert any(map(is_bare, stack.leaves(error))), repr(error)


def is_bare(error):
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = (last.name, *last.filename.split("/")[-3:])
    return type(error) is AssertionError and not error.args and place == PLACE
