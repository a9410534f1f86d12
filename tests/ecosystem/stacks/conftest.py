"""Real stacks: what people have around Starlette, in the versions that went with it.

Each row of tests/ecosystem/stacks.json has an environment of its own. Each test has a
process of its own, by pytest-forked: some instrumentation cannot be undone, and the
order of imports is what this is about. So nothing imports Starlette outside of a test.

    pytest -p pytest_forked --forked tests/ecosystem/stacks
"""

import contextlib
import re
import sys
import traceback

import pytest
import stack

import starlette_backport

# The bare AssertionError of ``call_next``. On 0.15.0 and 0.16.0 it is in a group. From
# Python 3.13 on there are carets below the line.
FAILURE = r"""assert message\["type"\] == "http.response.start"
(?:.*\^\n)?.*AssertionError\n"""


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    assert "starlette" not in sys.modules, "Run pytest with --forked."
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE", raising=False)


@pytest.fixture(params=["unpatched", "first", "last", "reverted"])
def phase(request):
    return Phase(request.param)


class Phase:
    """When the backport is applied, and whether it is reverted.

    - unpatched: it is never applied
    - first: it is applied before Starlette is imported
    - last: it is applied once everything is built, and has been used
    - reverted: it is applied first, and reverted once everything has been used
    """

    def __init__(self, name):
        self.name = name
        if name in ("first", "reverted"):
            starlette_backport.apply()

    @property
    def patched(self):
        return starlette_backport.status().state == "applied"

    def begin(self):
        """Apply or revert, now that everything is built and has been used."""
        if self.name == "last":
            starlette_backport.apply()
        if self.name == "reverted":
            starlette_backport.revert()
        assert self.patched is (self.name in ("first", "last"))

    def client(self, app, client_class=stack.client):
        """Use the page of `app` once, begin, and return the client."""
        client = client_class(app)
        with self.fails_unpatched():
            client.get("/page")
        self.begin()
        return client

    @contextlib.contextmanager
    def fails_unpatched(self):
        """Check that the block works while patched, and else fails as released."""
        if self.patched:
            yield
            return
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            yield
        error = traceback.format_exception(caught.type, caught.value, caught.tb)
        assert re.search(FAILURE, "".join(error))

    def check(self, client):
        """Check what comes of an application that `stack.build` made."""
        with self.fails_unpatched():
            stack.check_page(client.get("/page"))
        stack.check_rest(client)
