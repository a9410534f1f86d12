"""What can go wrong. Each message says what was expected, what was found and what to do next.

* ``BackportError``

  * ``StarletteNotFoundError``: there is no Starlette to apply to.
  * ``UnknownReleaseError``: ``starlette.__version__`` is missing or is no version.
  * ``UnexpectedCodeError``: a function is not the one that this release shipped.
  * ``UnexpectedMessageError``, an ``AssertionError`` too: the application sent what cannot be carried.

* ``BackportNotNeededWarning``: the Starlette that is there has the fix.
"""


class BackportError(Exception):
    """Base of all errors that this package raises."""


class StarletteNotFoundError(BackportError):
    """``apply()`` or ``status()`` found no Starlette in this environment."""


class UnknownReleaseError(BackportError):
    """``starlette.__version__`` does not say which release this is."""


class UnexpectedCodeError(BackportError):
    """A function that the backport changes is not what this release shipped; nothing was changed."""


class UnexpectedMessageError(BackportError, AssertionError):
    """The application sent a message that ``call_next`` cannot carry, as on the release itself.

    Raised where the affected releases raise a bare ``AssertionError`` (and hence caught by whoever
    catches that one), under ``python -O`` too. Only the type of the message is named: its content may
    hold secrets.
    """


class BackportNotNeededWarning(UserWarning):
    """The installed Starlette already carries template messages: remove starlette-backport."""
