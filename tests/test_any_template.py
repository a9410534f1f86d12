"""Templates of any kind, through the test client: the same behind middleware as without any."""

import pytest
import support
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from support import PassThrough, middleware

import starlette_backport

jinja2 = pytest.importorskip("jinja2", reason="templates need jinja2")

# Text that a template may consist of, and that is escaped where it stands for itself.
texts = st.text(alphabet="ab <>&\"'/\\\n\t\u00e9\u6f22\U0001f600\u202e", max_size=12)
names = st.sampled_from(["title", "items", "nested"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
contexts = st.dictionaries(names, values, max_size=3)
parts = st.one_of(
    texts,
    st.sampled_from(
        [
            "{{ title }}",
            "{{ title|safe }}",
            "{{ (nested or {}).title }}",
            "{{ items|length if items is sequence else title|default('none') }}",
            "{% for item in items is sequence and items or [] %}{{ loop.index }}: {{ item }};{% endfor %}",
            "{% set title = 'inner' %}{{ title|upper }}",
            "{% raw %}{{ title }}{% endraw %}",
            "{{ url_for('page') }}",
            "{# nothing #}",
        ]
    ),
)
pages = st.lists(parts, max_size=6).map("".join)
inheriting = pages.map(
    lambda block: "{% extends 'base.html' %}{% block content %}" + block + "{{ super() }}{% endblock %}"
)


@middleware
async def AddingAHeader(self, request, call_next):
    response = await call_next(request)
    response.headers["x-added"] = "1"
    return response


layers = st.lists(st.sampled_from([PassThrough, AddingAHeader, GZipMiddleware]), min_size=1, unique=True)


def ask(page, base, context, layers):
    """Return what the test client makes of a page behind `layers`."""
    app = Starlette()
    loader = jinja2.DictLoader({"page.html": page, "base.html": base})
    render = renderer(app, loader)

    async def endpoint(request):
        return render("page.html", dict(context, request=request))

    app.add_route("/", endpoint, name="page")
    for layer in layers:
        app.add_middleware(layer)
    return TestClient(app).get("/")


def renderer(app, loader):
    """Return what makes a template response on this release, with templates from `loader`."""
    try:
        from starlette.templating import Jinja2Templates
    except ImportError:
        app.template_env = app.load_template_env(".")
        app.template_env.loader = loader
        return lambda name, context: support.TemplateResponse(app.get_template(name), context)
    templates = Jinja2Templates(directory=".")
    templates.env.loader = loader
    return templates.TemplateResponse


@given(page=pages | inheriting, base=pages, context=contexts, layers=layers)
def test_any_template(page, base, context, layers):
    base += "{% block content %}" + base + "{% endblock %}"
    alone = ask(page, base, context, [])
    with starlette_backport.applied():
        behind = ask(page, base, context, layers)
    assert behind.status_code == alone.status_code == 200
    assert behind.text == alone.text
    assert behind.template.name == alone.template.name == "page.html"
    request = behind.context.pop("request")
    assert dict(request.query_params) == {}
    del alone.context["request"]
    assert behind.context == alone.context == context
