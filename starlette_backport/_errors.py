"""The exceptions and the warning. Each says what was found, where, and what to do."""

from ._early_messages import BackportError


class StarletteNotFoundError(BackportError):
    """There is no Starlette in this environment."""


class UnknownReleaseError(BackportError):
    """``starlette.__version__`` does not say which release this is."""


class UnexpectedCodeError(BackportError):
    """A file or a function of Starlette is not what this release shipped. Nothing was changed."""


class BackportNotNeededWarning(UserWarning):
    """The Starlette that is installed carries template messages by itself: remove starlette-backport."""
