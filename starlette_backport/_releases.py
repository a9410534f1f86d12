"""Which releases are affected, and what they shipped: the one place with release numbers.

The fingerprints are those of the 58 stable releases and three pre-releases from the package index, made by
``scripts/fingerprints``. `_code` says what they stand for. All here is plain data, as everybody who calls
``apply()`` waits for it.
"""

import re
import typing

_PATTERN = r"(\d+)\.(\d+)(?:\.(\d+))?(?:(a|b|rc)(\d+))?(?![\d])"

# Sorts after "a", "b" and "rc".
_FINAL = "~"


def parse(release: typing.Any) -> "typing.Tuple[int, int, int, str, int]":
    """Return what `release` sorts by; what follows, as in ``0.14.2+local``, does not count.

    Raises UnknownReleaseError for what is no version.
    """
    numbers = release.split(".") if isinstance(release, str) else []
    if len(numbers) == 3 and all(number.isdecimal() for number in numbers):
        # Nearly always; the pattern takes longer to compile than all of `apply()`.
        return int(numbers[0]), int(numbers[1]), int(numbers[2]), _FINAL, 0
    match = re.match(_PATTERN, release) if isinstance(release, str) else None
    if match is None:
        from ._errors import UnknownReleaseError

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


class Target:
    """A function that the backport changes, as shipped by a release."""

    def __init__(
        self, module: str, qualname: str, donor: str, source: str, code: str, code_optimized: str, files: str
    ) -> None:
        self.module = module
        self.qualname = qualname
        self.name = module + "." + qualname
        # The function whose body it gets: a name, as its module is imported only when this one's has been.
        self.donor = donor
        # The fingerprints of its source, and of its code, which under -O is without asserts.
        self.source = source
        self.fingerprint = code if __debug__ else code_optimized
        # The CRC-32s of the whole files that have it so.
        self.files = files.split()


BASE = "starlette.middleware.base"

_template = "_neighbours.TemplateResponse.__call__"
_template_asgi2 = "_neighbours.TemplateResponseASGI2.__call__"

# For each function its module, its name and rows: the first release that it is so on, pre-releases included, and what
# `Target` says; or None from the release on where it is gone, or is no longer the one to change.
TARGETS: "typing.Tuple[typing.Any, ...]" = (
    (
        BASE,
        "BaseHTTPMiddleware.call_next",
        ((0, 9, 9), "_middleware.call_next_asgi2", "1eac9cc3", "0032ebbe", "90a8866b", "2bd01204"),
        ((0, 12, 0), "_middleware.call_next", "98e73271", "b211c84a", "da0bc7c2", "d86ff029"),
        ((0, 12, 1), "_middleware.call_next", "9e0b17b9", "888c99be", "dc90fbb5", "43cec482"),
        ((0, 13, 5), "_middleware.call_next", "8d097aff", "5657687e", "f01370a3", "29535879"),
        ((0, 13, 7), "_middleware.call_next", "3f575f0d", "d73525b1", "ce9d5d77", "b94bda7a"),
        ((0, 13, 8), "_middleware.call_next", "f4e6dbf5", "5657687e", "f01370a3", "59483fca"),
        ((0, 15, 0), None),
    ),
    (
        BASE,
        "BaseHTTPMiddleware.__call__",
        ((0, 15, 0), "_middleware.call", "b0ec55a6", "26ac685b", "3bdf5f9f", "66ff61d7"),
        ((0, 17, 0), "_middleware.call", "a605bd32", "88d11c76", "10cbef71", "1ff24259"),
        ((0, 19, 0), "_middleware.call", "0a6c509a", "7f7098a7", "5a643a49", "8c6e08a4 8aca022f"),
        ((0, 20, 1), "_middleware.call", "e9087953", "2f6aa823", "deb7c1a3", "48ac60b9"),
        ((0, 21, 0), "_middleware.call", "91b6dfd8", "5ce0bf88", "b2b26c04", "ecf781a4"),
        ((0, 23, 1), "_middleware.call", "149a1dfc", "a863d8af", "fd18a305", "2bb56e39"),
    ),
    (
        "starlette.responses",
        "TemplateResponse.__call__",
        ((0, 9, 9), _template_asgi2, "0b118261", "60f1e374", "60f1e374", "a59baf27 475fd169"),
        ((0, 10, 4), None),
    ),
    (
        "starlette.templating",
        "_TemplateResponse.__call__",
        ((0, 10, 4), _template_asgi2, "03ee721d", "60f1e374", "60f1e374", "c3397c2e 353df1b4 c9447cc6"),
        (
            (0, 12, 0),
            _template,
            "a0d3110c",
            "671eb097",
            "671eb097",
            "7bd3fd21 7334a75a 93afda80 2571224b 99d8a7e4 b94babf8 2860ebc6 c2f69e9b",
        ),
    ),
    (
        "starlette.middleware.gzip",
        "GZipResponder.__call__",
        ((0, 9, 9), "_neighbours.gzip_call_asgi2", "f7a93d94", "f4fab33f", "f4fab33f", "900455b5"),
        (
            (0, 12, 0),
            "_neighbours.gzip_call",
            "e140dccb",
            "3b424916",
            "3b424916",
            "b6669924 5e6ffb82 b4632d17 7f8444c9 832d3908",
        ),
    ),
    (
        "starlette.middleware.gzip",
        "GZipResponder.send_with_gzip",
        ((0, 9, 9), "_neighbours.gzip_send", "27b66298", "51a66356", "51a66356", "900455b5 b6669924"),
        ((0, 14, 2), "_neighbours.gzip_send", "5677fc29", "51a66356", "51a66356", "5e6ffb82 b4632d17 7f8444c9"),
        ((0, 22, 0), "_neighbours.gzip_send", "f2c95ae8", "13626bf0", "13626bf0", "832d3908"),
    ),
    (
        "starlette.testclient",
        "_ASGIAdapter.send",
        ((0, 9, 9), "_neighbours.client_send", "0bf68c8a", "e26af271", "7a9fb3ea", "cc1f70f0"),
        ((0, 9, 10), "_neighbours.client_send", "b2b03b2d", "2f4a01c5", "0f56af7c", "c1c449bc"),
        ((0, 9, 11), "_neighbours.client_send", "c3d2493c", "69b79edb", "2212980e", "41cdb9cf"),
        ((0, 10, 0), "_neighbours.client_send", "0a5a1c5a", "8abefe4a", "9870b6d0", "30fd7545"),
        ((0, 12, 0), "_neighbours.client_send", "34947ab9", "d26ac64f", "36f254cb", "9a1abd9a 4a729d62"),
        ((0, 12, 3), "_neighbours.client_send", "cb6b2518", "165d079b", "ada38e8e", "9804ced8 e3c826fd 4531b937"),
        ((0, 12, 11), "_neighbours.client_send", "819d2ea0", "7dc91d4c", "561d4229", "c8ea3366"),
        (
            (0, 13, 1),
            "_neighbours.client_send",
            "573bd037",
            "7dc91d4c",
            "561d4229",
            "77a6a63d 610d3608 b1c34f11 2f673e35",
        ),
        ((0, 15, 0), "_neighbours.client_send", "ee87309f", "be146311", "3d16a165", "96a0b65f"),
        ((0, 16, 0), "_neighbours.client_send", "8788dc74", "a9e3fda0", "6f7c939d", "44950267"),
        ((0, 18, 0), "_neighbours.client_send", "c3a8203b", "fd71e83e", "e8456969", "b1ad7025"),
        ((0, 19, 0), "_neighbours.client_send", "ea7fe2c8", "f3ece52c", "185fd08b", "9493f09d 64eb3550"),
        ((0, 21, 0), None),
    ),
    (
        "starlette.testclient",
        "_TestClientTransport.handle_request",
        ((0, 21, 0), "_neighbours.client_handle_request", "f86ff821", "7b2a2a8b", "cf46d98c", "6e8d5f0b"),
        ((0, 22, 0), "_neighbours.client_handle_request", "dcb4a639", "7b2a2a8b", "cf46d98c", "c56d0d3a 31c8d185"),
    ),
)


def targets(release: typing.Any) -> "typing.List[Target]":
    """Return the functions to change on `release`, none if it is not affected. Raises UnknownReleaseError."""
    version = parse(release)
    found: typing.List[Target] = []
    if is_fixed(release):
        return found
    for module, qualname, *rows in TARGETS:
        known = [row for row in rows if row[0] <= version]
        if known and known[-1][1] is not None:
            found.append(Target(module, qualname, *known[-1][1:]))
    return found
