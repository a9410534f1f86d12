"""What differs between the releases of Starlette: all release numbers are here.

``scripts/fingerprints --check`` compares the SHA-256 with the files of the releases.
"""

import re
import types
from typing import Dict, List, NamedTuple, Tuple

from . import _replacements
from ._errors import UNKNOWN_RELEASE, UnknownReleaseError

Version = Tuple[int, int, int]

BASE = "starlette.middleware.base"
RESPONSES = "starlette.responses"
TEMPLATING = "starlette.templating"

#: The first affected release.
AFFECTED = (0, 9, 9)
#: The first release with the fix (pull request #1991).
FIXED = (0, 24, 0)
#: What `BASE` mentions where somebody put upstream's fix there.
FIX_MARK = "http.response.debug"
#: What `BASE` imports where it was built with ``patches/``.
PATCHED = "_early_messages"


class Replacement(NamedTuple):
    """Which function gets which code, from `since` on and before `until`."""

    module: str
    name: str
    code: types.CodeType
    since: Version
    until: Version


REPLACEMENTS = [
    Replacement(
        module=BASE,
        name="BaseHTTPMiddleware.call_next",
        code=_replacements.BaseHTTPMiddleware.call_next.__code__,
        since=AFFECTED,
        until=(0, 15, 0),
    ),
    Replacement(
        module=BASE,
        name="BaseHTTPMiddleware.__call__",
        code=_replacements.BaseHTTPMiddleware.__call__.__code__,
        since=(0, 15, 0),
        until=FIXED,
    ),
    Replacement(
        module=RESPONSES,
        name="TemplateResponse.__call__",
        code=_replacements.TemplateResponse.call_asgi2.__code__,
        since=AFFECTED,
        until=(0, 10, 4),
    ),
    Replacement(
        module=TEMPLATING,
        name="_TemplateResponse.__call__",
        code=_replacements.TemplateResponse.call_asgi2.__code__,
        since=(0, 10, 4),
        until=(0, 12, 0),
    ),
    Replacement(
        module=TEMPLATING,
        name="_TemplateResponse.__call__",
        code=_replacements.TemplateResponse.call.__code__,
        since=(0, 12, 0),
        until=FIXED,
    ),
]

#: The SHA-256 of the modules' files, as shipped from that release on.
SHA256: Dict[str, Dict[Version, str]] = {
    BASE: {
        (0, 9, 9): "4ef429a9a8c738094ba0ba055d3c9a1e21bdb46e52557005a4f746eeabf7bad6",
        (0, 12, 0): "ac9e80e404cfd284a6a0db2de8976f12b23a614b91b3b31708fcf1e8da40d020",
        (0, 12, 1): "f9a78b1bb9c793229b975bde6cd932409e43f585c8f085255580fab90774d434",
        (0, 13, 5): "c0d76a478a4b56551a4a0e461eaf7a1fc0499696289b55b102bb2b1fd7a2822b",
        (0, 13, 7): "386dc129f747648f83544cbed9a08249a7d875591925dc5fb75f689c0c319380",
        (0, 13, 8): "acc84c683b386c1a35610f3c7cf756f1a94b73eaccefd68b4e162f401738d172",
        (0, 15, 0): "0295f98d2ff1b029ca731fe29ee99db0df1e27eb34767d5622cc8611f54cfc35",
        (0, 17, 0): "618e6273466fb91f0ac59e6ad12fac036b6c06e9fd43a5d2b3be83d462a48f75",
        (0, 19, 0): "2835f4679863953cb8d87455c27f6bd45ec611bebbca80f5e012ab0957cfd3ae",
        (0, 19, 1): "b86fdcf13819db7a125d0b75f83207ce89d92dbce378151073909f2f50e3b723",
        (0, 20, 1): "a68d86b4487f0b5737d97d83ff9d1ff515e6c28eaec6ea9e0b78f69dcdd49aaa",
        (0, 21, 0): "e2ed875a3fd8f462372e598810fa41c62ae8ef36aa562228272458fe14252ba2",
        (0, 23, 1): "7b39eaf492c486c9312018a46c2b8536e82b00257e3e8cca89bbe170861a6c3e",
    },
    RESPONSES: {
        (0, 9, 9): "886f807657485421588cfe18c960db74da7b16994edf0129eaa080168f89dfe3",
        (0, 9, 10): "1747c2c12e714d42026da62f62ebb071df126ac50430a0c197c9a343fa4cdbe2",
    },
    TEMPLATING: {
        (0, 10, 4): "5f5d283d43123aed8602cf3db40aabbed697cfb3961fc8ef2a46173480e4d6d9",
        (0, 10, 5): "3c8edcd9fd24cd376168b85940e6659ccb9fe4359357aa05c67911b27829231c",
        (0, 11, 3): "7b00aa60e134d4bffea8434f80f9ba154495461b08eb124a5e9c823b396cb07e",
        (0, 12, 0): "488f56ea9df73b976503a09a283a90da76d6823ad527b1b1689200b4c49b7e88",
        (0, 15, 0): "c4c16cfb9f19d722ac6e3f4613afca00f8c8e464c2f8561a00af7ebd4382a037",
        (0, 16, 0): "aec89742a44e1f491e812e150d1e1cbcb8b0321cecf0461f76cea6c270a80a30",
        (0, 17, 0): "806ac2d2a77e30482ef7efa1a46a400f5c96bc546ed37f62576f0d9c62a623cd",
        (0, 18, 0): "48f400200fb06048eb80721a6339bedd3522245d80f5c0d14451a31058b247f7",
        (0, 19, 0): "556779dc718456db2173fadf42a507a2fe446c16947aecfe925a79c4fe15c948",
        (0, 19, 1): "77028c75e812471fabdcc5270d61e25e6cf6188ff7b02d361004c12629f2a9b9",
        (0, 22, 0): "fb5a5589bc76d29f19181d2f1c413024a314e93a481f5d6132f3479a6a59db88",
    },
}


def replacements_for(version: Version) -> List[Replacement]:
    """Return the replacements that the release `version` needs."""
    return [each for each in REPLACEMENTS if each.since <= version < each.until]


def parse(release: object) -> Version:
    """Return the numbers of `release`, a ``starlette.__version__``.

    Raises UnknownReleaseError.
    """
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(release))
    if match is None:
        raise UnknownReleaseError(UNKNOWN_RELEASE.format(release=release))
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def shipped_sha256(module: str, release: str) -> str:
    """Return the SHA-256 of the file of `module` as `release` shipped it."""
    version = parse(release)
    return SHA256[module][max(since for since in SHA256[module] if since <= version)]
