"""Any request, and any template response."""

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
from hypothesis import strategies as st
from model import PUSH
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

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


# Template responses.

texts = st.text(
    alphabet="ab <>&\"'/\\\n\t\u00e9\u6f22\U0001f600\u202e",
    max_size=12,
)
names = st.sampled_from(["title", "items", "nested"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2)
    ),
    max_leaves=5,
)
contexts = st.dictionaries(names, values, max_size=3)
parts = [
    "{{ title }}",
    "{{ title|safe }}",
    "{{ (nested or {}).title }}",
    "{{ items|length if items is sequence else title|default('none') }}",
    "{% for item in items is sequence and items or [] %}"
    "{{ loop.index }}: {{ item }};"
    "{% endfor %}",
    "{% set title = 'inner' %}{{ title|upper }}",
    "{% raw %}{{ title }}{% endraw %}",
    "{{ url_for('page') }}",
    "{# nothing #}",
]
pages = st.lists(texts | st.sampled_from(parts), max_size=6).map("".join)
inheriting = pages.map(
    "{{% extends 'base.html' %}}"
    "{{% block content %}}{}{{{{ super() }}}}{{% endblock %}}".format
)


@support.middleware
async def AddingAHeader(self, request, call_next):
    response = await call_next(request)
    response.headers["x-added"] = "1"
    return response


layers = st.lists(
    st.sampled_from([support.PassThrough, AddingAHeader, GZipMiddleware]),
    min_size=1,
    unique=True,
)


def ask(page, base, context, layers, encoding):
    """Return what the test client makes of a page behind `layers`."""
    jinja2 = pytest.importorskip("jinja2", reason="templates need jinja2")
    base += "{% block content %}{% endblock %}"
    loader = jinja2.DictLoader({"page.html": page, "base.html": base})
    env = jinja2.Environment(autoescape=True, loader=loader)
    app = Starlette()

    async def endpoint(request):
        env.globals["url_for"] = request.url_for
        template = env.get_template("page.html")
        return support.TemplateResponse(template, dict(context, request=request))

    app.add_route("/", endpoint, name="page")
    for layer in layers:
        app.add_middleware(layer)
    return TestClient(app).get("/", headers={"accept-encoding": encoding})


@given(
    page=pages | inheriting,
    base=pages,
    context=contexts,
    layers=layers,
    encoding=st.sampled_from(["gzip", "identity"]),
)
def test_any_template(page, base, context, layers, encoding):
    """The test client shows text, template and context as it does without middleware.

    Behind gzip it shows the text alone, as before, and as on 0.24.0.
    """
    alone = ask(page, base, context, [], encoding)
    with starlette_backport.applied():
        behind = ask(page, base, context, layers, encoding)
    assert behind.status_code == alone.status_code == 200
    assert behind.text == alone.text
    if GZipMiddleware in layers and encoding == "gzip":
        assert not hasattr(behind, "template")
        return
    assert behind.template.name == "page.html"
    assert set(behind.context) == {"request", *context}
    assert all(behind.context[name] == context[name] for name in context)
