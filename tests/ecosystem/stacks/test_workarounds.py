"""Work-arounds that projects carry themselves: each still works, and which ones can be deleted now.

In each test there is an application with the work-around, and the same one with it deleted.
"""

import asyncio

import pytest
import stack

import starlette_backport


def build(middleware, render=stack.render):
    """Return an application with `middleware`, a ``BaseHTTPMiddleware``, around a page by `render`."""
    app = stack.build(render)
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


def check(order, app, deleted, outer="seen", template="seen", template_without=None):
    """Check `app`, which has a work-around, and `deleted`, which has it no more.

    With the work-around `outer` is the header of its middleware, and `template` and `template_without` say whether
    the template arrives, with and without the backport.
    """
    client, plainly = stack.client(app), stack.client(deleted)

    def check_work_around(template):
        response = client.get("/page")
        if template == "seen":
            stack.check_page(response)
        assert response.status_code == 200
        assert response.text == "<h1>Hello, World!</h1>"
        assert (getattr(response, "template", None) is not None) == (template == "seen")
        assert response.headers.get("x-outer") == outer

    def page():
        check_work_around(template)
        response = plainly.get("/page")
        stack.check_page(response)
        assert response.headers["x-outer"] == "seen"

    def page_without():
        check_work_around(template_without)
        order.fails(lambda: plainly.get("/page"))

    def rest():
        response = client.get("/plain")
        assert (response.text, response.headers.get("x-outer")) == ("plain", outer)
        assert str(stack.failure(client.get, "/error")) == "error"

    order.check(page, rest, page_without)


def test_exclude_middleware(order):
    """A fixture that takes the middleware out of the application under test: what it does is not tested then."""

    def exclude_middleware(app, name):
        app.user_middleware = [middleware for middleware in app.user_middleware if middleware.cls.__name__ != name]
        app.middleware_stack = app.build_middleware_stack()
        return app

    app = exclude_middleware(build(outer_class()), "Outer")
    check(order, app, build(outer_class()), outer=None, template_without="seen")


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

    check(order, build(outer_class(), render), build(outer_class()), template=None)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_middleware_that_takes_the_offer_away(order, all_of_them):
    """Where it leaves other offers there, the template arrives: the test client offers the message of 0.24, too."""
    Outer = outer_class()

    class NoTemplates(Outer):
        async def dispatch(self, request, call_next):
            if all_of_them:
                request.scope["extensions"] = {}
            else:
                request.scope["extensions"].pop("http.response.template", None)
            return await super().dispatch(request, call_next)

    check(order, build(NoTemplates), build(Outer), template=None if all_of_them else "seen")


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

    check(order, build(Own), build(Outer), template=None)


@pytest.mark.parametrize("kept", [True, False])
def test_call_next_replaced_for_all(order, kept):
    """Put into Starlette's class it stays in charge as well. Where nobody has kept the function that was there,
    ``apply()`` refuses to come after it: delete it."""
    from starlette.middleware.base import BaseHTTPMiddleware

    carrier = "call_next" if hasattr(BaseHTTPMiddleware, "call_next") else "__call__"
    shipped = vars(BaseHTTPMiddleware)[carrier] if kept else None
    setattr(BaseHTTPMiddleware, carrier, own_methods()[carrier == "__call__"])
    client = stack.client(build(outer_class()))

    def check_work_around():
        response = client.get("/page")
        assert (response.text, response.headers["x-outer"]) == ("<h1>Hello, World!</h1>", "seen")
        assert getattr(response, "template", None) is None
        assert client.get("/plain").text == "plain"

    check_work_around()
    if order.name == "first":
        starlette_backport.revert()
        check_work_around()
    elif kept:
        starlette_backport.apply()
        check_work_around()
    else:
        with pytest.raises(starlette_backport.UnexpectedCodeError, match="BaseHTTPMiddleware." + carrier):
            starlette_backport.apply()
        assert starlette_backport.status().state == "not applied"
        check_work_around()
    if kept:
        starlette_backport.revert()
        setattr(BaseHTTPMiddleware, carrier, shipped)
        order.fails(lambda: client.get("/page"))
        starlette_backport.apply()
        stack.check_page(client.get("/page"))
