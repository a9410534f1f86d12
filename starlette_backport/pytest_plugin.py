"""A plugin for pytest, for those who ask for it: a run of the tests with the backport.

    pytest -p starlette_backport.pytest_plugin

It applies before the first conftest file is imported, and lets go when pytest is done, however that comes. What
others have applied, before or meanwhile, stays theirs.

A test with the marker ``starlette_unpatched``, or one that uses the fixture of that name, runs on Starlette as
it was released.
"""

import contextlib
import typing

import pytest

from ._backport import IS_PATCHED, applied, apply, in_force, status
from ._early_messages import BackportError
from ._errors import BackportNotNeededWarning
from ._functions import change_of

UNPATCHED = "starlette_unpatched"

# What status() says where there is something to hold.
AFFECTED = ("applied", "not applied")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: "pytest.Config") -> None:
    _apply(early_config)


def pytest_configure(config: "pytest.Config") -> None:
    config.addinivalue_line("markers", UNPATCHED + ": run the test on Starlette as released, without the backport.")
    # Once more, as for some the other hook comes too early: for a conftest file that asks for this plugin, and for
    # the workers of old releases of xdist.
    _apply(config)


def _apply(config: "pytest.Config") -> None:
    """Apply until pytest is done with `config`."""
    stack = contextlib.ExitStack()
    try:
        # Elsewhere it would warn, and nobody would see it yet.
        if status().state in AFFECTED:
            stack.enter_context(applied())
    except BackportError as exc:
        raise pytest.UsageError(str(exc)) from None
    # That comes after pytest_unconfigure(), and without it if a conftest file cannot be imported.
    config.add_cleanup(stack.close)


def pytest_report_header() -> str:
    found = status()
    if found.state == "applied":
        says = "patched"
    elif found.state != "not needed":
        says = "not patched, %s (%s)" % (found.state, found.reason)
    elif found.has_fix:
        says = "does not need it, remove it (%s)" % found.reason
    else:
        says = "does not need it (%s)" % found.reason
    return "starlette-backport: Starlette %s %s" % (found.starlette, says)


@pytest.hookimpl(tryfirst=True)  # Before xdist, which lets nobody else collect.
def pytest_collection(session: "pytest.Session") -> None:
    """Warn where the backport is not needed: from now on pytest has an eye on warnings."""
    if status().state != "not needed" or hasattr(session.config, "workerinput"):
        return  # A worker of xdist: the controller is the one to warn.
    try:
        apply()
    except BackportNotNeededWarning as warning:
        raise pytest.UsageError(str(warning)) from None


@pytest.fixture
def starlette_unpatched() -> typing.Iterator[None]:
    """Starlette as released, without the backport, until the test is over."""
    with _unpatched():
        yield


# pytest sets autouse fixtures of plugins up before all others of the same scope: fixtures of the test alone find
# Starlette unpatched, those that it shares with other tests find it patched.
@pytest.fixture(autouse=True)
def _starlette_unpatched_if_marked(request: "pytest.FixtureRequest") -> typing.Iterator[None]:
    with _unpatched_if_marked(request.node):
        yield


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: "pytest.Item") -> typing.Iterator[None]:
    # Once more, as its fixtures may have applied it. What the test itself applies is applied.
    with _unpatched_if_marked(item):
        yield


@contextlib.contextmanager
def _unpatched_if_marked(item: typing.Any) -> typing.Iterator[None]:
    # The one is there from pytest 3.6 on, the other one until 3.10.
    marker = getattr(item, "get_closest_marker", None) or item.get_marker
    with contextlib.ExitStack() as stack:
        if marker(UNPATCHED):
            stack.enter_context(_unpatched())
        yield


@contextlib.contextmanager
def _unpatched() -> typing.Iterator[None]:
    if status().reason == IS_PATCHED:
        pytest.skip("this Starlette is a patched build, which cannot be unpatched")
    changes = in_force()
    for change in changes:
        change.undo()
    try:
        yield
    finally:
        for change in changes:
            now = change_of(change.function)
            if now is None:
                change.do()
            else:  # The test has applied it.
                now.holders.update(change.holders)
