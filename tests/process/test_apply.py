"""What `apply()`, `revert()`, `applied()` and `status()` do (points 7, 9 and 10).

`test_any_order` does the same in any order, while requests are under way.
"""

import contextlib
import inspect
import logging
import marshal
import sys
import types
import xmlrpc.client
from unittest import mock

import pytest
import starlette
import starlette.testclient
from starlette.middleware.base import BaseHTTPMiddleware
from support import (
    BODY,
    CARRIER,
    PUSH,
    QUEUE,
    RELEASE,
    START,
    PassThrough,
    TemplateResponse,
    copy_of,
    naming,
    parts_of,
    python,
    raw,
    second_copy,
    sending,
    serve,
    start,
)

import starlette_backport
from starlette_backport import _api
from starlette_backport._code_swap import CodeSwap, current_swap

OWNERS = {
    "starlette.middleware.base.BaseHTTPMiddleware." + CARRIER: BaseHTTPMiddleware,
    "%s.%s.__call__"
    % (TemplateResponse.__module__, TemplateResponse.__qualname__): TemplateResponse,
}
REASON = "until you are on 0.24.0"


def state():
    return starlette_backport.status().state


def carries(app=None):
    messages, error = serve(app or PassThrough(sending(PUSH, START, BODY)))
    return error is None and messages[0] == PUSH


def snapshot():
    """Return what the modules of Starlette hold, and what imports modules."""
    found = {
        "meta_path": sys.meta_path,
        "finders": list(sys.meta_path),
        "hooks": list(sys.path_hooks),
    }
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] != "starlette":
            continue
        for attribute, value in vars(module).items():
            found[name, attribute] = value
            members = (
                vars(value).items()
                if isinstance(value, type) and value.__module__ == name
                else ()
            )
            for inner, member in members:
                found[name, attribute, inner] = member
                if isinstance(member, types.FunctionType):
                    found[name, attribute, inner, "parts"] = parts_of(member)
    return found


def differences(before, after):
    return [
        key
        for key in {**before, **after}
        if before.get(key) is not after.get(key) != before.get(key)
    ]


@contextlib.contextmanager
def as_before():
    """Check that all is as before in the end."""
    before = snapshot()
    yield before
    assert differences(before, snapshot()) == []
    assert not carries()


# apply(), status() and revert()


def test_status_before_and_after():
    status = starlette_backport.status()
    assert status == (
        RELEASE,
        True,
        "not applied",
        "call starlette_backport.apply()",
        tuple(OWNERS),
        (),
    )
    assert not carries()
    applied = starlette_backport.apply()
    assert (
        applied
        == starlette_backport.status()
        == status._replace(state="applied", reason=REASON)
    )
    assert str(applied).splitlines() == [
        "Starlette %s: backport applied (%s)" % (RELEASE, REASON),
        *["  " + name for name in OWNERS],
    ]
    assert carries()
    assert starlette.__version__ == RELEASE
    starlette_backport.revert()
    assert starlette_backport.status() == status


@pytest.mark.parametrize("times", [1, 2])
def test_two_functions_are_changed_in_place_and_put_back_exactly(times):
    with as_before() as before:
        for _ in range(times):
            starlette_backport.apply()
        changed = {key[:-1]: key for key in differences(before, snapshot())}
        assert {"%s.%s.%s" % key for key in changed} == set(OWNERS)
        assert {key[-1] for key in changed.values()} == {"parts"}
        starlette_backport.revert()


def test_revert_without_apply_does_nothing():
    with as_before():
        starlette_backport.revert()


def test_a_second_apply_that_fails_leaves_the_first(monkeypatch):
    with as_before():
        starlette_backport.apply()
        with monkeypatch.context() as patch:
            patch.setattr(starlette, "__version__", "main")
            with pytest.raises(starlette_backport.UnknownReleaseError):
                starlette_backport.apply()
        assert state() == "applied"
        assert carries()
        starlette_backport.revert()


# Other tools change the code of functions, too.


@pytest.fixture
def function():
    """Return a function that `apply()` changes, and put it right afterwards."""
    function = vars(BaseHTTPMiddleware)[CARRIER]
    code, defaults = function.__code__, function.__kwdefaults__
    yield function
    function.__code__, function.__kwdefaults__ = code, defaults
    vars(function).clear()


def instrument(function):
    """Replace the code with a copy, as a profiler does, which is another object."""
    function.__code__ = marshal.loads(marshal.dumps(function.__code__))


@pytest.mark.parametrize("undo", ["revert", "applied", "suspended"])
def test_an_instrumented_copy_of_our_code_is_undone(function, undo):
    with as_before():
        with contextlib.ExitStack() as stack:
            if undo == "applied":
                stack.enter_context(starlette_backport.applied())
            else:
                starlette_backport.apply()
            instrument(function)
            assert (state(), carries()) == ("applied", True)
            if undo == "revert":
                starlette_backport.revert()
            if undo == "suspended":
                stack.enter_context(_api.suspended())
                assert (state(), carries()) == ("not applied", False)
        if undo == "suspended":
            assert (state(), carries()) == ("applied", True)
            starlette_backport.revert()
        assert state() == "not applied"


def test_a_tool_that_puts_back_the_code_it_saved_before_undoes_the_change(function):
    with as_before():
        saved = function.__code__
        for _ in range(2):
            starlette_backport.apply()
            function.__code__ = saved
            assert (state(), carries()) == ("not applied", False)
        assert starlette_backport.apply().state == "applied"
        assert carries()
        starlette_backport.revert()


@pytest.fixture
def cover(function, monkeypatch):
    """Return what covers our code with a tool's own code, as ddtrace does.

    It has the parameters of the code that it covers, and calls a copy of that.
    """
    if QUEUE:

        async def covering(self, request, *, starlette_backport):
            return await covered(self, request)  # noqa: F821

    else:

        async def covering(self, scope, receive, send, *, starlette_backport):
            await covered(self, scope, receive, send)  # noqa: F821

    def cover():
        monkeypatch.setitem(function.__globals__, "covered", copy_of(function))
        function.__code__ = covering.__code__

    return cover


def test_code_of_another_tool_over_ours_is_left_alone_until_it_lets_go(function, cover):
    starlette_backport.apply()
    ours = function.__code__
    cover()
    covering = function.__code__
    note = "covered by code of another tool: " + next(iter(OWNERS))
    assert (state(), carries()) == ("applied", True)
    assert starlette_backport.status().notes == (note,)
    for _ in range(2):
        starlette_backport.revert()
        assert (function.__code__, carries()) == (covering, True)
    alone = "changed, unlike the others: " + next(iter(OWNERS))
    assert starlette_backport.status().notes == (note, alone)
    function.__code__ = ours
    assert starlette_backport.status().notes == (alone,)
    starlette_backport.revert()
    assert starlette_backport.status().notes == ()
    assert (state(), carries()) == ("not applied", False)


def test_other_code_in_place_of_ours_stays(function):
    async def other(self, *args, **kwargs):
        raise NotImplementedError

    starlette_backport.apply()
    function.__code__ = other.__code__
    starlette_backport.revert()
    assert function.__code__ is other.__code__


def test_a_signature_that_somebody_set_before_is_kept(function):
    with as_before():
        signature = inspect.Signature()
        function.__signature__ = signature
        starlette_backport.apply()
        assert inspect.signature(function) == signature
        starlette_backport.revert()
        assert function.__signature__ is signature
        del function.__signature__


def test_a_function_that_cannot_be_changed_leaves_all_as_it_was(monkeypatch):
    """Also who else has applied it: the first one lets go, and nobody holds it."""
    with as_before():
        context = starlette_backport.applied()
        context.__enter__()
        # Only the template response is to be changed once more.
        current_swap(vars(TemplateResponse)["__call__"]).restore_code()
        replace_code = CodeSwap.replace_code

        def failing(self):
            replace_code(self)
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(CodeSwap, "replace_code", failing)
            with pytest.raises(MemoryError):
                starlette_backport.apply()
        assert carries()
        context.__exit__(None, None, None)


def test_code_that_does_not_fit_leaves_no_trace(function):
    variable = None

    def closing_over_a_variable():
        return variable

    before = parts_of(function)
    swap = CodeSwap(function, closing_over_a_variable.__code__, None)
    with pytest.raises(ValueError, match="free vars"):
        swap.add_holder("a holder")
    swap.remove_holder("a holder")
    assert parts_of(function) == before


# applied()


def test_applied_is_for_a_while():
    with as_before():
        with starlette_backport.applied() as status:
            assert status == starlette_backport.status()
            assert carries()
        assert state() == "not applied"
        with pytest.raises(ZeroDivisionError), starlette_backport.applied():
            raise ZeroDivisionError


@pytest.mark.parametrize("copy", ["the same copy", "another copy"])
def test_applied_overlaps(copy):
    other = second_copy() if copy == "another copy" else starlette_backport
    with as_before():
        first, second = starlette_backport.applied(), other.applied()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert carries()
        second.__exit__(None, None, None)


@pytest.mark.parametrize("place", ["before", "inside"])
def test_applied_leaves_apply_in_force(place):
    with as_before():
        if place == "before":
            starlette_backport.apply()
        with starlette_backport.applied():
            starlette_backport.apply()
        assert carries()
        starlette_backport.revert()


def test_suspended_keeps_who_holds_a_change():
    with as_before():
        context = starlette_backport.applied()
        context.__enter__()
        with _api.suspended():
            assert not carries()
            with starlette_backport.applied():
                assert carries()
            assert not carries()
        assert carries()
        with _api.suspended():
            context.__exit__(None, None, None)
        assert not carries()
        starlette_backport.apply()
        starlette_backport.revert()
        with _api.suspended():
            pass
        assert not carries()


@pytest.mark.parametrize("is_carried", [True, False])
def test_a_request_under_way_ends_as_it_was_begun(is_carried):
    async def program(scope, receive, send):
        # Meanwhile, the request is under way.
        if is_carried:
            starlette_backport.revert()
        else:
            starlette_backport.apply()
        for message in PUSH, start(), BODY:
            await send(message)

    if is_carried:
        starlette_backport.apply()
    assert carries(PassThrough(raw(program))) is is_carried
    assert carries() is not is_carried


# Wrappers that other tools put around the functions.


def test_a_wrapper_of_a_subclass_that_captured_its_function_before(monkeypatch):
    """sentry-sdk wraps ``__call__`` of a class when a `Middleware` is built."""

    class Own(PassThrough):
        pass

    captured = Own.__call__
    Own.__call__ = lambda self, *args: captured(self, *args)
    app = Own(sending(PUSH, START, BODY))
    starlette_backport.apply()
    assert carries(app)


@pytest.mark.parametrize("name", list(OWNERS))
def test_a_wrapper_that_hides_the_function_is_refused_by_name_and_nothing_is_changed(
    monkeypatch, name
):
    async def hiding(self, *args):
        raise NotImplementedError

    function = name.rsplit(".")[-1]
    with monkeypatch.context() as patch:
        patch.setattr(OWNERS[name], function, hiding)
        before = snapshot()
        with pytest.raises(starlette_backport.UnexpectedCodeError) as info:
            starlette_backport.apply()
        assert differences(before, snapshot()) == []
        assert state() == "not applied"
    found, what_to_do = str(info.value).splitlines()
    place = (name, __file__, hiding.__code__.co_firstlineno)
    assert found == (
        "%s was replaced by function hiding (%s, line %d), which hides it. "
        "Nothing was changed." % place
    )
    assert "functools.wraps" in what_to_do


class Lazy:
    """A proxy of something that does not exist yet."""

    def __getattr__(self, name):
        raise RuntimeError("too early")


class Endless:
    """Has any attribute, and so has each of these."""

    asked = 0

    def __getattr__(self, name):
        Endless.asked += 1
        if Endless.asked > 10000:
            pytest.fail("the search does not end")
        return Endless()


OBJECTS = {
    "endless": Endless,
    "mock.call": lambda: mock.call.anything,
    "XML-RPC": lambda: xmlrpc.client.ServerProxy("http://localhost:1"),
    "lazy proxy": Lazy,
}


@pytest.mark.parametrize("kind", list(OBJECTS))
@pytest.mark.parametrize("hides", [False, True], ids=["behind it", "nothing"])
def test_the_search_behind_wrappers_ends(monkeypatch, kind, hides):
    Endless.asked = 0
    thing = OBJECTS[kind]()
    # A cell of that name comes before that of the function.
    function = None if hides else vars(BaseHTTPMiddleware)[CARRIER]

    async def wrapper(*args, **kwargs):
        a_thing, z_function = thing, function
        return await z_function(*args, **kwargs) if a_thing else None

    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, wrapper)
    if hides:
        with pytest.raises(starlette_backport.UnexpectedCodeError):
            starlette_backport.apply()
        assert state() == "not applied"
        starlette_backport.revert()
    else:
        starlette_backport.apply()
        assert state() == "applied"


def test_many_wrappers_are_looked_through(monkeypatch):
    """Each of them leads to the next one in two ways."""
    wrapper = vars(BaseHTTPMiddleware)[CARRIER]
    for _ in range(100):
        wrapper = naming(wrapper)
    monkeypatch.setattr(BaseHTTPMiddleware, CARRIER, wrapper)
    starlette_backport.apply()
    assert carries()


# The environment variable.


@pytest.mark.parametrize("value", ["1", "true", "anything"])
def test_it_can_be_disabled(monkeypatch, caplog, value):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", value)
    with as_before(), caplog.at_level(logging.INFO, logger="starlette_backport"):
        status = starlette_backport.apply()
        reason = "STARLETTE_BACKPORT_DISABLE is set"
        assert status == (RELEASE, True, "disabled", reason, tuple(OWNERS), ())
        with starlette_backport.applied() as inner:
            assert inner == status
    assert "STARLETTE_BACKPORT_DISABLE is set" in caplog.records[0].getMessage()
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE")
    starlette_backport.apply()
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", value)
    assert state() == "applied"  # It is a switch for `apply()`.


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_it_is_not_disabled(monkeypatch, value):
    monkeypatch.setenv("STARLETTE_BACKPORT_DISABLE", value)
    assert starlette_backport.apply().state == "applied"


# What gets imported.


def test_apply_imports_what_it_changes_and_nothing_else():
    program = """
import sys
import starlette_backport
def imported(*names):
    return sorted(name for name in sys.modules if name.split(".")[0] in names)

print(imported("starlette", "anyio", "jinja2"))
if %r:
    starlette_backport.apply()
else:
    import starlette.middleware.base, %s
print(imported("starlette", "requests", "httpx", "anyio"))
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(error is None)
"""
    at_import, imported, carries = python(
        program % (True, TemplateResponse.__module__)
    ).stdout.splitlines()
    assert at_import == "[]"
    assert "starlette.testclient" not in imported
    assert carries == "True"
    assert python(program % (False, TemplateResponse.__module__)).stdout.splitlines()[
        1:
    ] == [imported, "False"]


def test_a_module_that_is_loaded_lazily():
    program = """
import importlib.util, sys
from importlib.machinery import PathFinder
import starlette.middleware

class Lazy:
    def find_spec(self, name, path=None, target=None):
        if name == "starlette.middleware.base":
            spec = PathFinder.find_spec(name, path, target)
            spec.loader = importlib.util.LazyLoader(spec.loader)
            return spec

sys.meta_path.insert(0, Lazy())
import starlette_backport
print(starlette_backport.apply().state)
from support import *
messages, error = serve(PassThrough(sending(PUSH, START, BODY)))
print(error is None)
"""
    assert python(program).stdout.splitlines() == ["applied", "True"]
