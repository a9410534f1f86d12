"""Which releases are affected, and what they shipped: the one place with release numbers.

The fingerprints are those of the 58 stable releases and three pre-releases from the package index, made by
``scripts/fingerprints``. `_code` says what they stand for.
"""

import re
import typing

from . import _middleware, _neighbours
from ._errors import UnknownReleaseError

Version = typing.Tuple[int, int, int, str, int]

_PATTERN = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:(a|b|rc)(\d+))?(?![\d])")

# Sorts after "a", "b" and "rc".
_FINAL = "~"


def parse(release: typing.Any) -> Version:
    """Return what `release` sorts by; what follows, as in ``0.14.2+local``, does not count.

    Raises UnknownReleaseError for what is no version.
    """
    match = _PATTERN.match(release) if isinstance(release, str) else None
    if match is None:
        raise UnknownReleaseError(
            "Expected starlette.__version__ to be a release number such as '0.14.2', but found {!r}. "
            "Reinstall Starlette (pip install --force-reinstall starlette==...), or call "
            "starlette_backport.apply() only where it has one.".format(release)
        )
    major, minor, micro, phase, number = match.groups()
    return int(major), int(minor), int(micro or 0), phase or _FINAL, int(number or 0)


# The first release whose `call_next` takes a template message (pull request #1991).
FIXED = "0.24.0"

# What the fix of 0.24.0 made `call_next` look for: a build of an older release that does so has it, too.
FIX_MARK = "http.response.debug"

# The module that the diffs in patches/ add to a release, and that `starlette.middleware.base` then imports.
PATCH_MODULE = "starlette._early_messages"


# From here on the test client is made of httpx, before of requests.
HTTPX_SINCE = "0.21.0"


def client_package(release: str) -> str:
    """Return the package that the test client of `release` is made of. Raises UnknownReleaseError."""
    return "httpx" if parse(release) >= parse(HTTPX_SINCE) else "requests"


def is_fixed(release: str) -> bool:
    """Return whether upstream's `release` has the fix. Raises UnknownReleaseError."""
    return parse(release) >= parse(FIXED)


class Target(typing.NamedTuple):
    """A function that the backport changes, as shipped by one release and those after it."""

    module: str
    qualname: str
    since: str
    # Whose body it gets; None from the release on where it is gone, or is no longer the one to change.
    donor: typing.Any
    # Of its source, of its code, and of its code under -O: without asserts.
    source: str
    code: str
    code_optimized: str

    @property
    def name(self) -> str:
        return self.module + "." + self.qualname

    @property
    def fingerprint(self) -> str:
        return self.code if __debug__ else self.code_optimized


def _shipped(module: str, qualname: str, *rows: typing.Tuple[str, typing.Any, str, str, str]) -> typing.List[Target]:
    return [Target(module, qualname, *row) for row in rows]


_template = _neighbours.TemplateResponse.__call__
_template_asgi2 = _neighbours.TemplateResponseASGI2.__call__
_gone = (None, "", "", "")

BASE = "starlette.middleware.base"

TARGETS = (
    _shipped(
        BASE,
        "BaseHTTPMiddleware.call_next",
        ("0.9.9", _middleware.call_next_asgi2, "1eac9cc3", "0032ebbe", "90a8866b"),
        ("0.12.0b1", _middleware.call_next, "98e73271", "b211c84a", "da0bc7c2"),
        ("0.12.1", _middleware.call_next, "9e0b17b9", "888c99be", "dc90fbb5"),
        ("0.13.5", _middleware.call_next, "8d097aff", "5657687e", "f01370a3"),
        ("0.13.7", _middleware.call_next, "3f575f0d", "d73525b1", "ce9d5d77"),
        ("0.13.8", _middleware.call_next, "f4e6dbf5", "5657687e", "f01370a3"),
        ("0.15.0", *_gone),
    ),
    _shipped(
        BASE,
        "BaseHTTPMiddleware.__call__",
        ("0.15.0", _middleware.call, "b0ec55a6", "26ac685b", "3bdf5f9f"),
        ("0.17.0", _middleware.call, "a605bd32", "88d11c76", "10cbef71"),
        ("0.19.0", _middleware.call, "0a6c509a", "7f7098a7", "5a643a49"),
        ("0.20.1", _middleware.call, "e9087953", "2f6aa823", "deb7c1a3"),
        ("0.21.0", _middleware.call, "91b6dfd8", "5ce0bf88", "b2b26c04"),
        ("0.23.1", _middleware.call, "149a1dfc", "a863d8af", "fd18a305"),
    ),
    _shipped(
        "starlette.responses",
        "TemplateResponse.__call__",
        ("0.9.9", _template_asgi2, "0b118261", "60f1e374", "60f1e374"),
        ("0.10.4", *_gone),
    ),
    _shipped(
        "starlette.templating",
        "_TemplateResponse.__call__",
        ("0.10.4", _template_asgi2, "03ee721d", "60f1e374", "60f1e374"),
        ("0.12.0b1", _template, "a0d3110c", "671eb097", "671eb097"),
    ),
    _shipped(
        _neighbours.GZIP,
        "GZipResponder.__call__",
        ("0.9.9", _neighbours.gzip_call_asgi2, "f7a93d94", "f4fab33f", "f4fab33f"),
        ("0.12.0b1", _neighbours.gzip_call, "e140dccb", "3b424916", "3b424916"),
    ),
    _shipped(
        _neighbours.GZIP,
        "GZipResponder.send_with_gzip",
        ("0.9.9", _neighbours.gzip_send, "27b66298", "51a66356", "51a66356"),
        ("0.14.2", _neighbours.gzip_send, "5677fc29", "51a66356", "51a66356"),
        ("0.22.0", _neighbours.gzip_send, "f2c95ae8", "13626bf0", "13626bf0"),
    ),
    _shipped(
        "starlette.testclient",
        "_ASGIAdapter.send",
        ("0.9.9", _neighbours.client_send, "0bf68c8a", "e26af271", "7a9fb3ea"),
        ("0.9.10", _neighbours.client_send, "b2b03b2d", "2f4a01c5", "0f56af7c"),
        ("0.9.11", _neighbours.client_send, "c3d2493c", "69b79edb", "2212980e"),
        ("0.10.0", _neighbours.client_send, "0a5a1c5a", "8abefe4a", "9870b6d0"),
        ("0.12.0b1", _neighbours.client_send, "34947ab9", "d26ac64f", "36f254cb"),
        ("0.12.3", _neighbours.client_send, "cb6b2518", "165d079b", "ada38e8e"),
        ("0.12.11", _neighbours.client_send, "819d2ea0", "7dc91d4c", "561d4229"),
        ("0.13.1", _neighbours.client_send, "573bd037", "7dc91d4c", "561d4229"),
        ("0.15.0", _neighbours.client_send, "ee87309f", "be146311", "3d16a165"),
        ("0.16.0", _neighbours.client_send, "8788dc74", "a9e3fda0", "6f7c939d"),
        ("0.18.0", _neighbours.client_send, "c3a8203b", "fd71e83e", "e8456969"),
        ("0.19.0", _neighbours.client_send, "ea7fe2c8", "f3ece52c", "185fd08b"),
        ("0.21.0", *_gone),
    ),
    _shipped(
        "starlette.testclient",
        "_TestClientTransport.handle_request",
        ("0.21.0", _neighbours.client_handle_request, "f86ff821", "7b2a2a8b", "cf46d98c"),
        ("0.22.0", _neighbours.client_handle_request, "dcb4a639", "7b2a2a8b", "cf46d98c"),
    ),
)


def targets(release: str) -> typing.List[Target]:
    """Return the functions to change on `release`, none if it is not affected. Raises UnknownReleaseError."""
    version = parse(release)
    found: typing.List[Target] = []
    if is_fixed(release):
        return found
    for rows in TARGETS:
        known = [row for row in rows if parse(row.since) <= version]
        if known and known[-1].donor is not None:
            found.append(known[-1])
    return found
