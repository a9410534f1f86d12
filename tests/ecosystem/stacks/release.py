"""What depends on the release of Starlette. It imports that within functions only."""

import os

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def render(request, name="World", **kwargs):
    """Return a template response for templates/page.html."""
    from starlette.templating import Jinja2Templates

    templates = Jinja2Templates(directory=TEMPLATES)
    context = {"request": request, "name": name}
    return templates.TemplateResponse("page.html", context, **kwargs)


def carrier():
    """Return the name of the function that takes the application's messages.

    It is the one of ``BaseHTTPMiddleware`` that the backport changes.
    """
    from starlette.middleware.base import BaseHTTPMiddleware

    if hasattr(BaseHTTPMiddleware, "call_next"):
        return "call_next"
    return "__call__"
