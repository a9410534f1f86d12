"""The model holds for Starlette 0.24.0 itself.

On 0.24.0 this module runs without the backport, on the affected releases with it. For
all that 0.24.0 carries, both do what the model says. So leaving is free.
"""

import itertools
from unittest import mock

import model
import pytest
import support
from drawing import cases, clients, many, offering, steps
from hypothesis import event, given
from hypothesis import strategies as st
from model import DEBUG, PUSH, TEMPLATE, Case, Client, TemplateStep

import starlette_backport

ONE_DEBUG = {"type": DEBUG, "info": {"template": "page", "context": {}}}


def serve(case):
    """Serve `case` with the fix: the release's own, or else the backport."""
    if not support.AFFECTED:
        return case.serve(model.Asyncio)
    with starlette_backport.applied():
        return case.serve(model.Asyncio)


def is_carried_by_0_24_0(steps):
    """Whether no template comes after another message."""
    is_template = [isinstance(step, TemplateStep) for step in steps]
    return not any(is_template) or ONE_DEBUG not in steps


many_steps = steps(early=st.sampled_from([[ONE_DEBUG], []]))


@many
@given(
    case=cases(
        clients(offering([DEBUG], [DEBUG, PUSH], [PUSH])),
        steps=many_steps.filter(is_carried_by_0_24_0),
    )
)
def test_what_0_24_0_carries(case):
    """The same with the backport as on 0.24.0, for all layers, clients and errors."""
    try:
        model.check(case, serve(case))
    except model.Unclear as exc:
        event("left to the release: %s" % exc)


RESPONSE = [support.START, support.BODY]
PAGE = TemplateStep("page")
PAGE_INFO = {"template": PAGE, "context": {"request": mock.ANY}}
PAGE_DEBUG = {"type": DEBUG, "info": PAGE_INFO}
PAGE_TEMPLATE = dict(PAGE_INFO, type=TEMPLATE)
UNEXPECTED_BODY = (
    "Expected 'http.response.start', but received 'http.response.body'. Layer0"
)


def difference(reason, offers, steps, on_0_24_0, with_backport):
    return pytest.param(offers, steps, on_0_24_0, with_backport, id=reason)


# What the property above leaves out, because it differs. Besides, the class of the
# response has another name.
DIFFERENCES = [
    difference(
        "0.24.0 carries no other messages",
        offers=[PUSH],
        steps=[support.PUSH, *RESPONSE],
        on_0_24_0="AssertionError",
        with_backport=[support.PUSH],
    ),
    difference(
        "0.24.0 carries one message",
        offers=[DEBUG],
        steps=[ONE_DEBUG, ONE_DEBUG, *RESPONSE],
        on_0_24_0="AssertionError",
        with_backport=[ONE_DEBUG, ONE_DEBUG],
    ),
    difference(
        "0.24.0 carries debug messages with info",
        offers=[DEBUG],
        steps=[{"type": DEBUG}, *RESPONSE],
        on_0_24_0="AssertionError",
        with_backport=[{"type": DEBUG}],
    ),
    difference(
        "0.24.0 carries the info alone",
        offers=[DEBUG],
        steps=[dict(ONE_DEBUG, more="more"), *RESPONSE],
        on_0_24_0=[ONE_DEBUG],
        with_backport=[dict(ONE_DEBUG, more="more")],
    ),
    difference(
        "0.24.0 drops an info that is empty",
        offers=[DEBUG],
        steps=[{"type": DEBUG, "info": {}}, *RESPONSE],
        on_0_24_0=[],
        with_backport=[{"type": DEBUG, "info": {}}],
    ),
    difference(
        "the backport changes nothing where nothing is offered",
        offers=[],
        steps=[ONE_DEBUG, *RESPONSE],
        on_0_24_0=[ONE_DEBUG],
        with_backport="AssertionError",
    ),
    difference(
        "0.24.0 does not know the template message any more",
        offers=[TEMPLATE],
        steps=[PAGE],
        on_0_24_0=[],
        with_backport=[PAGE_TEMPLATE],
    ),
    difference(
        "the affected releases prefer the template message",
        offers=[TEMPLATE, DEBUG],
        steps=[PAGE],
        on_0_24_0=[PAGE_DEBUG],
        with_backport=[PAGE_TEMPLATE],
    ),
    difference(
        "0.24.0 does not say what was unexpected",
        offers=[DEBUG],
        steps=[support.BODY],
        on_0_24_0="AssertionError",
        with_backport=UNEXPECTED_BODY,
    ),
]


@pytest.mark.parametrize(("offers", "steps", "on_0_24_0", "with_backport"), DIFFERENCES)
def test_what_differs(offers, steps, on_0_24_0, with_backport):
    client = Client({"extensions": {name: {} for name in offers}})
    messages, errors, _ = serve(Case(steps, [model.Middleware()], client))
    expected = with_backport if support.AFFECTED else on_0_24_0
    if isinstance(expected, str):
        assert errors == [expected]
    else:
        assert errors == []
        early = list(itertools.takewhile(model.is_early, messages))
        assert early == [model.tagged(message, 0) for message in expected]
