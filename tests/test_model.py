"""The contract as properties: the release agrees with the model, and with itself unpatched."""

import pytest
from agreement import check, check_order
from hypothesis import event, given
from model import Races, Unclear
from programs import FACTS, Asyncio, Trio, any_clients, cases, patient_clients

import starlette_backport

backends = pytest.mark.parametrize(
    "backend",
    [Asyncio, pytest.param(Trio, marks=pytest.mark.skipif(bool(Trio.missing), reason=str(Trio.missing)))],
    ids=["asyncio", "trio"],
)


def left_to_chance(case):
    """Return whether the release does now this and now that with `case`."""
    try:
        case.expected(0)
    except Races as exc:
        event("left to chance: %s" % exc)
        return True
    except Unclear:
        pass
    return False


@backends
@pytest.mark.usefixtures("patched")
@given(case=cases(patient_clients))
def test_the_model(backend, case):
    outcome = case.serve(backend)
    if backend is Trio and FACTS.races:
        check_order(case, outcome.messages)
        event("0.15.0 and 0.16.0 now and then return no response under trio")
        return
    try:
        check(case, outcome)
    except Unclear as exc:
        event("left to the release: %s" % exc)


@backends
@given(case=cases(any_clients))
def test_the_same_as_unpatched(backend, release, case):
    """What is sent early aside, server and caller see what they would see of the release as it is."""
    if left_to_chance(case):
        return
    without = release(case.without_early(), backend)
    with starlette_backport.applied():
        outcome = case.serve(backend)
    check_order(case, outcome.messages)
    assert outcome.as_unpatched() == without.as_unpatched()
