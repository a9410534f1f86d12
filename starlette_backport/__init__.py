"""Template responses behind ``BaseHTTPMiddleware`` on Starlette 0.9.9 to 0.23.1.

    import starlette_backport

    starlette_backport.apply()

On these releases ``call_next`` takes the first message of the application for the start
of its response. It fails with a bare ``AssertionError`` on the message that a template
response sends before that (Starlette issue #472). Starlette 0.24.0 fixed it (pull
request #1991): once there, remove this package.

The modules of the core, in the order in which to read them:

- ``_early_messages``: all that a request can pass
- ``_replacements``: the code that replaces the code of functions of Starlette
- ``_code_swap``: replacing the code of a function, and putting it back
- ``_releases``: which functions of which releases, and the SHA-256 of their files
- ``_inspection``: what is installed, and whether it is what the release shipped
- ``_api``: ``apply()``, ``revert()``, ``applied()`` and ``status()``
- ``_errors``: the exceptions and the warning

The others are the command line and the pytest plugin.
"""

from ._api import applied, apply, revert, status
from ._early_messages import BackportError, UnexpectedMessageError
from ._errors import (
    BackportNotNeededWarning,
    StarletteNotFoundError,
    UnexpectedCodeError,
    UnknownReleaseError,
)
from ._inspection import Status

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

# Tracebacks and `help` show the name to import.
for _name in __all__:
    globals()[_name].__module__ = __name__
