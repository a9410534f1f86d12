"""Releases built with the diffs in patches/: recognised, and the same as the backport applied to the release."""

import importlib
import pathlib
import re
import sys
import typing

import pytest
import starlette
from hypothesis import given
from programs import Asyncio, any_clients, cases
from starlette.middleware.base import BaseHTTPMiddleware
from support import BODY, DEBUG, FORK, PUSH, RELEASE, REPOSITORY, START, exchange, python, raw
from test_model import backends, left_to_chance

import starlette_backport

pytestmark = pytest.mark.skipif(not FORK, reason="needs a patched build: scripts/test --fork runs it on some")

PATCHED = "it is a patched build, with the diffs of starlette-backport"


def test_it_is_recognised():
    modules = [importlib.import_module("starlette." + name) for name in ("middleware.base", "middleware.gzip")]
    before = [dict(vars(cls)) for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    meta_path = list(sys.meta_path)
    assert tuple(starlette_backport.status()) == (RELEASE, False, "not needed", (), PATCHED)
    starlette_backport.apply()
    with starlette_backport.applied() as status:
        assert status == starlette_backport.status()
    after = [dict(vars(cls)) for module in modules for cls in vars(module).values() if isinstance(cls, type)]
    assert after == before
    assert sys.meta_path == meta_path
    assert starlette.__version__ == RELEASE


def test_it_warns_once():
    program = """
import warnings
import starlette_backport
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        starlette_backport.apply()
for warning in caught:
    print(warning.category.__name__, warning.message)
"""
    (line,) = python(program).stdout.splitlines()
    assert line == (
        "BackportNotNeededWarning Starlette %s does not need starlette-backport (%s): "
        "remove the package and the call of starlette_backport.apply()." % (RELEASE, PATCHED)
    )


FROZEN = """
import importlib.abc, importlib.util, os, sys

class Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def path(self, name):
        base = os.path.join(%r, *name.split("."))
        return next((path for path in (base + "/__init__.py", base + ".py") if os.path.exists(path)), None)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "starlette" and self.path(name):
            return importlib.util.spec_from_loader(name, self, is_package=self.path(name).endswith("__init__.py"))

    def get_source(self, name):
        with open(self.path(name)) as file:
            return file.read()

sys.meta_path.insert(0, Importer())
import starlette_backport
print(starlette_backport.apply().reason)
import starlette.middleware.base
print(starlette_backport.apply().reason)
"""


def test_one_that_is_frozen_is_recognised_too():
    assert python(FROZEN % str(pathlib.Path(starlette.__file__).parents[1])).stdout.splitlines() == [PATCHED] * 2


def test_the_version_that_is_installed_says_so():
    """And it is the one that patches/hashes.txt has, upstream's with a local part."""
    hashes = (pathlib.Path(REPOSITORY) / "patches" / "hashes.txt").read_text()
    release = RELEASE.replace(".b", "b")
    (version,) = re.findall(r"^starlette==(%s\+backport\.\d+) " % re.escape(release), hashes, re.M)
    information = pathlib.Path(starlette.__file__).parents[1] / ("starlette-%s.dist-info" % version)
    assert "\nVersion: %s\n" % version in (information / "METADATA").read_text(encoding="utf-8")


@backends
@given(case=cases(any_clients))
def test_the_same_as_applied(backend, release, case):
    """In every message and error, early ones included."""
    if left_to_chance(case):
        return
    assert case.serve(backend).timeless() == release(case, backend, applied=True).timeless()


class Looking(typing.NamedTuple):
    """Not a case, but served like one: what a middleware can see of itself and of the response."""

    early: list

    def serve(self, backend):
        seen = []

        class Layer(BaseHTTPMiddleware):
            async def dispatch(self, request, call_next):
                response = await call_next(request)
                own = {"early_messages", "_starlette_backport_held"}
                seen.append(
                    {
                        "name": type(response).__name__,
                        "public": [name for name in dir(response) if not name.startswith("_") and name not in own],
                        "attributes": sorted(set(vars(response)) - own),
                        "plain": [getattr(response, name) for name in ("status_code", "media_type", "background")],
                        "headers": [type(response.headers).__name__, response.raw_headers is headers],
                        "body": type(response.body_iterator).__name__,
                        "middleware": [sorted(vars(self)), self.app is app, type(call_next).__name__],
                        "scope": sorted(dict(request)),
                    }
                )
                return response

        headers = []

        async def program(scope, receive, send):
            for message in [*self.early, dict(START, headers=headers), BODY]:
                await send(message)

        app = raw(program)
        messages, error = backend.run(lambda: exchange(Layer(app)))
        return seen, messages, error


@pytest.mark.parametrize("early", [[], [PUSH], [DEBUG, PUSH]], ids=["nothing", "push", "debug and push"])
def test_a_middleware_sees_the_same(early, release):
    looking = Looking(early)
    seen, _, error = looking.serve(Asyncio)
    assert error is None
    assert len(seen) == 1
    assert looking.serve(Asyncio) == release(looking, Asyncio, applied=True)
