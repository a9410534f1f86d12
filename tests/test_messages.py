"""The core, without Starlette: a model of the contract, and Hypothesis in search of a difference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlette_backport._messages import BODY, START, EarlyHeaders, Hold, Unexpected, kind

TYPES = st.sampled_from(
    [START, BODY, "http.response.template", "http.response.debug", "http.response.push", "x.unknown", None, 5]
)
MESSAGES = st.lists(
    st.one_of(
        st.builds(
            lambda type_, number: {"type": type_, "n": number, "headers": [number]}, TYPES, st.integers()
        ),
        st.just({}),
        st.just({"type": START}),
    ),
    max_size=8,
)


def expected(messages):
    """The contract in words of its own: what `call_next` sees, as (kind of thing, content)."""
    seen, early, started = [], [], False
    for message in messages:
        if "type" not in message:
            seen.append(("as it is", message))
        elif message["type"] in (START, BODY):
            if started != (message["type"] == BODY):
                seen.append(("error", (message["type"], BODY if started else START)))
            elif message["type"] == START and early and "headers" in message:
                seen.append(("start with", (message["headers"], early)))
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
    hold = Hold(lambda received, wanted: ValueError(received, wanted))
    seen = []
    for message in messages:
        before = dict(message)
        passed = hold.take(message)
        assert message == before
        if passed is None:
            continue
        if isinstance(passed, Unexpected):
            seen.append(("error", passed.error.args))
        elif passed is message:
            seen.append(("as it is", message))
        else:
            headers = passed["headers"]
            assert type(headers) is EarlyHeaders
            assert dict(passed, headers=message["headers"]) == message
            seen.append(("start with", (list(headers), headers.held)))
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


def test_what_has_no_type():
    for message in (None, 5, {}, [], object()):
        assert kind(message) is kind({})
    assert kind({"type": None}) is None
