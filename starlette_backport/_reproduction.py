"""The minimal reproduction of Starlette issue #472, in a process of its own.

It is a page that renders a template, behind a ``BaseHTTPMiddleware``.
"""

import json
import os
import subprocess
import sys
import traceback
from typing import Any, Dict

from ._early_messages import BackportError
from ._inspection import DISABLE

Result = Dict[str, Any]

# Old releases of Starlette do not work with the newest releases of these packages.
OLD_ENOUGH = {"anyio": "anyio<4", "httpx": "httpx<0.28", "jinja2": "jinja2<3.1"}
SIGNS_OF_TOO_NEW = {
    "start_blocking_portal": "anyio",
    "unexpected keyword argument 'app'": "httpx",
}

PROGRAM = """\
import sys
sys.path[:] = %a
from starlette_backport._reproduction import main
main(with_backport=%a)
"""


class CannotRun(Exception):
    """Why the reproduction cannot run here, and what to do."""


def run(with_backport: bool) -> Result:
    """Run `main` in a process that finds modules where this one does.

    Raises CannotRun.
    """
    options = ["-O"] * sys.flags.optimize
    # Warnings would be those of other packages, and as errors they would fail it.
    options += ["-W", "ignore"]
    process = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM % (sys.path, with_backport)],
        env=dict(os.environ, **{DISABLE: ""}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    if process.returncode != 0:
        raise CannotRun("The reproduction stopped.\n" + process.stderr.strip())
    result: Result = json.loads(process.stdout.splitlines()[-1])
    if "missing" in result:
        wanted = OLD_ENOUGH.get(result["missing"], result["missing"])
        raise CannotRun(
            "The reproduction needs another package:\n"
            "%s -m pip install '%s'" % (sys.executable, wanted)
        )
    return result


def main(with_backport: bool) -> None:
    """Run the reproduction, and print its result as JSON, in a line of its own."""
    from . import apply

    try:
        if with_backport:
            apply()
        result: Result = {"works": True, "says": "works: " + get_page()}
    except ModuleNotFoundError as exc:
        result = {"missing": exc.name}
    except Exception as exc:
        result = result_of_error(exc)
    print("\n" + json.dumps(result))


def get_page() -> str:
    """Get the page with the test client, and return what that says about it."""
    import jinja2
    from starlette.applications import Starlette
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.testclient import TestClient

    try:
        from starlette.templating import _TemplateResponse as TemplateResponse
    except ImportError:
        # Up to Starlette 0.10.3
        from starlette.responses import TemplateResponse

    loader = jinja2.DictLoader({"index.html": "<h1>Hello, {{ name }}!</h1>"})
    template = jinja2.Environment(loader=loader).get_template("index.html")

    async def page(request: Any) -> Any:
        return TemplateResponse(template, {"request": request, "name": "World"})

    async def pass_through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette()
    app.add_route("/", page)
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)
    response = TestClient(app).get("/")
    facts = (response.status_code, response.template.name)
    return "status %s, response.template.name == %r" % facts


def result_of_error(error: Any) -> Result:
    # With anyio 4, an error behind a middleware comes in a group.
    while len(getattr(error, "exceptions", ())) == 1:
        (error,) = error.exceptions
    last = traceback.extract_tb(error.__traceback__)[-1]
    for sign, package in SIGNS_OF_TOO_NEW.items():
        if sign in "%s %s" % (error, last.line):
            return {"missing": package}
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    if not isinstance(error, BackportError):
        file = last.filename.replace(os.sep, "/").split("/site-packages/")[-1]
        place = (file, last.lineno, last.name, last.line)
        text += " in %s, line %s, in %s: %s" % place
    return {"works": False, "says": "fails: " + text}
