"""Settings of gunicorn: a wrapper is around what the backport changes, and all that is there before it is frozen."""

import gc

from starlette.middleware.base import BaseHTTPMiddleware


def wrapped(function):
    async def wrapper(*args):
        return await function(*args)

    return wrapper


name = "call_next" if hasattr(BaseHTTPMiddleware, "call_next") else "__call__"
setattr(BaseHTTPMiddleware, name, wrapped(getattr(BaseHTTPMiddleware, name)))
gc.freeze()
