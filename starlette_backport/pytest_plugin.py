"""A plugin for pytest that runs the tests with the backport. A project asks for it:

    pytest -p starlette_backport.pytest_plugin

It applies before pytest imports the first conftest file, and lets go when pytest ends. What other code has applied
stays applied. Tests with the marker or the fixture ``starlette_unpatched`` run on Starlette as released.
"""

import contextlib
import typing

import pytest

from ._api import applied, apply, status, suspended
from ._early_messages import BackportError
from ._errors import BackportNotNeededWarning
from ._inspection import IS_PATCHED

UNPATCHED = "starlette_unpatched"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: "pytest.Config") -> None:
    _apply(early_config)


def pytest_configure(config: "pytest.Config") -> None:
    config.addinivalue_line(
        "markers",
        UNPATCHED + ": run the test on Starlette as released, without the backport.",
    )
    # Again, because the other hook does not run where a conftest file asks for this plugin, and in the workers of old
    # releases of xdist.
    _apply(config)


def _apply(config: "pytest.Config") -> None:
    """Apply until pytest is done with `config`."""
    stack = contextlib.ExitStack()
    try:
        # Where there is nothing to apply, `applied` would warn, and pytest does not show warnings yet.
        if status().state in ("applied", "not applied"):
            stack.enter_context(applied())
    except BackportError as exc:
        raise pytest.UsageError(str(exc)) from None
    # Unlike pytest_unconfigure(), this also runs where a conftest file cannot be imported.
    config.add_cleanup(stack.close)


def pytest_report_header() -> str:
    found = status()
    if found.state == "applied":
        says = "patched"
    elif found.has_fix:
        says = "does not need it, remove it (%s)" % found.reason
    else:
        says = "not patched, %s (%s)" % (found.state, found.reason)
    return "starlette-backport: Starlette %s %s" % (found.starlette, says)


@pytest.hookimpl(
    tryfirst=True
)  # Before xdist, whose controller runs no other hook here.
def pytest_collection(session: "pytest.Session") -> None:
    """Warn where the backport is not needed: from now on pytest shows warnings."""
    if status().state != "not needed" or hasattr(session.config, "workerinput"):
        return  # In a worker of xdist: the controller warns.
    try:
        apply()
    except BackportNotNeededWarning as warning:
        raise pytest.UsageError(str(warning)) from None


@pytest.fixture
def starlette_unpatched() -> typing.Iterator[None]:
    """Run the test on Starlette as released, without the backport, from where the fixture is used."""
    with _unpatched():
        yield


# pytest sets up autouse fixtures of plugins before all others of the same scope. So fixtures of the marked test itself
# run unpatched, too, and those that it shares with other tests run patched.
@pytest.fixture(autouse=True)
def _starlette_unpatched_if_marked(
    request: "pytest.FixtureRequest",
) -> typing.Iterator[None]:
    with _unpatched_if_marked(request.node):
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: "pytest.Item") -> typing.Iterator[None]:
    # Again, because its fixtures may have applied it. What the test itself applies is applied.
    with _unpatched_if_marked(item):
        yield


@contextlib.contextmanager
def _unpatched_if_marked(item: typing.Any) -> typing.Iterator[None]:
    # pytest has the first since 3.6, and had the second until 3.10.
    marker = getattr(item, "get_closest_marker", None) or item.get_marker
    with contextlib.ExitStack() as stack:
        if marker(UNPATCHED):
            stack.enter_context(_unpatched())
        yield


@contextlib.contextmanager
def _unpatched() -> typing.Iterator[None]:
    if status().reason == IS_PATCHED:
        pytest.skip("this Starlette is a patched build, which cannot be unpatched")
    with suspended():
        yield
