"""Middleware that people add, made of ``BaseHTTPMiddleware`` or next to one."""

import re

import pytest
import release
import stack


def test_slowapi(phase):
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded
    from slowapi.middleware import SlowAPIMiddleware

    app = stack.build(outer=False)
    app.state.limiter = Limiter(
        key_func=lambda request: request.headers.get("x-user", "nobody"),
        default_limits=["2/minute"],
        headers_enabled=True,
    )
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    app.add_middleware(SlowAPIMiddleware)
    client = phase.client(app)

    def get(path):
        return client.get(path, headers={"x-user": "somebody"})

    for remaining in "1", "0":
        with phase.fails_unpatched():
            response = get("/page")
            stack.check_page(response, outer=None)
            assert response.headers["x-ratelimit-remaining"] == remaining
        response = get("/plain")
        assert response.text == "plain"
        assert response.headers["x-ratelimit-remaining"] == remaining
    assert get("/page").status_code == 429
    assert get("/plain").status_code == 429


def test_starlette_context(phase):
    from starlette_context import context, plugins
    from starlette_context.middleware import ContextMiddleware

    app = build_with_identity(lambda: context["X-Correlation-ID"])
    app.add_middleware(ContextMiddleware, plugins=(plugins.CorrelationIdPlugin(),))
    check_identity(phase, app, "x-correlation-id")


def test_asgi_correlation_id(phase):
    from asgi_correlation_id import CorrelationIdMiddleware, correlation_id

    app = build_with_identity(correlation_id.get)
    app.add_middleware(CorrelationIdMiddleware)
    check_identity(phase, app, "x-request-id")


def build_with_identity(identity):
    """Return an application whose page shows the identity of the request."""
    return stack.build(lambda request: release.render(request, identity()))


def check_identity(phase, app, header):
    """Check that the page shows the same identity as the `header`."""
    client = phase.client(app)
    with phase.fails_unpatched():
        response = client.get("/page")
        stack.check_page(response, response.headers[header])
    assert len(client.get("/plain").headers[header]) == 32
    stack.check_rest(client)


def test_starlette_exporter(phase):
    from starlette_exporter import PrometheusMiddleware, handle_metrics

    app = stack.build()
    app.add_middleware(PrometheusMiddleware, app_name="stack")
    app.add_route("/metrics", handle_metrics)
    client = phase.client(app)
    phase.check(client)
    text = client.get("/metrics").text
    counted = set(re.findall('requests_total{.*path="(.*?)",status_code="200"', text))
    assert "/plain" in counted
    if phase.patched:
        assert "/page" in counted


def test_sqladmin(phase):
    """Its pages are templates, so the whole of it fails behind a middleware."""
    import sqlalchemy
    from sqladmin import Admin

    app = stack.build()
    Admin(app, sqlalchemy.create_engine("sqlite://"))
    client = phase.client(app)
    for path, status, template in [
        ("", 200, "index.html"),
        ("nothing/list", 404, "error.html"),
    ]:
        with phase.fails_unpatched():
            response = client.get("/admin/" + path)
            assert response.status_code == status
            assert response.template.name == template
            assert response.headers["x-outer"] == "seen"
    assert client.get("/admin/statics/css/main.css").status_code == 200
    stack.check_rest(client)


def test_asgiref(phase):
    """A middleware that returns the response as an application of ASGI 3."""
    from asgiref.compatibility import guarantee_single_callable

    app = stack.build(outer=False)
    stack.add_outer(app, finish=guarantee_single_callable)
    client = phase.client(app)
    phase.check(client)


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_gzip(phase, place):
    from starlette.middleware.gzip import GZipMiddleware

    check_compression(phase, place, GZipMiddleware, ["gzip"])


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_brotli(phase, place):
    from brotli_asgi import BrotliMiddleware

    check_compression(phase, place, BrotliMiddleware, ["br", "gzip"])


def check_compression(phase, place, middleware, encodings):
    """Check middleware that drops the message with the template if it compresses.

    It does so on all releases of Starlette, with the backport and without it.
    """
    app = stack.build(outer=place == "outside")
    app.add_middleware(middleware, minimum_size=3)
    if place == "inside":
        stack.add_outer(app)
    client = stack.client(app)
    client.get("/plain")
    phase.begin()

    def get(path, encoding):
        response = client.get(path, headers={"accept-encoding": encoding})
        assert response.headers.get("content-encoding", "identity") == encoding
        return response

    with phase.fails_unpatched():
        stack.check_page(get("/page", "identity"))
    for encoding in encodings:
        assert get("/plain", encoding).text == "plain"
        if place == "inside":
            # The message is gone before it comes to ``call_next``.
            stack.check_page(get("/page", encoding), template=False)
        else:
            with phase.fails_unpatched():
                stack.check_page(get("/page", encoding), template=False)
