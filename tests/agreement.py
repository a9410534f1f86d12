"""Whether what came of a case is what the model says."""

import zlib

from model import BODY, START
from programs import Outcome


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
    for message in messages:
        if message.get("type") == START:
            assert all(int(value) == run for name, value in message.get("headers", ()) if name == b"x-run")


def check(case, outcome, carries=True, debug=True):
    """Compare the outcome on this release with that of the model. Raises Unclear where there is no more to say."""
    check_order(case, outcome.messages)
    expected = case.expected(run_of(outcome.messages), carries, debug)
    expected = Outcome(expected.messages, [expected.error] if expected.error else [])
    assert (outcome.errors if carries else outcome.as_unpatched()[1]) == (
        expected.errors if carries else expected.as_unpatched()[1]
    )
    zipped = {message["zipped"] for message in expected.messages if message.get("zipped")}
    assert simple(outcome.messages, bool(zipped)) == simple(expected.messages, bool(zipped))
    if zipped:
        decompressor = zlib.decompressobj(wbits=31)
        content = decompressor.decompress(content_of(outcome.messages)) + decompressor.flush()
        if zipped == {"whole"} and not expected.errors:
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
