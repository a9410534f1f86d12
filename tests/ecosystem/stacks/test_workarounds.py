"""Work-arounds that projects carry themselves: each still works, and which ones can be deleted now.

In each test there is an application with the work-around, and the same one with it deleted.
"""

import asyncio

import pytest
import stack

import starlette_backport


def build(middleware, render=stack.render):
    """Return an application with `middleware`, a ``BaseHTTPMiddleware``, around a page by `render`."""
    app = stack.build(render, outer=False)
    app.add_middleware(middleware)
    return app


def outer_class():
    from starlette.middleware.base import BaseHTTPMiddleware

    class Outer(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-outer"] = "seen"
            return response

    return Outer


def check(order, app, deleted, outer="seen", template=False):
    """Check `app`, which has a work-around, and `deleted`, which has it no more."""
    client, plainly = stack.client(app), stack.client(deleted)

    def check_work_around():
        response = client.get("/page")
        stack.check_page(response, template=template)
        assert response.headers.get("x-outer") == outer

    def rest():
        check_work_around()
        response = client.get("/plain")
        assert (response.text, response.headers.get("x-outer")) == ("plain", outer)
        assert str(stack.failure(client.get, "/error")) == "error"

    order.check(lambda: stack.check_page(plainly.get("/page"), outer="seen"), rest)


def test_exclude_middleware(order):
    """A fixture that takes the middleware out of the application under test: what it does is not tested then."""
    app = build(outer_class())
    app.user_middleware = [middleware for middleware in app.user_middleware if middleware.cls.__name__ != "Outer"]
    app.middleware_stack = app.build_middleware_stack()
    check(order, app, build(outer_class()), outer=None, template=True)


def test_response_that_skips_its_message(order):
    """A template response that goes straight to the response below it: there is no ``response.template``."""
    from starlette.responses import Response
    from starlette.templating import Jinja2Templates, _TemplateResponse

    class Quiet(_TemplateResponse):
        async def __call__(self, scope, receive, send):
            await Response.__call__(self, scope, receive, send)

    def render(request):
        template = Jinja2Templates(directory=stack.TEMPLATES).get_template("page.html")
        return Quiet(template, {"request": request, "name": "World"})

    check(order, build(outer_class(), render), build(outer_class()))


@pytest.mark.parametrize("all_of_them", [True, False])
def test_middleware_that_takes_the_offer_away(order, all_of_them):
    Outer = outer_class()

    class NoTemplates(Outer):
        async def dispatch(self, request, call_next):
            if all_of_them:
                request.scope["extensions"] = {}
            else:
                request.scope["extensions"].pop("http.response.template", None)
            return await super().dispatch(request, call_next)

    check(order, build(NoTemplates), build(Outer))


def own_methods():
    """Return a ``call_next`` that skips early messages, as projects have it, and the ``__call__`` to go with it."""
    from starlette.requests import Request
    from starlette.responses import StreamingResponse

    async def call_next(self, request):
        queue = asyncio.Queue()

        async def serve():
            try:
                await self.app(request.scope, request.receive, queue.put)
            finally:
                await queue.put(None)

        task = asyncio.ensure_future(serve())
        message = await queue.get()
        while message is not None and message["type"] != "http.response.start":
            message = await queue.get()
        if message is None:
            await task
            raise RuntimeError("no response")

        async def body():
            chunk = await queue.get()
            while chunk is not None:
                yield chunk["body"]
                chunk = await queue.get()
            await task

        response = StreamingResponse(body(), status_code=message["status"])
        response.raw_headers = message["headers"]
        return response

    async def call(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        response = await self.dispatch_func(Request(scope, receive), lambda request: call_next(self, request))
        await response(scope, receive, send)

    return call_next, call


def test_call_next_of_its_own(order):
    """It stays in charge: the backport changes nothing for it."""
    Outer = outer_class()

    class Own(Outer):
        call_next, __call__ = own_methods()

    check(order, build(Own), build(Outer))


def test_call_next_replaced_for_all(order):
    """Put into Starlette's class it stays in charge as well, but ``apply()`` refuses to come after it: delete it."""
    from starlette.middleware.base import BaseHTTPMiddleware

    carrier = "call_next" if hasattr(BaseHTTPMiddleware, "call_next") else "__call__"
    shipped = vars(BaseHTTPMiddleware)[carrier]
    setattr(BaseHTTPMiddleware, carrier, own_methods()[carrier == "__call__"])
    client = stack.client(build(outer_class()))

    def check_work_around():
        stack.check_page(client.get("/page"), outer="seen", template=False)
        assert client.get("/plain").text == "plain"

    check_work_around()
    if order.name == "late":
        with pytest.raises(starlette_backport.UnexpectedCodeError, match="BaseHTTPMiddleware." + carrier):
            starlette_backport.apply()
        assert starlette_backport.status().state == "not applied"
        check_work_around()
    setattr(BaseHTTPMiddleware, carrier, shipped)
    order.check(lambda: stack.check_page(client.get("/page"), outer="seen"))
