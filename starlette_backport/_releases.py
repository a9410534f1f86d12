"""All release numbers, and the SHA-256 of files: ``scripts/fingerprints --check`` compares them with the releases."""

import re
from typing import Any, Dict, Tuple

from . import _functions
from ._errors import UnknownReleaseError

BASE = "starlette.middleware.base"
GZIP = "starlette.middleware.gzip"
RESPONSES = "starlette.responses"
TEMPLATING = "starlette.templating"
# The first affected release, the first one with the fix (pull request #1991), and the first with httpx, not requests.
AFFECTED, FIXED, HTTPX = (0, 9, 9), (0, 24, 0), (0, 21, 0)
FREED_BY = {"fastapi": "FastAPI 0.91.0"}  # The first release of it that allows one with the fix.
# What `BASE` has where it was built with patches/, and what it mentions where somebody put upstream's fix there.
PATCHED, FIX_MARK = "_early_messages", "http.response.debug"

# The functions to change: module, name, new code, first release, and first release without.
FUNCTIONS = (
    (BASE, "BaseHTTPMiddleware.call_next", _functions.call_next, AFFECTED, (0, 15, 0)),
    (BASE, "BaseHTTPMiddleware.__call__", _functions.call_middleware, (0, 15, 0), FIXED),
    (RESPONSES, "TemplateResponse.__call__", _functions.WithSuper.call_template_response, AFFECTED, (0, 10, 4)),
    (TEMPLATING, "_TemplateResponse.__call__", _functions.WithSuper.call_template_response, (0, 10, 4), FIXED),
    (GZIP, "GZipResponder.__init__", _functions.make_gzip_responder, AFFECTED, (0, 12, 0)),
    (GZIP, "GZipResponder.__call__", _functions.call_gzip_responder, (0, 12, 0), FIXED),
)

# The SHA-256 of the files that define them, as shipped from that release on.
FILES: Dict[Tuple[str, Tuple[int, int, int]], str] = {
    (BASE, (0, 9, 9)): "4ef429a9a8c738094ba0ba055d3c9a1e21bdb46e52557005a4f746eeabf7bad6",
    (BASE, (0, 12, 0)): "ac9e80e404cfd284a6a0db2de8976f12b23a614b91b3b31708fcf1e8da40d020",
    (BASE, (0, 12, 1)): "f9a78b1bb9c793229b975bde6cd932409e43f585c8f085255580fab90774d434",
    (BASE, (0, 13, 5)): "c0d76a478a4b56551a4a0e461eaf7a1fc0499696289b55b102bb2b1fd7a2822b",
    (BASE, (0, 13, 7)): "386dc129f747648f83544cbed9a08249a7d875591925dc5fb75f689c0c319380",
    (BASE, (0, 13, 8)): "acc84c683b386c1a35610f3c7cf756f1a94b73eaccefd68b4e162f401738d172",
    (BASE, (0, 15, 0)): "0295f98d2ff1b029ca731fe29ee99db0df1e27eb34767d5622cc8611f54cfc35",
    (BASE, (0, 17, 0)): "618e6273466fb91f0ac59e6ad12fac036b6c06e9fd43a5d2b3be83d462a48f75",
    (BASE, (0, 19, 0)): "2835f4679863953cb8d87455c27f6bd45ec611bebbca80f5e012ab0957cfd3ae",
    (BASE, (0, 19, 1)): "b86fdcf13819db7a125d0b75f83207ce89d92dbce378151073909f2f50e3b723",
    (BASE, (0, 20, 1)): "a68d86b4487f0b5737d97d83ff9d1ff515e6c28eaec6ea9e0b78f69dcdd49aaa",
    (BASE, (0, 21, 0)): "e2ed875a3fd8f462372e598810fa41c62ae8ef36aa562228272458fe14252ba2",
    (BASE, (0, 23, 1)): "7b39eaf492c486c9312018a46c2b8536e82b00257e3e8cca89bbe170861a6c3e",
    (GZIP, (0, 9, 9)): "bcee941aaa5c2ffe5ef7c2725f96a8aa0814fb9d93bc87b14b87a7ebc023d515",
    (GZIP, (0, 12, 0)): "6ee16965fb2df9c748c80c005f92d2a507ef16dffb8d772af1e93d3ae343b4c2",
    (GZIP, (0, 14, 2)): "7d6faa6977e38efec6834568a089c5fd7bb7212be48f75c8dd17e108697153ca",
    (GZIP, (0, 15, 0)): "fbddd6756aa1805b56b02ff1267b9c786fb7b345bf6bbb208b4657c8b9065e58",
    (GZIP, (0, 18, 0)): "18994c625f861e190320f211721bdb6addc58be0d13084edf331cdea9ab63a54",
    (GZIP, (0, 22, 0)): "e0fc01738d932c6a39d123549fc3cd32776226637a547748048e71d4fcaae20a",
    (RESPONSES, (0, 9, 9)): "886f807657485421588cfe18c960db74da7b16994edf0129eaa080168f89dfe3",
    (RESPONSES, (0, 9, 10)): "1747c2c12e714d42026da62f62ebb071df126ac50430a0c197c9a343fa4cdbe2",
    (TEMPLATING, (0, 10, 4)): "5f5d283d43123aed8602cf3db40aabbed697cfb3961fc8ef2a46173480e4d6d9",
    (TEMPLATING, (0, 10, 5)): "3c8edcd9fd24cd376168b85940e6659ccb9fe4359357aa05c67911b27829231c",
    (TEMPLATING, (0, 11, 3)): "7b00aa60e134d4bffea8434f80f9ba154495461b08eb124a5e9c823b396cb07e",
    (TEMPLATING, (0, 12, 0)): "488f56ea9df73b976503a09a283a90da76d6823ad527b1b1689200b4c49b7e88",
    (TEMPLATING, (0, 15, 0)): "c4c16cfb9f19d722ac6e3f4613afca00f8c8e464c2f8561a00af7ebd4382a037",
    (TEMPLATING, (0, 16, 0)): "aec89742a44e1f491e812e150d1e1cbcb8b0321cecf0461f76cea6c270a80a30",
    (TEMPLATING, (0, 17, 0)): "806ac2d2a77e30482ef7efa1a46a400f5c96bc546ed37f62576f0d9c62a623cd",
    (TEMPLATING, (0, 18, 0)): "48f400200fb06048eb80721a6339bedd3522245d80f5c0d14451a31058b247f7",
    (TEMPLATING, (0, 19, 0)): "556779dc718456db2173fadf42a507a2fe446c16947aecfe925a79c4fe15c948",
    (TEMPLATING, (0, 19, 1)): "77028c75e812471fabdcc5270d61e25e6cf6188ff7b02d361004c12629f2a9b9",
    (TEMPLATING, (0, 22, 0)): "fb5a5589bc76d29f19181d2f1c413024a314e93a481f5d6132f3479a6a59db88",
}


def parse(release: Any) -> Tuple[int, int, int]:
    """Return the numbers of `release`, a ``starlette.__version__``. Raises UnknownReleaseError."""
    match = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release) if isinstance(release, str) else None
    if match is None:
        text = "starlette.__version__ is %r, which is no release. Nothing was changed.\nReinstall the release:\n"
        raise UnknownReleaseError(text % (release,) + "pip install --force-reinstall --no-deps starlette==...")
    return int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)


def sha256(module: str, release: str) -> str:
    """Return the SHA-256 of the file of `module` as `release` shipped it."""
    return FILES[max((name, since) for name, since in FILES if name == module and since <= parse(release))]
