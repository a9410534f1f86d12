"""The contract as properties: the release agrees with the model, and with itself unpatched."""

import zlib

import pytest
from hypothesis import event, given
from model import BODY, START, Races, Unclear
from programs import FACTS, Asyncio, Trio, any_clients, cases, patient_clients

import starlette_backport


def run_of(messages):
    """Return which call of the application `messages` are from."""
    for message in messages:
        if "run" in message:
            return message["run"]
        for name, value in message.get("headers", ()) if message.get("type") == START else ():
            if name == b"x-run":
                return int(value)
    return 0


def check_order(case, messages):
    """What holds whatever the release does: whole, in one place, and of one call."""
    types = [message.get("type") for message in messages]
    if START in types and case.layers:
        assert set(types[types.index(START) + 1 :]) <= {BODY}
    run = run_of(messages)
    assert {message.get("run", run) for message in messages} <= {run}
    starts = [message for message in messages if message.get("type") == START]
    assert len(starts) <= 1 or not case.layers
    for start in starts:
        assert all(int(value) == run for name, value in start.get("headers", ()) if name == b"x-run")


def check(case, outcome):
    """Compare the outcome on this release with that of the model."""
    check_order(case, outcome.messages)
    try:
        expected = case.expected(run_of(outcome.messages))
    except Unclear as exc:
        event("left to the release: %s" % exc)
        return
    assert outcome.errors == [expected.error] if expected.error else outcome.errors == []
    zipped = {message["zipped"] for message in expected.messages if message.get("zipped")}
    assert simple(outcome.messages, bool(zipped)) == simple(expected.messages, bool(zipped))
    if zipped:
        decompressor = zlib.decompressobj(wbits=31)
        content = decompressor.decompress(content_of(outcome.messages)) + decompressor.flush()
        if zipped == {"whole"} and not expected.error:
            assert decompressor.eof
            assert content == content_of(expected.messages)
        else:
            assert content_of(expected.messages).startswith(content)


def content_of(messages):
    return b"".join(message.get("body", b"") for message in messages if message.get("type") == BODY)


def simple(messages, zipped):
    """Return `messages` with all that may be so or so taken away: where they are compressed, the body."""
    found = []
    for message in messages:
        message = {key: value for key, value in message.items() if key != "zipped"}
        if message.get("type") == BODY:
            if zipped:
                continue
            message.setdefault("body", b"")
            message.setdefault("more_body", False)
        if message.get("type") == START:
            headers = message.get("headers", ())
            if zipped:
                headers = [h for h in headers if h[0] not in (b"content-length", b"content-encoding", b"vary")]
            message["headers"] = sorted(headers)
        found.append(message)
    return found


backends = pytest.mark.parametrize(
    "backend",
    [Asyncio, pytest.param(Trio, marks=pytest.mark.skipif(bool(Trio.missing), reason=str(Trio.missing)))],
    ids=["asyncio", "trio"],
)


@backends
@pytest.mark.usefixtures("patched")
@given(case=cases(patient_clients))
def test_the_model(backend, case):
    outcome = case.serve(backend)
    if backend is Trio and FACTS.races:
        check_order(case, outcome.messages)
        event("0.15.0 and 0.16.0 now and then return no response under trio")
        return
    check(case, outcome)


@backends
@given(case=cases(any_clients))
def test_the_same_as_unpatched(backend, case):
    """What is sent early aside, server and caller see what they would see of the release as it is."""
    try:
        case.expected(0)
    except Races as exc:
        event("left to chance: %s" % exc)
        return
    except Unclear:
        pass
    without = case.without_early().serve(backend)
    with starlette_backport.applied():
        outcome = case.serve(backend)
    check_order(case, outcome.messages)
    assert outcome.as_unpatched() == without.as_unpatched()
