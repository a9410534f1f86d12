"""The core, without Starlette: a model of the contract, and Hypothesis in search of a difference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlette_backport._messages import BODY, KEPT, START, EarlyStart, Hold, Spare, Unexpected, kind


class Watched(Hold):
    def unexpected(self, received, expected):
        return ValueError(received, expected)


TYPES = st.sampled_from(
    [START, BODY, "http.response.template", "http.response.debug", "http.response.push", "x.unknown", None, 5]
)
MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda type_, number: {"type": type_, "n": number, "headers": [number]}, TYPES, st.integers()),
        st.just({}),
        st.just({"headers": [0]}),
        st.just({"type": START}),
    ),
    max_size=8,
)


def expected(messages):
    """The contract in words of its own: what `call_next` sees, as (kind of thing, content)."""
    seen, early, started = [], [], False
    for message in messages:
        if "type" not in message:
            # Before the start, under python -O the release takes it for that.
            if not started and early and "headers" in message:
                seen.append(("start with", (message, early)))
                early = []
            else:
                seen.append(("as it is", message))
            started = True
        elif message["type"] in (START, BODY):
            if started != (message["type"] == BODY):
                seen.append(("error", (message["type"], BODY if started else START)))
            elif message["type"] == START and early and "headers" in message:
                seen.append(("start with", (message, early)))
                early = []
            else:
                seen.append(("as it is", message))
            started = True
        elif started:
            seen.append(("error", (message["type"], BODY)))
        else:
            early = [*early, message]
    return seen


def observed(messages):
    hold = Watched()
    seen = []
    for message in messages:
        before = dict(message)
        passed = hold.take(message)
        assert message == before
        if passed is KEPT:
            continue
        if isinstance(passed, Unexpected):
            seen.append(("error", passed.error.args))
        elif passed is message:
            seen.append(("as it is", message))
        else:
            assert type(passed) is EarlyStart
            seen.append(("start with", (passed, passed.held)))
            # They live as long as their response, not as long as the application runs.
            assert not hasattr(hold, "held")
    return seen


@settings(max_examples=300, deadline=None, database=None)
@given(MESSAGES)
def test_it_does_what_the_contract_says(messages):
    assert observed(messages) == expected(messages)


def test_whoever_looks_into_an_unexpected_message_gets_the_error():
    message = Unexpected(ValueError("what"))
    for look in (
        lambda: message["type"],
        lambda: message["body"],
        lambda: message.get("body", b""),
        lambda: message.get("more_body"),
    ):
        with pytest.raises(ValueError, match="what"):
            look()
    assert message  # anyio tells by this whether a message still waits for a receiver.


@given(MESSAGES, st.integers(0, 8))
def test_a_start_that_was_not_delivered_can_be_sent_again(messages, position):
    """Whatever was held before the attempt is sent with the one that gets through."""
    early = [message for message in messages if kind(message) not in (START, BODY, kind({}))][:position]
    hold = Watched()
    for message in early:
        hold.take(message)
    first = {"type": START, "status": 200, "headers": []}
    hold.undelivered(hold.take(first))
    passed = hold.take(dict(first, status=504))
    assert passed["status"] == 504
    assert getattr(passed, "held", []) == early
    assert hold.take({"type": BODY}) == {"type": BODY}


def test_a_start_that_may_have_been_delivered():
    """Whether a cancelled start got through cannot be told; if it did, its body is right."""
    hold = Watched()
    hold.undelivered(hold.take({"type": START}))
    assert hold.take({"type": BODY}) == {"type": BODY}


def test_a_body_that_arrives_instead_of_such_a_start():
    hold = Watched()
    hold.undelivered(hold.take({"type": START}))
    body = hold.take({"type": BODY, "more_body": False})
    assert body["type"] == BODY
    assert {body["type"]: 1}[BODY] == 1
    assert body.get("body", b"") == b""
    with pytest.raises(KeyError, match="'body'"):
        body["body"]
    for look in (lambda: body["type"] == START, lambda: body["status"]):
        with pytest.raises(ValueError, match=BODY):
            look()


def test_a_spare_message_gets_lost_where_the_release_would_have_lost_it():
    hold = Watched()
    assert hold.take({"type": START}) == {"type": START}
    assert hold.take(Spare({"type": "http.response.trailers"})) is KEPT
    assert isinstance(hold.take({"type": "http.response.trailers"}), Unexpected)


def test_a_message_that_is_used_again():
    hold = Watched()
    message = {"type": "http.response.push", "path": "/a"}
    hold.take(message)
    message["path"] = "/b"
    hold.take(message)
    assert [held["path"] for held in hold.held] == ["/a", "/b"]


def test_what_has_no_type():
    for message in (None, 5, {}, [], object()):
        assert kind(message) is kind({})
    assert kind({"type": None}) is None
