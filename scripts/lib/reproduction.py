"""The minimal reproduction of Starlette issue #472, for any release: run it without and with --backport.

Exits with 0 where the template response came through, and with 1 where the AssertionError struck.
"""

import os
import sys
import tempfile
import traceback

if "--backport" in sys.argv[1:]:
    import starlette_backport

    starlette_backport.apply()

from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

TEMPLATE = "<link href=\"{{ url_for('static', path='/style.css') }}\"><h1>Hello, {{ name }}!</h1>"


class PassThrough(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


def application(directory):
    try:
        from starlette.templating import Jinja2Templates
    except ImportError:  # Up to 0.10.3 the application has the templates.
        from starlette.responses import TemplateResponse

        app = Starlette(debug=True, template_directory=directory)

        def render(name, context):
            return TemplateResponse(app.get_template(name), context)
    else:
        app = Starlette(debug=True)
        render = Jinja2Templates(directory=directory).TemplateResponse

    async def homepage(request):
        return render("index.html", {"request": request, "name": "World"})

    app.add_route("/", homepage)
    app.mount("/static", StaticFiles(directory=directory), name="static")
    app.add_middleware(PassThrough)
    return app


def main():
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "index.html"), "w") as file:
            file.write(TEMPLATE)
        client = TestClient(application(directory))
        try:
            response = client.get("/")
        except AssertionError as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = where.filename.replace(os.sep, "/").split("/site-packages/")[-1]
            print("  AssertionError%s" % (": %s" % error if str(error) else ""))
            print("  %s, line %d, in %s: %s" % (place, where.lineno, where.name, where.line))
            return 1
    assert response.status_code == 200, response.status_code
    assert response.template.name == "index.html", response.template
    assert response.context["name"] == "World", response.context
    print("  status %d" % response.status_code)
    print("  response.template.name = %r" % response.template.name)
    print("  response.context       = %r" % {k: response.context[k] for k in ("name",)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
