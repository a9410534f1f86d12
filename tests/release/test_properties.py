"""Any request."""

import gc
import gzip
import sys
import types

import model
import pytest
import support
from drawing import (
    cases,
    clients,
    many,
    no_early,
    nothing,
    offering,
    something,
    steps,
    websockets,
)
from hypothesis import event, given
from model import PUSH

import starlette_backport


@pytest.fixture(autouse=True, scope="module")
def _gzip():
    """Let gzip say the same each time, and nothing about responses that break off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gzip, "time", types.SimpleNamespace(time=lambda: 0))
        # Newer Pythons complain that Starlette does not close its files.
        patch.setattr(sys, "unraisablehook", lambda args: None, raising=False)
        yield
        gc.collect()


trio = pytest.param(
    model.Trio,
    id="trio",
    marks=pytest.mark.skipif(
        model.trio is None,
        reason="trio is not installed: anyio 3 needs one before 0.22, "
        "which spoils tracebacks from Python 3.11 on",
    ),
)
BACKENDS = [pytest.param(model.Asyncio, id="asyncio")]
# Up to 0.14.2 Starlette is made for asyncio alone. On 0.15.0 and 0.16.0 a middleware on
# trio now and then returns no response, unpatched as well.
if not support.QUEUE and not model.RACES:
    BACKENDS.append(trio)
backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
@many
@given(case=cases(clients(something)))
def test_what_a_server_receives(backend, case):
    """Early messages go with their response; all else is as the model says."""
    with starlette_backport.applied():
        outcome = case.serve(backend)
    try:
        model.check(case, outcome)
    except model.Unclear as exc:
        event("left to the release: %s" % exc)


@support.needs_unpatched
@backends
@many
@given(case=cases(clients(nothing | websockets, may_leave=True)))
def test_nothing_offered_nothing_changed(backend, case):
    """Server and application see the same messages and errors at the same moments.

    For other scopes than those of HTTP nothing counts as offered.
    """
    if not case.races():
        unpatched = case.serve(backend)
        with starlette_backport.applied():
            assert case.serve(backend) == unpatched


def without_explanation(outcome):
    """Return `outcome` with the errors that the unpatched release raises there."""
    errors = {
        "AssertionError" if error.startswith("Expected ") else error
        for error in outcome.errors
    }
    return outcome._replace(errors=errors)


@support.needs_unpatched
@backends
@many
@given(
    case=cases(
        clients(offering([PUSH], ["x.unknown"]), may_leave=True), steps(early=no_early)
    )
)
def test_nothing_early_nothing_changed(backend, case):
    """The same, where extensions are offered but nobody sends anything early."""
    if not case.races():
        unpatched = case.serve(backend)
        with starlette_backport.applied():
            patched = case.serve(backend)
        assert without_explanation(patched) == without_explanation(unpatched)
