"""The application that the servers run. It applies the backport as README says.

It is compared with itself, where STARLETTE_BACKPORT_DISABLE is set.
"""

import starlette_backport

starlette_backport.apply()

from application import app  # noqa: E402, F401
