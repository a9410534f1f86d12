"""Template responses behind ``BaseHTTPMiddleware`` on Starlette 0.9.9 to 0.23.1.

    import starlette_backport

    starlette_backport.apply()

On these releases ``call_next`` takes the first message of the application for the start of its response. It fails
with a bare ``AssertionError`` on the message that a template response sends before that (Starlette issue #472).
Starlette 0.24.0 fixed it (pull request #1991): once there, remove this package.

The modules of the core, in the order in which to read them (the others are the command line and the pytest plugin):

- ``_early_messages``: all that a request can pass
- ``_functions``: changing functions in place, and putting them back
- ``_releases``: which functions of which releases, and the SHA-256 of their files
- ``_backport``: ``apply()``, ``revert()``, ``applied()`` and ``status()``
- ``_errors``: the exceptions and the warning
"""

from ._backport import Status, applied, apply, revert, status
from ._early_messages import BackportError, UnexpectedMessageError
from ._errors import BackportNotNeededWarning, StarletteNotFoundError, UnexpectedCodeError, UnknownReleaseError

__version__ = "0.1.0"

__all__ = ["BackportError", "BackportNotNeededWarning", "StarletteNotFoundError", "Status", "UnexpectedCodeError"]
__all__ += ["UnexpectedMessageError", "UnknownReleaseError", "applied", "apply", "revert", "status"]
for _name in __all__:
    globals()[_name].__module__ = __name__  # Tracebacks and `help` show the name to import.
