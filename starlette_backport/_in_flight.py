"""Requests in flight when ``apply()`` is called: they end as they were begun.

Such a request may have passed a middleware already: then the release's own ``call_next`` is waiting for it,
which takes no early messages, or its gzip middleware, which drops them. So everything further in has to do
as the release does, too, or the outcome would be one that neither the release nor the backport has. The
frames tell: what is further in runs within the function that took the request in, as it was shipped.

The other way round nothing needs to be done: what a request has not reached at the time of ``revert()`` is
further in, too, and early messages stop there, or come out of there, as they do on the release.

Two things are beyond this. A template response that has not begun at ``revert()`` sends no debug message, even
if other messages of its request have been carried. And what a middleware of the user's runs in a task that it
started itself does not run within the function that took the request in, so it counts as begun anew.
"""

import sys
import typing

from ._code import Transplant, walk

if typing.TYPE_CHECKING:
    _Transplants = typing.List[Transplant]
else:
    _Transplants = list


class EarlierCalls(_Transplants):
    """The functions that may have calls under way from before they were changed; mostly there are none."""

    def enclose_this(self) -> bool:
        """Return whether the caller runs within one of those calls."""
        if not any(_is_running(transplant) for transplant in self):
            self.clear()  # And there will be none any more.
            return False
        codes = {id(code) for transplant in self for code in walk(transplant.shipped)}
        frame: typing.Any = sys._getframe(1)
        while frame is not None:
            if id(frame.f_code) in codes:
                return True
            frame = frame.f_back
        return False


earlier = EarlierCalls()


def _is_running(transplant: Transplant) -> bool:
    # What holds the code: `transplant`, its function for what goes on as it was begun, the argument here, and
    # each call that is under way. If somebody else does, looking through the frames is in vain, but not wrong.
    return sys.getrefcount(transplant.shipped) > 3
