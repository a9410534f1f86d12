"""A plugin for pytest that runs the tests with the backport. A project asks for it:

    pytest -p starlette_backport.pytest_plugin

It applies the backport before pytest imports the first conftest file, and lets go when
pytest ends. What other code has applied stays applied. Tests with the marker or the
fixture ``starlette_unpatched`` run on Starlette as released. It needs pytest 3.6.
"""

import contextlib
import warnings
from typing import ContextManager, Iterator

import pytest

from ._api import applied, status, suspended
from ._early_messages import BackportError
from ._errors import NOT_NEEDED, BackportNotNeededWarning
from ._inspection import IS_PATCHED

UNPATCHED = "starlette_unpatched"
THIS_PLUGIN = "-p starlette_backport.pytest_plugin"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: "pytest.Config") -> None:
    apply_until_end(early_config)


def pytest_configure(config: "pytest.Config") -> None:
    config.addinivalue_line(
        "markers", UNPATCHED + ": run the test on Starlette as released."
    )
    # Again, because the other hook does not run where a conftest file asks for this
    # plugin, and in the workers of old releases of xdist.
    apply_until_end(config)


def apply_until_end(config: "pytest.Config") -> None:
    try:
        # Elsewhere there is nothing to apply, and `applied` may warn. But pytest does
        # not show warnings yet.
        if status().state in ("applied", "not applied"):
            stack = contextlib.ExitStack()
            stack.enter_context(applied())
            # Unlike `pytest_unconfigure`, this also runs where a conftest file cannot
            # be imported.
            config.add_cleanup(stack.close)
    except BackportError as exc:
        raise pytest.UsageError("%s: %s" % (THIS_PLUGIN, exc)) from None


def pytest_report_header() -> str:
    found = status()
    reason = found.reason
    if found.state == "not applied":
        reason = "other code has reverted it"
    line = "starlette-backport: Starlette %s, %s (%s)"
    return line % (found.starlette, found.state, reason)


# Before xdist, whose controller runs no other implementation of this hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: "pytest.Session") -> None:
    """Warn where the plugin can go: from now on pytest shows warnings."""
    found = status()
    # In a worker of xdist there is no need: the controller warns.
    if not found.has_fix or hasattr(session.config, "workerinput"):
        return
    text = NOT_NEEDED.format(status=found, what=THIS_PLUGIN)
    try:
        warnings.warn(text, BackportNotNeededWarning, stacklevel=1)
    except BackportNotNeededWarning:
        raise pytest.UsageError(text) from None


@pytest.fixture
def starlette_unpatched() -> Iterator[None]:
    """Run the test on Starlette as released, from where the fixture is used."""
    with unpatched():
        yield


# pytest sets up autouse fixtures of plugins before all others of the same scope. So
# fixtures of the marked test itself run unpatched, too, and those that it shares with
# other tests run patched.
@pytest.fixture(autouse=True)
def _starlette_unpatched_if_marked(request: "pytest.FixtureRequest") -> Iterator[None]:
    with unpatched_if_marked(request.node):
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: "pytest.Item") -> Iterator[None]:
    # Again, because its fixtures may have applied the backport. What the test itself
    # applies is applied.
    with unpatched_if_marked(item):
        yield


def unpatched_if_marked(item: "pytest.Item") -> ContextManager[object]:
    if item.get_closest_marker(UNPATCHED) is None:
        # An empty one does nothing.
        return contextlib.ExitStack()
    return unpatched()


def unpatched() -> ContextManager[object]:
    if status().reason == IS_PATCHED:
        pytest.skip("this Starlette is a patched build, which cannot be unpatched")
    return suspended()
