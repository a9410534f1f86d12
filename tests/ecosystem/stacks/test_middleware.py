"""Middleware that people add, most of it made of ``BaseHTTPMiddleware`` or next to one."""

import itertools

import pytest
import stack


def test_slowapi(order):
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded
    from slowapi.middleware import SlowAPIMiddleware

    app = stack.build(outer=False)
    users = map(str, itertools.count())  # Each turn is another user, with three requests a minute.
    app.state.limiter = Limiter(
        key_func=lambda request: request.headers["x-user"], default_limits=["3/minute"], headers_enabled=True
    )
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    app.add_middleware(SlowAPIMiddleware)
    client = stack.client(app)

    def check_limit(path, check):
        headers = {"x-user": next(users)}
        for remaining in "2", "1", "0":
            response = client.get(path, headers=headers)
            check(response)
            assert response.headers["x-ratelimit-remaining"] == remaining
        response = client.get(path, headers=headers)
        assert (response.status_code, getattr(response, "template", None)) == (429, None)

    order.check(
        lambda: check_limit("/page", stack.check_page),
        lambda: check_limit("/plain", lambda response: response.raise_for_status()),
    )


def check_identity(order, app, header, identity):
    """Check that `identity` is in the context of the application, and in a header."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse

    @app.get("/identity")
    async def page_of_identity(request: Request):
        return stack.render(request, identity())

    @app.get("/plain-identity")
    async def plain_identity():
        return PlainTextResponse(identity())

    client = stack.client(app)

    def page():
        response = client.get("/identity")
        stack.check_page(response, response.headers[header], outer="seen")

    def rest():
        response = client.get("/plain-identity")
        assert len(response.text) == 32
        assert response.text == response.headers[header]

    order.check(page, rest)


def test_starlette_context(order):
    from starlette_context import context, plugins
    from starlette_context.middleware import ContextMiddleware

    app = stack.build()
    app.add_middleware(ContextMiddleware, plugins=(plugins.CorrelationIdPlugin(),))
    check_identity(order, app, "x-correlation-id", lambda: context["X-Correlation-ID"])


def test_asgi_correlation_id(order):
    from asgi_correlation_id import CorrelationIdMiddleware, correlation_id

    app = stack.build()
    app.add_middleware(CorrelationIdMiddleware)
    check_identity(order, app, "x-request-id", correlation_id.get)


def test_starlette_exporter(order):
    from starlette_exporter import PrometheusMiddleware, handle_metrics

    app = stack.build()
    app.add_middleware(PrometheusMiddleware, app_name="stack")
    app.add_route("/metrics", handle_metrics)
    client = stack.client(app)
    checks = dict(zip(["/page", "/plain"], stack.checks(client)))

    def count(path):
        labels = ['path="%s"' % path, 'status_code="200"', "requests_total{"]
        lines = [line for line in client.get("/metrics").text.splitlines() if all(label in line for label in labels)]
        return sum(float(line.split()[-1]) for line in lines)

    def check_counted(path):
        before = count(path)
        checks[path]()
        assert count(path) == before + 1

    order.check(lambda: check_counted("/page"), lambda: check_counted("/plain"))


def test_sqladmin(order):
    """Its pages are templates, so the whole of it fails behind a middleware."""
    import sqlalchemy
    from sqladmin import Admin, ModelView
    from sqlalchemy.orm import Session, declarative_base
    from sqlalchemy.pool import StaticPool

    Base = declarative_base()

    class User(Base):
        __tablename__ = "users"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        name = sqlalchemy.Column(sqlalchemy.String)

    class UserAdmin(ModelView, model=User):
        column_list = [User.id, User.name]  # noqa: RUF012

    engine = sqlalchemy.create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool, future=True
    )
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(User(name="Somebody"))
        session.commit()
    app = stack.build()
    Admin(app, engine).add_view(UserAdmin)
    client = stack.client(app)
    pages = {"": "index", "user/list": "list", "user/details/1": "details", "nothing/list": "error"}

    def page():
        for path, template in pages.items():
            response = client.get("/admin/" + path)
            assert response.status_code == (404 if template == "error" else 200)
            assert response.template.name == template + ".html"
            assert response.headers["x-outer"] == "seen"
            assert ("Somebody" in response.text) == path.startswith("user")

    def rest():
        assert client.get("/admin/statics/css/main.css").status_code == 200
        assert client.get("/plain").headers["x-outer"] == "seen"

    order.check(page, rest)


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_brotli(order, place):
    """Its brotli drops the message, as gzip did. Where it hands over to gzip, or compresses nothing, it arrives."""
    from brotli_asgi import BrotliMiddleware

    app = stack.build(outer=place == "outside")
    app.add_middleware(BrotliMiddleware, minimum_size=3)
    if place == "inside":
        stack.add_outer(app)
    client = stack.client(app)

    def check(encoding, template=True):
        response = client.get("/page", headers={"accept-encoding": encoding})
        assert response.headers.get("content-encoding", "identity") == encoding
        stack.check_page(response, outer="seen", template=template)

    def page():
        check("identity")
        check("gzip")
        check("br", template=False)

    def page_without():
        order.fails(check, "identity")
        if place == "inside":  # Where it is dropped before a middleware gets it, nothing fails.
            check("gzip", template=False)
            check("br", template=False)

    def rest():
        for encoding in "br", "gzip":
            response = client.get("/plain", headers={"accept-encoding": encoding})
            assert (response.text, response.headers["content-encoding"]) == ("plain", encoding)

    order.check(page, rest, page_without)
