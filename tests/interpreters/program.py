"""Check the backport on an interpreter that cannot run the test suite, such as CPython in WebAssembly, without threads.

    python tests/interpreters/program.py

It needs this package, a release of Starlette from 0.9.9 to 0.23.1 and jinja2, and prints a line for each check. It
calls ASGI applications itself, in place of a test client. First it shows the bug, then what `apply()` does to an
application that is in use already, then what it does when it is called first.
"""

import asyncio
import gzip
import importlib
import os
import platform
import sys
import tempfile

import starlette_backport

NOTHING = {}
TEMPLATE = {"http.response.template": {}}
DEBUG = {"http.response.debug": {}}
OTHER = {"http.response.other": {}}
PAGE = b"<h1>Hello, World!</h1>"

RESULTS = []


def check(what, found, expected):
    """Print and note whether `found` is as `expected`."""
    good = found == expected
    RESULTS.append(good)
    print("ok      " + what if good else "FAILED  %s: expected %r, found %r" % (what, expected, found))


def make_application(directory):
    """Return an application with a template, a stream and an error, behind two middlewares with gzip between them."""
    starlette = importlib.import_module("starlette.applications").Starlette
    responses = importlib.import_module("starlette.responses")
    middleware = importlib.import_module("starlette.middleware.base").BaseHTTPMiddleware
    try:
        templates = importlib.import_module("starlette.templating").Jinja2Templates(directory=directory)
    except ImportError:  # Up to 0.10.3 the application has the templates.
        templates = None
        app = starlette(template_directory=directory)
    else:
        app = starlette()

    async def page(request):
        context = {"request": request, "name": request.query_params.get("name", "World")}
        if templates is None:
            return responses.TemplateResponse(app.get_template("page.html"), context)
        return templates.TemplateResponse("page.html", context)

    async def stream(request):
        async def chunks():
            for number in range(3):
                await asyncio.sleep(0)
                yield b"chunk %d\n" % number

        return responses.StreamingResponse(chunks(), status_code=201)

    async def fail(request):
        raise ValueError("of the application")

    class Messages(responses.Response):
        """Sends messages of its own before the start, and after it what nobody can carry."""

        async def send_all(self, send):
            for message in ({"type": "a"}, {"type": "b", "n": 1}, {"type": "http.response.start", "status": 200}):
                await send(dict(message, headers=[]) if "status" in message else message)
            await send({"type": "http.response.body", "body": b"x"} if self.body == b"good" else {"type": "late"})

        def __call__(self, *arguments):
            if len(arguments) == 1:  # ASGI 2

                async def instance(receive, send):
                    await self.send_all(send)

                return instance
            return self.send_all(arguments[-1])

    async def pass_through(request, call_next):
        return await call_next(request)

    async def good(request):
        return Messages("good")

    async def late(request):
        return Messages("late")

    for endpoint in page, stream, fail, good, late:
        app.add_route("/" + endpoint.__name__, endpoint)
    app.add_middleware(middleware, dispatch=pass_through)
    app.add_middleware(importlib.import_module("starlette.middleware.gzip").GZipMiddleware, minimum_size=10)
    app.add_middleware(middleware, dispatch=pass_through)
    return app


async def call(app, path, extensions, query=b""):
    """Return the messages that `app` sends, those of the body as one; or the name of the error that it raises."""
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "server": ("host", 80)}
    scope.update(scheme="http", root_path="", http_version="1.1", headers=[(b"accept-encoding", b"gzip")])
    if extensions:
        scope["extensions"] = dict(extensions)
    asgi2 = starlette_backport.status().starlette.startswith(("0.9.", "0.10.", "0.11."))
    requests = [{"type": "http.request", "body": b"", "more_body": False}]
    messages = []

    async def receive():
        if not requests:
            await asyncio.get_event_loop().create_future()  # The client stays connected.
        return requests.pop()

    async def send(message):
        messages.append(message)

    try:
        if asgi2:
            await app(scope)(receive, send)
        else:
            await app(scope, receive, send)
    except BaseException as exc:  # anyio 3 has groups of errors that are no Exception.
        if isinstance(exc, KeyboardInterrupt):
            raise
        return type(exc).__name__
    body = b"".join(message["body"] for message in messages if message["type"] == "http.response.body")
    sent = [dict(message) for message in messages if message["type"] != "http.response.body"]
    return [*sent, gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body]


def shown(sent):
    """Return of `sent`, which `call` returned, the types of the messages, the template and its name, and the body."""
    if isinstance(sent, str):
        return sent
    found = []
    for message in sent[:-1]:
        about = message.get("info", message)
        found.append(message["type"])
        if "template" in about:
            found += [about["template"].name, about["context"]["name"]]
    return [*found, sent[-1]]


async def unpatched_facts(app):
    """Return what the backport must not change."""
    facts = {}
    for name, extensions in (("nothing", NOTHING), ("another extension", OTHER)):
        for path in ("/page", "/stream", "/fail", "/not-found"):
            facts["%s, %s offered" % (path, name)] = await call(app, path, extensions)
    return facts


async def check_unpatched(when, app):
    failure = "KeyError" if sys.flags.optimize else "AssertionError"
    check(when + ": the template message fails", await call(app, "/page", TEMPLATE), failure)
    sent = shown(await call(app, "/page", NOTHING))
    check(when + ": without the offer it works", sent, ["http.response.start", PAGE])


async def check_patched(when, app, facts):
    """Check what an application does after `apply()`, and that it does the same as before where that worked."""
    start = "http.response.start"
    template = ["http.response.template", "page.html", "World", start, PAGE]
    check(when + ": template message", shown(await call(app, "/page", TEMPLATE)), template)
    both = dict(TEMPLATE, **DEBUG)
    check(when + ": template message, debug offered, too", shown(await call(app, "/page", both)), template)
    debug = ["http.response.debug", *template[1:]]
    check(when + ": debug message", shown(await call(app, "/page", DEBUG)), debug)
    check(when + ": any messages, in order", shown(await call(app, "/good", OTHER)), ["a", "b", start, b"x"])
    names = ["A", "B", "C"]
    calls = [call(app, "/page", TEMPLATE, b"name=" + name.encode()) for name in names]
    sent = [shown(one) for one in await asyncio.gather(*calls)]
    expected = [[*template[:2], name, start, PAGE.replace(b"World", name.encode())] for name in names]
    check(when + ": three requests at once", sent, expected)
    check(when + ": a message that cannot be carried", await call(app, "/late", OTHER), "UnexpectedMessageError")
    for name, sent in (await unpatched_facts(app)).items():
        check("%s: %s, as before" % (when, name), sent, facts[name])


async def main():
    """Run all checks; return the exit status."""
    interpreter = (platform.python_implementation(), platform.python_version(), sys.platform)
    print("%s %s on %s, %s" % (*interpreter, str(starlette_backport.status()).splitlines()[0]))
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "page.html"), "w") as file:
            file.write("<h1>Hello, {{ name }}!</h1>")
        app = make_application(directory)
        await check_unpatched("unpatched", app)
        facts = await unpatched_facts(app)
        check("applied late: state", starlette_backport.apply().state, "applied")
        await check_patched("applied late", app, facts)
        starlette_backport.revert()
        check("reverted: state", starlette_backport.status().state, "not applied")
        await check_unpatched("reverted", app)
        check("reverted: the same as before", await unpatched_facts(app), facts)
        with starlette_backport.applied():
            check("applied(): template message", len(await call(app, "/page", TEMPLATE)), 3)
        await check_unpatched("after applied()", app)

        # As in a new process, where apply() imports what it changes.
        for name in [name for name in sys.modules if name.partition(".")[0] == "starlette"]:
            del sys.modules[name]
        check("applied first: state", starlette_backport.apply().state, "applied")
        app = make_application(directory)
        await check_patched("applied first", app, facts)
        starlette_backport.revert()
        await check_unpatched("reverted again", app)
    print("%d passed, %d failed" % (RESULTS.count(True), RESULTS.count(False)))
    return 1 if False in RESULTS else 0


if __name__ == "__main__":
    sys.exit(asyncio.new_event_loop().run_until_complete(main()))
