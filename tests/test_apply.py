"""`apply()`: once, whole or not at all, and whatever the order of things (points 7, 9 and 11)."""

import asyncio
import functools
import gzip
import logging
import sys
import threading
import types

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from support import (
    ASGI2,
    BODY,
    CARRIER,
    NUMBERS,
    START,
    PassThrough,
    body,
    call,
    content_of,
    exchange,
    http_scope,
    python,
    raw,
    run,
    sending,
    serve,
    start,
)

import starlette_backport
from starlette_backport import _code, _in_flight

EARLY = {"type": "x.early"}


def carries(app=None):
    messages, error = serve(app or PassThrough(sending(EARLY, START, BODY)))
    return error is None and messages[0] == EARLY


def test_it_carries_afterwards():
    assert not carries()
    result = starlette_backport.apply()
    assert result == starlette_backport.status()
    assert result.state == "applied"
    assert carries()


def test_twice_is_once():
    functions = vars(BaseHTTPMiddleware)
    starlette_backport.apply()
    first = functions[CARRIER], functions[CARRIER].__code__, list(sys.meta_path)
    assert starlette_backport.apply().state == "applied"
    assert (functions[CARRIER], functions[CARRIER].__code__, list(sys.meta_path)) == first
    starlette_backport.revert()
    assert not carries()


def test_an_application_built_before():
    app = PassThrough(PassThrough(sending(EARLY, START, BODY)))
    assert not carries(app)
    starlette_backport.apply()
    assert carries(app)
    starlette_backport.revert()
    assert not carries(app)


def capturing_wrapper():
    """Wrap as sentry-sdk does: capture the function, and put a plain one in its place."""
    captured = getattr(BaseHTTPMiddleware, CARRIER)
    calls = []

    async def wrapper(self, *args, **kwargs):
        calls.append("wrapper")
        return await captured(self, *args, **kwargs)

    return wrapper, calls


def naming_wrapper():
    """Wrap as a tool does that keeps names: with functools.wraps."""
    wrapper, calls = capturing_wrapper()
    return functools.wraps(getattr(BaseHTTPMiddleware, CARRIER))(wrapper), calls


class Descriptor:
    """Wrap as wrapt does: with an object that binds."""

    def __init__(self, wrapped, calls):
        self.__wrapped__ = wrapped
        self.calls = calls

    def __get__(self, instance, owner):
        bound = self.__wrapped__.__get__(instance, owner)

        async def call(*args, **kwargs):
            self.calls.append("wrapper")
            return await bound(*args, **kwargs)

        return call


def binding_wrapper():
    calls = []
    return Descriptor(vars(BaseHTTPMiddleware)[CARRIER], calls), calls


WRAPPERS = pytest.mark.parametrize("wrap", [capturing_wrapper, naming_wrapper, binding_wrapper])


@WRAPPERS
def test_a_wrapper_put_on_before(monkeypatch, wrap):
    wrapper, calls = wrap()
    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, wrapper)
    starlette_backport.apply()
    assert vars(BaseHTTPMiddleware)[CARRIER] is wrapper
    assert carries()
    assert calls == ["wrapper"]
    starlette_backport.revert()
    assert vars(BaseHTTPMiddleware)[CARRIER] is wrapper
    assert not carries()


@WRAPPERS
def test_a_wrapper_put_on_after(monkeypatch, wrap):
    starlette_backport.apply()
    wrapper, calls = wrap()
    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, wrapper)
    assert carries()
    starlette_backport.revert()
    assert vars(BaseHTTPMiddleware)[CARRIER] is wrapper
    assert not carries()
    assert calls == ["wrapper", "wrapper"]


def test_a_wrapper_of_a_subclass_that_captured_the_function_before(monkeypatch):
    """sentry-sdk wraps the ``__call__`` of each middleware class as its `Middleware` is built."""

    class Own(PassThrough):
        pass

    captured = Own.__call__

    if ASGI2:

        def wrapper(self, scope):
            return captured(self, scope)

    else:

        async def wrapper(self, scope, receive, send):
            await captured(self, scope, receive, send)

    Own.__call__ = wrapper
    app = Own(sending(EARLY, START, BODY))
    assert not carries(app)
    starlette_backport.apply()
    assert carries(app)


def test_a_function_that_is_gone_is_refused():
    """What stands in its place stays in charge; there is nothing to apply to."""
    program = """
import gc
import starlette_backport
from support import *

async def other(self, *args):
    raise NotImplementedError

setattr(BaseHTTPMiddleware, CARRIER, other)
gc.collect()
try:
    starlette_backport.apply()
except starlette_backport.UnexpectedCodeError as exc:
    print(CARRIER in str(exc), "as Starlette %s shipped it" % RELEASE in str(exc))
    print("but found no such function, but <function other at" in str(exc), starlette_backport.status().state)
print(vars(BaseHTTPMiddleware)[CARRIER] is other)
"""
    lines = python(program).stdout.splitlines()
    assert lines == ["True True", "True not applied", "True"]


def test_many_threads():
    barrier = threading.Barrier(16)
    results, errors = [], []

    def work():
        barrier.wait()
        try:
            for _ in range(20):
                results.append(starlette_backport.apply().state)
                with starlette_backport.applied() as status:
                    results.append(status.state)
        except BaseException as exc:
            errors.append(exc)

    before = vars(BaseHTTPMiddleware)[CARRIER].__code__
    meta_path = list(sys.meta_path)
    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert results == ["applied"] * 640
    assert carries()
    starlette_backport.revert()
    assert vars(BaseHTTPMiddleware)[CARRIER].__code__ is before
    assert sys.meta_path == meta_path


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_it_can_be_disabled(monkeypatch, caplog, value):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", value)
    before = vars(BaseHTTPMiddleware)[CARRIER].__code__
    with caplog.at_level(logging.INFO, logger="starlette_backport"):
        status = starlette_backport.apply()
    assert status.state == "disabled"
    assert status.affected
    assert "STARLETTE_BACKPORT_DISABLE" in status.reason
    (record,) = caplog.records
    assert record.name == "starlette_backport"
    assert record.getMessage() == "Nothing is changed: STARLETTE_BACKPORT_DISABLE is set. " + str(status)
    assert vars(BaseHTTPMiddleware)[CARRIER].__code__ is before
    with starlette_backport.applied() as inner:
        assert inner.state == "disabled"
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE")
    with starlette_backport.applied():
        pass
    assert starlette_backport.status().state == "not applied"
    assert starlette_backport.apply().state == "applied"


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_it_is_not_disabled(monkeypatch, value):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", value)
    assert starlette_backport.apply().state == "applied"


ORDERS = {
    "before all": ("apply", "base", "client", "build"),
    "after the base": ("base", "apply", "client", "build"),
    "after the client": ("client", "apply", "base", "build"),
    "after all imports": ("base", "client", "apply", "build"),
    "after the application is built": ("base", "client", "build", "apply"),
}

STEPS = """
import sys

def apply():
    import starlette_backport
    before = set(sys.modules)
    starlette_backport.apply()
    new = set(sys.modules) - before
    print("imported:", sorted(name for name in new if name.split(".")[0] != "starlette_backport"))

def base():
    import starlette.middleware.base

def client():
    import starlette.testclient

def build():
    global app
    from support import PassThrough, sending, START, BODY
    app = PassThrough(sending({"type": "http.response.debug", "info": {"template": "new"}}, START, BODY))

for step in sys.argv[1:] or STEPS:
    globals()[step]()

from starlette.testclient import TestClient
print("template:", TestClient(app).get("/").template)
import starlette_backport
print("state:", starlette_backport.status().state)
starlette_backport.revert()
print("left:", [type(finder).__module__ for finder in sys.meta_path if "backport" in type(finder).__module__])
"""


@pytest.mark.parametrize("order", list(ORDERS))
def test_the_order_of_imports_does_not_matter(order):
    program = "STEPS = %r\n%s" % (ORDERS[order], STEPS)
    lines = python(program).stdout.splitlines()
    assert "imported: []" in lines
    assert "template: new" in lines
    assert "left: []" in lines
    (state,) = [line for line in lines if line.startswith("state:")]
    assert state == "state: applied"


def test_modules_that_are_imported_again():
    """A reload makes new functions, and so does an import after the module was thrown out."""
    program = """
import importlib, sys
import starlette.middleware.base, starlette.middleware.gzip, starlette.testclient
import starlette_backport
starlette_backport.apply()
importlib.reload(starlette.middleware.base)
for name in [name for name in sys.modules if name.split(".")[0] == "starlette"]:
    if name != "starlette":
        del sys.modules[name]
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH)
starlette_backport.revert()
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages, [isinstance(leaf, AssertionError) for leaf in leaves(error)])
"""
    lines = python(program).stdout.splitlines()
    assert lines == ["True", "[] [True]"]


def test_it_leaves_the_loader_alone():
    program = """
import starlette_backport
starlette_backport.apply()
import starlette.middleware.base as base, inspect
print(type(base.__loader__).__module__.split(".")[0], base.__spec__.loader is base.__loader__)
print("class GZipMiddleware" in inspect.getsource(__import__("starlette.middleware.gzip").middleware.gzip))
"""
    lines = python(program).stdout.splitlines()
    assert lines[0].endswith("True")
    assert "backport" not in lines[0]
    assert lines[1] == "True"


LOADERS = """
import sys, types
from importlib.machinery import PathFinder
from importlib.util import find_spec
import starlette_backport
NAME = "starlette.middleware.base"

class Special(types.ModuleType):
    pass

class New:
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return Special(spec.name)
    def exec_module(self, module):
        self.loader.exec_module(module)

class Old:
    "Like that of zip files, up to Python 3.9."
    def __init__(self, loader):
        self.loader = loader
    def get_code(self, name):
        assert name == NAME
        return self.loader.get_code(name)

class Hook:
    def find_spec(self, name, path=None, target=None):
        if name == NAME:
            spec = PathFinder.find_spec(name, path, target)
            spec.loader = %s(spec.loader)
            return spec

sys.meta_path.insert(0, Hook())
starlette_backport.apply()
print(type(find_spec(NAME).loader.loader).__name__)
from support import *
print(type(sys.modules[NAME]).__name__, type(sys.modules[NAME].__loader__).__name__)
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH)
"""


@pytest.mark.parametrize(("loader", "module"), [("New", "Special"), ("Old", "module")])
def test_loaders_of_other_kinds(loader, module):
    lines = python(LOADERS % loader).stdout.splitlines()
    assert lines == ["SourceFileLoader", "%s %s" % (module, loader), "True"]


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jinja2", "requests", "httpx"):
            raise ImportError("not installed: " + name, name=name)

sys.meta_path.insert(0, Missing())
import starlette_backport
print(starlette_backport.apply().state)
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH, error)
try:
    import starlette.testclient
except ImportError as exc:
    print("as without the backport:", exc.name or exc)
starlette_backport.revert()
print(starlette_backport.status().state)
"""


@pytest.mark.skipif((0, 10, 4) <= NUMBERS < (0, 11, 0), reason="0.10.4 to 0.10.7 cannot be imported without jinja2")
def test_without_jinja2_requests_and_httpx():
    lines = python(WITHOUT).stdout.splitlines()
    assert lines[:2] == ["applied", "True None"]
    assert lines[2].startswith("as without the backport:")
    assert lines[3] == "not applied"


def test_nobody_waits_for_ever():
    """`apply()` in one thread while others import what it changes."""
    program = """
import threading, importlib, sys
for name in ("requests", "httpx"):  # Not these as well: old ones deadlock all by themselves.
    try:
        importlib.import_module(name)
    except ImportError:
        pass
import starlette_backport
names = ["starlette.middleware.base", "starlette.middleware.gzip", "starlette.testclient"]
barrier = threading.Barrier(len(names) + 1)
def load(name):
    barrier.wait()
    importlib.import_module(name)
threads = [threading.Thread(target=load, args=(name,), daemon=True) for name in names]
for thread in threads:
    thread.start()
barrier.wait()
starlette_backport.apply()
for thread in threads:
    thread.join(30)
print([thread.is_alive() for thread in threads])
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(messages[0] == PUSH)
"""
    lines = python(program).stdout.splitlines()
    assert lines == ["[False, False, False]", "True"]


IMPORT_HOOK = """
import importlib, sys, threading
from importlib.machinery import PathFinder
import starlette_backport

class Loader:
    "Does `then` after the module has been executed, as wrapt's post-import hooks do."
    def __init__(self, loader):
        self.loader = loader
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        self.loader.exec_module(module)
        then(module.__name__)

class Hook:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if name == NAME:
            spec.loader = Loader(spec.loader)
        return spec

def check():
    from support import PUSH, START, BODY, PassThrough, sending, serve
    messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
    print(starlette_backport.status().state, error is None and messages[0] == PUSH)

sys.meta_path.insert(0, Hook())
"""


def test_apply_from_a_post_import_hook():
    """The module has been executed, though its import is not over yet."""
    program = """
NAME = "starlette.middleware.base"
def then(name):
    starlette_backport.apply()
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["applied True"]


def test_apply_in_the_midst_of_an_import():
    """There is no way to reach what this very thread is about to define: that is an error, not a surprise."""
    program = """
NAME = "starlette.responses"  # Imported by starlette.middleware.base, before it has defined anything.
def then(name):
    try:
        starlette_backport.apply()
    except starlette_backport.UnexpectedCodeError as exc:
        print("found that this thread is just importing it" in str(exc), starlette_backport.status().state)
        print("as Starlette %s shipped it" % sys.modules["starlette"].__version__ in str(exc))
import starlette.middleware.base
starlette_backport.apply()
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["True not applied", "True", "applied True"]


def test_an_import_that_begins_while_applying():
    """It has come by the finder, so it may be left alone until it is over."""
    program = """
NAME = "starlette.responses"  # Imported by starlette.middleware.base, before it has defined anything.
half_way, go_on = threading.Event(), threading.Event()
def then(name):
    half_way.set()
    go_on.wait(20)
from starlette_backport import _process
def wait_for_import(name):
    if not threads:
        threads.append(threading.Thread(target=importlib.import_module, args=("starlette.middleware.base",)))
        threads[0].start()
        half_way.wait(20)
threads = []
_process.wait_for_import = wait_for_import
starlette_backport.apply()
print("BaseHTTPMiddleware" in vars(sys.modules["starlette.middleware.base"]))
go_on.set()
threads[0].join(20)
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["False", "applied True"]


def test_finders_that_ask_each_other():
    program = """
NAME = None
import starlette_backport
class Asking:
    def find_spec(self, name, path=None, target=None):
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return spec
sys.meta_path.insert(0, Asking())
starlette_backport.apply()
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["applied True"]


def test_other_finders_are_asked_the_same():
    program = """
import importlib, sys
import starlette.middleware.base as base
import starlette_backport
asked = []
class Asked:
    def find_spec(self, *args):
        if args[0] == base.__name__:
            asked.append(args)
sys.meta_path.insert(0, Asked())
importlib.reload(base)
starlette_backport.apply()
importlib.reload(base)
unpatched, patched = asked
print(patched == unpatched, list(patched[1]) == list(sys.modules["starlette.middleware"].__path__), patched[2] is base)
"""
    assert python(program).stdout.splitlines() == ["True True True"]


def test_an_import_under_way_may_use_the_package():
    """`apply()` waits for the other thread's import; that thread must not have to wait for `apply()`."""
    program = """
NAME = "starlette.middleware.base"
under_way = threading.Event()
def then(name):
    under_way.set()
    import time
    time.sleep(0.1)
    starlette_backport.status()
    with starlette_backport.applied():
        pass
import asyncio, starlette
thread = threading.Thread(target=importlib.import_module, args=(NAME,), daemon=True)
thread.start()
under_way.wait()
applying = threading.Thread(target=starlette_backport.apply, daemon=True)
applying.start()
applying.join(20)
print(applying.is_alive())
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["False", "applied True"]


def test_an_import_of_another_thread_is_waited_for():
    """It had begun before, so the finder has not seen it; but it is not this thread's, so it will be over."""
    program = """
NAME = "starlette.responses"  # Imported by starlette.middleware.base, before it has defined anything.
half_way = threading.Event()
def then(name):
    half_way.set()
    import time
    time.sleep(0.2)
import asyncio, starlette
thread = threading.Thread(target=importlib.import_module, args=("starlette.middleware.base",))
thread.start()
half_way.wait(20)
print(starlette_backport.apply().state)
thread.join(20)
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["applied", "applied True"]


def test_revert_in_the_midst_of_an_import():
    """The import has come by the finder, but that no longer counts when it is over."""
    program = """
NAME = "starlette.responses"  # Imported by starlette.middleware.base, before it has defined anything.
def then(name):
    starlette_backport.revert()
starlette_backport.apply()
import starlette.middleware.base
check()
"""
    lines = python(IMPORT_HOOK + program).stdout.splitlines()
    assert lines == ["not applied False"]


def test_another_apply_in_the_midst_of_apply(monkeypatch):
    """The first one to get there applies, and the other one leaves it at that."""
    from starlette_backport import _process

    meta_path = list(sys.meta_path)
    with monkeypatch.context() as patch:

        def wait_for_import(name):
            patch.undo()
            starlette_backport.apply()

        patch.setattr(_process, "wait_for_import", wait_for_import)
        starlette_backport.apply()
    assert carries()
    assert len(sys.meta_path) == len(meta_path) + 1
    starlette_backport.revert()
    assert sys.meta_path == meta_path
    assert not carries()


def test_a_revert_in_the_midst_of_apply(monkeypatch):
    """The later one wins, and holds like any other."""
    from starlette_backport import _process

    with monkeypatch.context() as patch:
        patch.setattr(_process, "wait_for_import", lambda name: starlette_backport.revert())
        assert starlette_backport.apply().state == "applied"
    with starlette_backport.applied():
        pass
    assert starlette_backport.status().state == "applied"
    assert carries()


def test_an_interrupted_apply_leaves_nothing(monkeypatch):
    from starlette_backport import _process

    def interrupted(name):
        raise KeyboardInterrupt

    meta_path = list(sys.meta_path)
    with monkeypatch.context() as patch:
        patch.setattr(_process, "wait_for_import", interrupted)
        with pytest.raises(KeyboardInterrupt):
            starlette_backport.apply()
    assert sys.meta_path == meta_path
    with starlette_backport.applied():
        pass
    assert starlette_backport.status().state == "not applied"
    starlette_backport.apply()
    assert carries()


@pytest.mark.parametrize("others", [0, 1])
def test_a_change_that_fails_half_way_leaves_nothing(monkeypatch, others):
    import starlette.middleware.gzip  # noqa: F401  So that there are two functions to change at least.

    from starlette_backport import _process
    from starlette_backport._code import Transplant

    for _ in range(others):  # Another thread that is about to apply must not take it for applied.
        _process.hold(object())

    function = vars(BaseHTTPMiddleware)[CARRIER]
    before = function.__code__, list(sys.meta_path)
    do, done = Transplant.do, []

    def failing(transplant):
        if done:
            raise MemoryError
        done.append(transplant)
        do(transplant)

    with monkeypatch.context() as patch:
        patch.setattr(Transplant, "do", failing)
        with pytest.raises(MemoryError):
            starlette_backport.apply()
    assert done
    assert (function.__code__, sys.meta_path) == before
    assert starlette_backport.status().state == "not applied"


def test_something_else_in_place_of_a_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.testclient", object())
    starlette_backport.apply()
    assert carries()


def test_an_empty_module_in_place_of_a_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.testclient", types.ModuleType("starlette.testclient"))
    with pytest.raises(starlette_backport.UnexpectedCodeError, match="found no such function, but None"):
        starlette_backport.apply()
    assert not carries()


def test_requests_under_way():
    """A request is finished as it was begun, whatever happens meanwhile."""

    async def main(during):
        reached, go = asyncio.Event(), asyncio.Event()

        async def program(scope, receive, send):
            reached.set()
            await go.wait()
            await send(EARLY)
            await send(start())
            await send(BODY)

        task = asyncio.ensure_future(exchange(PassThrough(raw(program))))
        await reached.wait()
        during()
        go.set()
        return await task

    starlette_backport.apply()
    messages, error = run(main(starlette_backport.revert))
    assert error is None
    assert messages[0] == EARLY
    messages, error = run(main(starlette_backport.apply))
    assert error is not None
    assert carries()


def test_a_request_under_way_reads_what_the_client_sends():
    async def main():
        reached, go = asyncio.Event(), asyncio.Event()

        async def reading(scope, receive, send):
            message = await receive()
            await send(start())
            await send(body(message["type"].encode("ascii")))

        async def program(scope, receive, send):
            reached.set()
            await go.wait()
            await call(GZipMiddleware(PassThrough(raw(reading))), scope, receive, send)

        scope = http_scope(headers=[(b"accept-encoding", b"gzip")])
        task = asyncio.ensure_future(exchange(PassThrough(raw(program)), scope))
        await reached.wait()
        starlette_backport.apply()
        go.set()
        return await task

    messages, error = run(main())
    assert error is None
    assert gzip.decompress(content_of(messages)) == b"http.request"


def test_one_call_that_is_under_way_is_enough():
    """Which is where the release's code is held by nobody else; in tests most often somebody does."""
    program = """
def call(then): return then()
def wait(then): yield then()
def donor(then): return then("text") or "<shipped>"
"""
    functions = {}
    exec(program, functions)
    calls = _in_flight.EarlierCalls()

    def then():
        calls[0].do()
        return calls.enclose_this()

    calls.append(_code.Transplant(functions["call"], functions["donor"]))
    assert functions["call"](then) is True
    assert calls.enclose_this() is False
    assert calls == []
    calls.append(_code.Transplant(functions["wait"], functions["donor"]))
    waiting = functions["wait"](then)
    assert next(waiting) is True
    assert calls.enclose_this() is False  # That call is somewhere else now, but not over.
    assert len(calls) == 1
    del waiting
    assert calls.enclose_this() is False
    assert calls == []


def test_functions_of_other_tools_are_not_touched():
    """Same name, same module, but not the release's: it is in no one's way."""
    copy = types.FunctionType(vars(BaseHTTPMiddleware)[CARRIER].__code__, {}, CARRIER)
    starlette_backport.apply()
    assert copy.__code__ is not vars(BaseHTTPMiddleware)[CARRIER].__code__
