"""Middleware that people add, most of it made of ``BaseHTTPMiddleware`` or next to one."""

import itertools

import stack


def build():
    """Return a FastAPI application without middleware."""
    from fastapi import FastAPI
    from starlette.requests import Request

    app = FastAPI()

    @app.get("/page")
    async def page_endpoint(request: Request):
        return stack.render(request)

    @app.get("/plain")
    async def plain():
        return stack.plain("plain " * 100)

    return app


def test_slowapi(order):
    from slowapi import Limiter, _rate_limit_exceeded_handler
    from slowapi.errors import RateLimitExceeded
    from slowapi.middleware import SlowAPIMiddleware

    app = build()
    # Each turn is another user, with three requests a minute.
    users = map(str, itertools.count())
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
        assert response.status_code == 429
        assert getattr(response, "template", None) is None

    def page():
        check_limit("/page", stack.check_page)

    def rest():
        check_limit("/plain", lambda response: response.raise_for_status())

    order.check(page, rest)


def test_starlette_context(order):
    from starlette.requests import Request
    from starlette_context import context, plugins
    from starlette_context.middleware import ContextMiddleware

    app = build()
    app.add_middleware(ContextMiddleware, plugins=(plugins.CorrelationIdPlugin(),))

    @app.get("/context")
    async def from_context(request: Request):
        return stack.render(request, context["X-Correlation-ID"])

    @app.get("/plain-context")
    async def plain_from_context():
        return stack.plain(context["X-Correlation-ID"])

    client = stack.client(app)
    identity = "0" * 31 + "7"

    def page():
        response = client.get("/context", headers={"x-correlation-id": identity})
        stack.check_page(response, identity)
        assert response.headers["x-correlation-id"] == identity
        stack.check_page(client.get("/page"))

    def rest():
        response = client.get("/plain-context", headers={"x-correlation-id": identity})
        assert response.text == response.headers["x-correlation-id"] == identity
        assert stack.failure(lambda: context["X-Correlation-ID"])

    order.check(page, rest)


def test_starlette_exporter(order):
    from starlette_exporter import PrometheusMiddleware, handle_metrics

    app = build()
    stack.add_outer(app)
    app.add_middleware(PrometheusMiddleware, app_name="stack")
    app.add_route("/metrics", handle_metrics)
    client = stack.client(app)

    def count(path):
        labels = ['path="%s"' % path, 'status_code="200"', "requests_total{"]
        lines = [line for line in client.get("/metrics").text.splitlines() if all(label in line for label in labels)]
        return sum(float(line.split()[-1]) for line in lines)

    def page():
        before = count("/page")
        stack.check_page(client.get("/page"))
        assert count("/page") == before + 1

    def rest():
        before = count("/plain")
        assert client.get("/plain").headers["x-outer"] == "seen"
        assert count("/plain") == before + 1

    order.check(page, rest)


def test_asgi_correlation_id(order):
    from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
    from starlette.requests import Request

    app = build()
    stack.add_outer(app)
    app.add_middleware(CorrelationIdMiddleware)

    @app.get("/identity")
    async def with_identity(request: Request):
        return stack.render(request, correlation_id.get())

    @app.get("/plain-identity")
    async def plain_with_identity():
        return stack.plain(correlation_id.get())

    client = stack.client(app)

    def page():
        response = client.get("/identity")
        identity = response.headers["x-request-id"]
        assert len(identity) == 32
        stack.check_page(response, identity)

    def rest():
        response = client.get("/plain-identity")
        assert len(response.text) == 32
        assert response.text == response.headers["x-request-id"]

    order.check(page, rest)


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

    app = build()
    stack.add_outer(app)
    Admin(app, engine).add_view(UserAdmin)
    client = stack.client(app)

    def page():
        for path, template in [
            ("/admin/", "index.html"),
            ("/admin/user/list", "list.html"),
            ("/admin/user/details/1", "details.html"),
        ]:
            response = client.get(path)
            assert response.status_code == 200
            assert response.template.name == template
            assert "Somebody" in response.text or path == "/admin/"
            assert response.headers["x-outer"] == "seen"
        response = client.get("/admin/nothing/list")
        assert (response.status_code, response.template.name) == (404, "error.html")

    def rest():
        assert client.get("/admin/statics/css/main.css").status_code == 200
        assert client.get("/nowhere").status_code == 404
        assert client.get("/plain").headers["x-outer"] == "seen"

    order.check(page, rest)


def check_compressed(client, encoding):
    response = client.get("/plain", headers={"accept-encoding": encoding})
    assert response.headers["content-encoding"] == encoding
    assert response.headers["x-outer"] == "seen"
    assert response.text == "plain " * 100


def check_without_template(response):
    """Check a page whose message did not get through."""
    assert response.status_code == 200
    assert response.text == "<h1>Hello, World!</h1>"
    assert getattr(response, "template", None) is None


def test_brotli_outside(order):
    """Its brotli drops the message, as gzip did. Where it hands over to gzip, or compresses nothing, it arrives."""
    from brotli_asgi import BrotliMiddleware

    app = build()
    stack.add_outer(app)
    app.add_middleware(BrotliMiddleware, minimum_size=10)
    client = stack.client(app)

    def page():
        response = client.get("/page", headers={"accept-encoding": "br"})
        assert response.headers["content-encoding"] == "br"
        check_without_template(response)
        for encoding in "gzip", "identity":
            response = client.get("/page", headers={"accept-encoding": encoding})
            stack.check_page(response)
            assert response.headers.get("content-encoding", "identity") == encoding

    def rest():
        check_compressed(client, "br")
        check_compressed(client, "gzip")

    order.check(page, rest)


def test_brotli_inside(order):
    """Where it drops the message nothing fails, and nothing arrives, with and without the backport."""
    from brotli_asgi import BrotliMiddleware

    app = build()
    app.add_middleware(BrotliMiddleware, minimum_size=10)
    stack.add_outer(app)
    client = stack.client(app)

    def get(encoding):
        return client.get("/page", headers={"accept-encoding": encoding})

    def page():
        stack.check_page(get("identity"))
        stack.check_page(get("gzip"))

    def page_without():
        order.fails(lambda: stack.check_page(get("identity")))
        check_without_template(get("gzip"))

    def rest():
        check_without_template(get("br"))
        check_compressed(client, "br")
        check_compressed(client, "gzip")

    order.check(page, rest, page_without)
