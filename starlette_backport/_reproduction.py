"""The minimal reproduction of Starlette issue #472, for a process of its own: a template behind a middleware.

``main()`` prints what came of it as JSON: ``{"works": true, "status": ..., "template": ...}``, an error with its
place, or what is missing for it to run. It is `_report` that starts it.
"""

import importlib
import json
import os
import sys
import tempfile
import traceback
import typing

TEMPLATE = "<h1>Hello, {{ name }}!</h1>"

# What the newest of these packages no longer does for old releases: a text of the error, and what to install.
_TOO_NEW = {
    "contextfunction": "jinja2<3.1",
    "start_blocking_portal": "anyio<4",
    "unexpected keyword argument 'app'": "httpx<0.28",
}


class Missing(Exception):
    """A package that the reproduction needs."""


def prepare(directory: str) -> typing.Any:
    """Return a test client for the application. Raises Missing."""
    modules: typing.Dict[str, typing.Any] = {}
    for name in ("jinja2", "starlette.testclient", "starlette.applications", "starlette.middleware.base"):
        try:
            modules[name.split(".")[-1]] = importlib.import_module(name)
        except ImportError as exc:
            raise Missing(exc.name or name) from exc
        except RuntimeError as exc:  # How later releases put it.
            raise Missing("httpx") from exc

    try:
        templating: typing.Any = importlib.import_module("starlette.templating")
    except ImportError:  # Up to 0.10.3 the application has the templates.
        responses: typing.Any = importlib.import_module("starlette.responses")
        app = modules["applications"].Starlette(template_directory=directory)

        def render(request: typing.Any, name: str, context: typing.Any) -> typing.Any:
            return responses.TemplateResponse(app.get_template(name), context)

    else:
        app = modules["applications"].Starlette()
        templates = templating.Jinja2Templates(directory=directory)

        def render(request: typing.Any, name: str, context: typing.Any) -> typing.Any:
            # Since 1.0 the request comes first.
            takes_request = templates.TemplateResponse.__code__.co_varnames[1] == "request"
            return templates.TemplateResponse(*([request] * takes_request), name, context)

    async def pass_through(request: typing.Any, call_next: typing.Any) -> typing.Any:
        return await call_next(request)

    async def homepage(request: typing.Any) -> typing.Any:
        return render(request, "index.html", {"request": request, "name": "World"})

    app.add_route("/", homepage)
    app.add_middleware(modules["base"].BaseHTTPMiddleware, dispatch=pass_through)
    return modules["testclient"].TestClient(app)


def reproduce() -> typing.Dict[str, typing.Any]:
    """Return what comes of it, in a form to print."""
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "index.html"), "w") as file:
            file.write(TEMPLATE)
        try:
            client = prepare(directory)
        except Missing as exc:
            return {"missing": str(exc)}
        except Exception as exc:
            return _failed(exc)
        try:
            response = client.get("/")
            return {"works": True, "status": response.status_code, "template": response.template.name}
        except Exception as exc:
            return _failed(exc)


def _failed(error: Exception) -> typing.Dict[str, typing.Any]:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = where.filename.replace(os.sep, "/").split("/site-packages/")[-1]
    found = {
        "works": False,
        "error": type(error).__name__,
        "message": str(error),
        "where": "%s, line %s, in %s" % (place, where.lineno, where.name),
        "line": where.line,
    }
    for text, requirement in _TOO_NEW.items():
        if text in "%s %s" % (error, where.line):
            return {"missing": requirement}
    return found


def main(backport: bool) -> None:
    """Print what comes of the reproduction, with `backport` or without."""
    result: typing.Dict[str, typing.Any]
    if backport:
        from . import BackportError, apply

        try:
            apply()
        except BackportError as exc:
            result = {"works": False, "error": type(exc).__name__, "message": str(exc)}
        else:
            result = reproduce()
    else:
        result = reproduce()
    # The last line is the result, whatever else is printed.
    sys.stdout.write("\n" + json.dumps(result) + "\n")
