"""Work-arounds that projects carry themselves: each still works, and can be deleted.

Each test has an application with the work-around, and one with it deleted.
"""

import functools

import pytest
import release
import stack

import starlette_backport


def outer_class():
    from starlette.middleware.base import BaseHTTPMiddleware

    class Outer(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            response = await call_next(request)
            response.headers["x-outer"] = "seen"
            return response

    return Outer


def build(middleware, render=release.render):
    """Return an application with `middleware` around a page by `render`."""
    app = stack.build(render, outer=False)
    app.add_middleware(middleware)
    return app


def check(phase, app, outer="seen", template=False):
    """Check `app`, which has a work-around, and the same application without it."""
    client = stack.client(app)
    stack.check_page(client.get("/page"), outer=outer, template=template)
    deleted = phase.client(build(outer_class()))
    stack.check_page(client.get("/page"), outer=outer, template=template)
    stack.check_rest(client, outer=outer)
    phase.check(deleted)


def test_exclude_middleware(phase):
    """A fixture that takes the middleware out: what it does is not tested then."""
    app = build(outer_class())
    app.user_middleware.clear()
    app.middleware_stack = app.build_middleware_stack()
    check(phase, app, outer=None, template=True)


def test_response_that_skips_its_message(phase):
    """A template response without its message: there is no ``response.template``."""
    from starlette.responses import Response
    from starlette.templating import _TemplateResponse

    class Quiet(_TemplateResponse):
        async def __call__(self, scope, receive, send):
            await Response.__call__(self, scope, receive, send)

    def render(request):
        response = release.render(request)
        return Quiet(response.template, response.context)

    check(phase, build(outer_class(), render))


@pytest.mark.parametrize("all_of_them", [True, False])
def test_middleware_that_takes_the_offer_away(phase, all_of_them):
    class NoTemplates(outer_class()):
        async def dispatch(self, request, call_next):
            if all_of_them:
                request.scope["extensions"] = {}
            else:
                del request.scope["extensions"]["http.response.template"]
            return await super().dispatch(request, call_next)

    check(phase, build(NoTemplates))


def own_function():
    """Return a function for the place of the one that the backport changes.

    It waits until it has the whole response, and skips what is before the start.
    """
    from starlette.requests import Request
    from starlette.responses import Response

    async def call_next(self, request):
        messages = {"http.response.body": []}

        async def send(message):
            messages.setdefault(message["type"], []).append(message)

        await self.app(request.scope, request.receive, send)
        (start,) = messages["http.response.start"]
        body = b"".join(part["body"] for part in messages["http.response.body"])
        response = Response(body, status_code=start["status"])
        response.raw_headers = start["headers"]
        return response

    async def call(self, scope, receive, send):
        bound_call_next = functools.partial(call_next, self)
        response = await self.dispatch_func(Request(scope, receive), bound_call_next)
        await response(scope, receive, send)

    functions = {"call_next": call_next, "__call__": call}
    return functions[release.carrier()]


def test_function_of_its_own(phase):
    """It stays in charge: the backport changes nothing for it."""
    functions = {release.carrier(): own_function()}
    check(phase, build(type("Own", (outer_class(),), functions)))


def test_function_that_is_replaced_for_all(phase):
    """It stays in charge as well, but ``apply()`` refuses to come after it."""
    from starlette.middleware.base import BaseHTTPMiddleware

    name = release.carrier()
    shipped = vars(BaseHTTPMiddleware)[name]
    setattr(BaseHTTPMiddleware, name, own_function())
    if phase.name == "last":
        with pytest.raises(starlette_backport.UnexpectedCodeError, match=name):
            starlette_backport.apply()
    client = stack.client(build(outer_class()))
    stack.check_page(client.get("/page"), template=False)
    stack.check_rest(client)
    setattr(BaseHTTPMiddleware, name, shipped)
    phase.check(phase.client(build(outer_class())))
