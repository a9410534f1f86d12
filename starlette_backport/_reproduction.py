"""The minimal reproduction of Starlette issue #472, a template behind a middleware, in processes of their own."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
import typing

from ._application import UsageError

Facts = typing.Dict[str, typing.Any]

TEMPLATE = "<h1>Hello, {{ name }}!</h1>"

# What the newest of these packages no longer do for old releases of Starlette: where it shows, and what to install.
_TOO_NEW = {
    "contextfunction": "jinja2<3.1",
    "start_blocking_portal": "anyio<4",
    "unexpected keyword argument 'app'": "httpx<0.28",
}


class Missing(Exception):
    """Requirements of the reproduction that are not installed."""


def verify(starlette: str) -> Facts:
    """Return what comes of the reproduction without and with the backport. Raises UsageError."""
    return {
        "starlette": starlette,
        "without": _in_process(False),
        "with": _in_process(True),
    }


def _in_process(backport: bool) -> Facts:
    """Run `main` in a process that finds modules where this one does."""
    code = "import sys; sys.path[:] = %r; from starlette_backport._reproduction import main; main(%r)"
    process = subprocess.Popen(
        [
            sys.executable,
            *["-O"] * sys.flags.optimize,
            "-c",
            code % (sys.path, backport),
        ],
        env={
            name: value
            for name, value in os.environ.items()
            if name != "STARLETTE_BACKPORT_DISABLE"
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    output, errors = process.communicate()
    if process.returncode:
        raise UsageError("The reproduction stopped with an error:\n%s" % errors.strip())
    facts: Facts = json.loads(output.splitlines()[-1])
    if "missing" in facts:
        wanted = " ".join("'%s'" % requirement for requirement in facts["missing"])
        raise UsageError(
            "The reproduction needs more packages:\n%s -m pip install %s"
            % (sys.executable, wanted)
        )
    return facts


def main(backport: bool) -> None:
    """Print what comes of the reproduction as JSON: the last line, whatever else is printed."""
    from . import BackportError, apply

    try:
        if backport:
            apply()
        result = reproduce()
    except BackportError as exc:
        result = {"works": False, "error": type(exc).__name__, "message": str(exc)}
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def reproduce() -> Facts:
    """Return what comes of it: the status and the template, an error and its place, or what is missing."""
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "index.html"), "w") as file:
            file.write(TEMPLATE)
        try:
            response = _client(directory).get("/")
            return {
                "works": True,
                "status": response.status_code,
                "template": response.template.name,
            }
        except Missing as exc:
            return {"missing": exc.args[0]}
        except Exception as exc:
            return _failed(exc)


def _client(directory: str) -> typing.Any:
    """Return a test client for the application. Raises Missing."""
    modules: typing.Dict[str, typing.Any] = {}
    missing = []
    for name in (
        "jinja2",
        "starlette.applications",
        "starlette.middleware.base",
        "starlette.testclient",
    ):
        try:
            modules[name.split(".")[-1]] = importlib.import_module(name)
        except ImportError as exc:
            missing.append(exc.name or name)
        except RuntimeError:  # How later releases put it.
            missing.append("httpx")
    if missing:
        # All at once: with those that are too new, where an old release needs an old one.
        raise Missing([_old_enough(name) for name in missing])

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
            takes_request = (
                templates.TemplateResponse.__code__.co_varnames[1] == "request"
            )
            return templates.TemplateResponse(
                *([request] * takes_request), name, context
            )

    async def pass_through(request: typing.Any, call_next: typing.Any) -> typing.Any:
        return await call_next(request)

    async def homepage(request: typing.Any) -> typing.Any:
        return render(request, "index.html", {"request": request, "name": "World"})

    app.add_route("/", homepage)
    app.add_middleware(modules["base"].BaseHTTPMiddleware, dispatch=pass_through)
    return modules["testclient"].TestClient(app)


def _old_enough(package: str) -> str:
    """Return the requirement for `package` that the releases take which do not have the fix."""
    from . import _releases, status

    bounds = {
        requirement.split("<")[0]: requirement for requirement in _TOO_NEW.values()
    }
    return (
        bounds.get(package, package)
        if _releases.parse(status().starlette) < _releases.FIXED
        else package
    )


def _failed(error: Exception) -> Facts:
    last = traceback.extract_tb(error.__traceback__)[-1]
    for text, requirement in _TOO_NEW.items():
        if text in "%s %s" % (error, last.line):
            return {"missing": [requirement]}
    place = last.filename.replace(os.sep, "/").split("/site-packages/")[-1]
    where = "%s, line %s, in %s" % (place, last.lineno, last.name)
    return {
        "works": False,
        "error": type(error).__name__,
        "message": str(error),
        "where": where,
        "line": last.line,
    }
