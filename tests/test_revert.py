"""`revert()` and `applied()`: an exact undo (point 9 of the contract)."""

import gc
import importlib
import sys
import types

import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from support import BODY, CARRIER, PUSH, START, PassThrough, sending, serve

import starlette_backport
from starlette_backport import _in_flight, _process

MODULES = [
    "starlette",
    "starlette.applications",
    "starlette.middleware.base",
    "starlette.middleware.gzip",
    "starlette.responses",
    "starlette.testclient",
]


def snapshot():
    """Return all that the modules of Starlette hold, down to the parts of their functions."""
    importlib.import_module("starlette.testclient")
    found = {"meta_path": list(sys.meta_path)}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "starlette":
            continue
        for attribute, value in vars(module).items():
            found[name, attribute] = value
            if isinstance(value, type) and value.__module__.startswith("starlette"):
                for inner, member in vars(value).items():
                    found[name, attribute, inner] = member
                    if isinstance(member, types.FunctionType):
                        found[name, attribute, inner, "parts"] = parts(member)
            elif isinstance(value, types.FunctionType):
                found[name, attribute, "parts"] = parts(value)
    return found


def parts(function):
    names = "__code__ __defaults__ __kwdefaults__ __closure__ __globals__ __name__ __qualname__ __dict__"
    return [getattr(function, name) for name in names.split()]


def differences(before, after):
    return [
        key
        for key in {**before, **after}
        if before.get(key) is not after.get(key) and before.get(key) != after.get(key)
    ]


@pytest.fixture(autouse=True)
def _imported():
    for name in MODULES:
        importlib.import_module(name)


def test_all_is_as_it_was():
    before = snapshot()
    functions = starlette_backport.apply().functions
    after = snapshot()
    changed = set()
    for key in differences(before, after):
        if key == "meta_path":
            continue
        assert key[-1] == "parts"
        function = before[key[:-1]]
        changed.add("%s.%s" % (function.__module__, function.__qualname__))
        # Nothing but the code of the function has changed.
        assert parts(function)[1:] == before[key][1:]
    assert changed == {name for name in functions if name.rsplit(".", 2)[0] in sys.modules}
    starlette_backport.revert()
    assert differences(before, snapshot()) == []


def test_no_class_is_left():
    with starlette_backport.applied():
        _, error = serve(PassThrough(sending(PUSH, START, BODY)))
        assert error is None
    gc.collect()
    names = [subclass.__module__ + "." + subclass.__name__ for subclass in StreamingResponse.__subclasses__()]
    assert "starlette.responses.StreamingResponse" not in names


def test_nothing_grows_with_each_time():
    starlette_backport.apply()
    starlette_backport.revert()
    assert _in_flight.earlier == []


def test_an_import_that_is_going_through_the_finders_is_not_disturbed():
    """A finder that is taken out of the list that another thread goes through makes it skip one."""
    starlette_backport.apply()
    meta_path = sys.meta_path
    before = list(meta_path)
    starlette_backport.revert()
    assert meta_path == before
    assert len(sys.meta_path) == len(before) - 1


def test_without_apply_it_does_nothing():
    before = snapshot()
    starlette_backport.revert()
    starlette_backport.revert()
    assert differences(before, snapshot()) == []


def test_after_apply_twice_once_is_enough():
    before = snapshot()
    starlette_backport.apply()
    starlette_backport.apply()
    starlette_backport.revert()
    assert differences(before, snapshot()) == []
    assert starlette_backport.status().state == "not applied"


def test_code_that_somebody_else_put_there_since_stays():
    function = vars(BaseHTTPMiddleware)[CARRIER]
    shipped = function.__code__

    async def other(self, *args):
        raise NotImplementedError

    try:
        starlette_backport.apply()
        function.__code__ = other.__code__
        starlette_backport.revert()
        assert function.__code__ is other.__code__
    finally:
        function.__code__ = shipped


def test_applied_is_for_a_while():
    before = snapshot()
    with starlette_backport.applied() as status:
        assert status.state == "applied"
        assert starlette_backport.status() == status
    assert differences(before, snapshot()) == []


def test_applied_ends_with_an_error_as_well():
    with pytest.raises(ZeroDivisionError), starlette_backport.applied():
        raise ZeroDivisionError
    assert starlette_backport.status().state == "not applied"


def test_applied_within_applied():
    with starlette_backport.applied():
        with starlette_backport.applied():
            pass
        assert starlette_backport.status().state == "applied"
    assert starlette_backport.status().state == "not applied"


def test_applied_within_apply_leaves_it_applied():
    starlette_backport.apply()
    with starlette_backport.applied():
        pass
    assert starlette_backport.status().state == "applied"


def test_apply_within_applied_stays():
    with starlette_backport.applied():
        starlette_backport.apply()
    assert starlette_backport.status().state == "applied"


def test_revert_within_applied():
    with starlette_backport.applied():
        starlette_backport.revert()
        assert starlette_backport.status().state == "not applied"
    assert starlette_backport.status().state == "not applied"


def state():
    return starlette_backport.status().state


def test_suspended_is_unpatched_for_a_while():
    before = snapshot()
    starlette_backport.apply()
    with _process.suspended():
        assert differences(before, snapshot()) == []
    assert state() == "applied"
    _, error = serve(PassThrough(sending(PUSH, START, BODY)))
    assert error is None
    starlette_backport.revert()
    assert differences(before, snapshot()) == []


def test_suspended_where_nothing_is_applied():
    before = snapshot()
    with _process.suspended():
        assert state() == "not applied"
    assert differences(before, snapshot()) == []


def test_suspended_ends_with_an_error_as_well():
    starlette_backport.apply()
    with pytest.raises(ZeroDivisionError), _process.suspended():
        raise ZeroDivisionError
    assert state() == "applied"


def test_applied_within_suspended():
    with starlette_backport.applied():
        with _process.suspended():
            with starlette_backport.applied():
                assert state() == "applied"
            assert state() == "not applied"
        assert state() == "applied"
    assert state() == "not applied"


def test_apply_within_suspended_stays():
    with starlette_backport.applied():
        with _process.suspended():
            starlette_backport.apply()
        assert state() == "applied"
    assert state() == "applied"


def test_revert_within_suspended_is_for_that_while():
    with starlette_backport.applied():
        with _process.suspended():
            starlette_backport.apply()
            starlette_backport.revert()
            assert state() == "not applied"
        assert state() == "applied"
    assert state() == "not applied"


def test_apply_that_does_nothing_within_suspended(monkeypatch):
    """It gives up what it holds within the block, and not what it held before."""
    starlette_backport.apply()
    with _process.suspended():
        monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", "1")
        assert starlette_backport.apply().state == "disabled"
        monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE")
    assert state() == "applied"


def test_applied_that_ends_within_suspended():
    context = starlette_backport.applied()
    context.__enter__()
    with _process.suspended():
        context.__exit__(None, None, None)
    assert state() == "not applied"
    with starlette_backport.applied():
        pass
    assert state() == "not applied"


def test_applied_that_ends_just_when_suspended_does(monkeypatch):
    do = _process.do
    context = starlette_backport.applied()
    context.__enter__()

    def late(*args):
        context.__exit__(None, None, None)
        do(*args)

    with _process.suspended():
        monkeypatch.setattr(_process, "do", late)
    assert state() == "not applied"


def test_suspended_within_suspended():
    with starlette_backport.applied(), _process.suspended():
        with _process.suspended():
            assert state() == "not applied"
        assert state() == "not applied"
        with starlette_backport.applied():
            with _process.suspended():
                assert state() == "not applied"
            assert state() == "applied"
        assert state() == "not applied"
    assert state() == "not applied"


def test_suspended_that_cannot_be_applied_again():
    """Whoever holds it lets go as ever, and all is well the next time."""
    function = vars(BaseHTTPMiddleware)[CARRIER]
    shipped = function.__code__

    async def other(self, *args):
        raise NotImplementedError

    try:
        with starlette_backport.applied():
            with pytest.raises(starlette_backport.UnexpectedCodeError), _process.suspended():
                function.__code__ = other.__code__
            assert state() == "not applied"
    finally:
        function.__code__ = shipped
    with starlette_backport.applied():
        assert state() == "applied"
    assert state() == "not applied"
