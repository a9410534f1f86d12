"""Template responses behind ``BaseHTTPMiddleware`` on Starlette 0.9.9 to 0.23.1.

    import starlette_backport

    starlette_backport.apply()

On these releases ``call_next`` takes the first message that the application sends for the start of the
response, and dies with a bare ``AssertionError`` on the message that a template response sends before it
(Starlette issue #472). Starlette 0.24.0 fixed it (pull request #1991): once there, remove this package.

How it works: the release's own code keeps running. It is only given another ``send`` to hand to the
application, one that holds early messages back; the response that ``call_next`` returns sends them on,
right before its start. Nothing of Starlette is copied, so whatever else a release does, it still does.

Everybody who applies it waits for it. So an import here makes nothing that only type checkers read; what is rarely
needed is imported where it is; and no code of Starlette is loaded, only to be recognised, as long as its files are
those of the release.

The map, from the inside out:

``_messages``
    Which message passes, which is held, which is an error: pure, no ASGI callables, no Starlette.
``_responses``
    The response of ``call_next``, once it carries what was held.
``_middleware``
    ``BaseHTTPMiddleware``, whose ``call_next`` is kept from early messages.
``_neighbours``
    The template response, the gzip middleware and the test client: who sends, who drops and who reads
    such messages.
``_code``
    How a function gets another body in place, and how a body is recognised.
``_in_flight``
    Requests that are under way when ``apply()`` is called.
``_releases``
    Which functions of which releases, and what they looked like when shipped: all release numbers.
``_installed``
    Which Starlette is there, found without importing it.
``_shipped``
    The functions that it shipped, found and recognised.
``_importing``
    Reaching modules that are imported after ``apply()``.
``_process``
    What is applied in this process: all of it or nothing.
``_backport``
    ``apply()``, ``revert()``, ``applied()`` and ``status()``, on top of all that.
``__main__``, ``_cli``
    The command line, ``python -m starlette_backport``.
``_report``
    The facts that it tells.
``_stack``
    The middleware of an application, and what becomes of early messages there.
``_reproduction``
    The bug, in a process of its own.
``pytest_plugin``
    All of a run of pytest with the backport. No other module imports it.
``_errors``
    The exceptions and the warning.
"""

import sys as _sys
import typing as _typing

from ._backport import Status, applied, apply, revert, status

if _typing.TYPE_CHECKING or _sys.version_info < (3, 7):
    from ._errors import (
        BackportError,
        BackportNotNeededWarning,
        StarletteNotFoundError,
        UnexpectedCodeError,
        UnexpectedMessageError,
        UnknownReleaseError,
    )
else:

    def __getattr__(name):
        """Import the exceptions when somebody asks for one: mostly all goes well."""
        if name not in __all__:
            raise AttributeError("module %r has no attribute %r" % (__name__, name))
        from . import _errors

        return getattr(_errors, name)


__version__ = "0.1.0"

__all__ = [
    "BackportError",
    "BackportNotNeededWarning",
    "StarletteNotFoundError",
    "Status",
    "UnexpectedCodeError",
    "UnexpectedMessageError",
    "UnknownReleaseError",
    "applied",
    "apply",
    "revert",
    "status",
]
