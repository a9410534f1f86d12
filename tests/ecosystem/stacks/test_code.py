"""Tools that put code of their own into a function that the backport changes.

What is there, what ``status()`` says and what ``revert()`` undoes have to agree.
"""

import pytest
import release

import starlette_backport


@pytest.fixture
def function():
    """The function of ``BaseHTTPMiddleware`` that the backport changes."""
    from starlette.middleware.base import BaseHTTPMiddleware

    return vars(BaseHTTPMiddleware)[release.carrier()]


def check_applied():
    from asking import ask

    assert starlette_backport.status().state == "applied"
    assert ask("/")[0] == ["http.response.template", None, ""]


def check_not_applied(function, code):
    """Check that ``status()`` says so, and that the page fails as released.

    `function` has to have this `code`.
    """
    from asking import ask

    assert function.__code__ is code
    assert starlette_backport.status().state == "not applied"
    assert ask("/") == "AssertionError()"


def profile(function):
    """Have line_profiler put its code into `function`. Return the profiler."""
    from line_profiler import LineProfiler

    before = function.__code__
    profiler = LineProfiler(function)
    assert function.__code__ is not before
    profiler.enable()
    return profiler


def test_line_profiler_and_revert(function):
    released = function.__code__
    starlette_backport.apply()
    profiler = profile(function)
    check_applied()
    assert any(profiler.get_stats().timings.values())
    starlette_backport.revert()
    check_not_applied(function, released)


def test_line_profiler_and_the_end_of_applied(function):
    released = function.__code__
    with starlette_backport.applied():
        profile(function)
        check_applied()
    check_not_applied(function, released)


def test_line_profiler_before_apply(function):
    profiler = profile(function)
    profiled = function.__code__
    starlette_backport.apply()
    profile(function)
    check_applied()
    assert any(profiler.get_stats().timings.values())
    starlette_backport.revert()
    check_not_applied(function, profiled)


def test_code_that_was_saved_before_apply(function, monkeypatch):
    released = function.__code__
    with monkeypatch.context() as patched:
        patched.setattr(function, "__code__", released)
        starlette_backport.apply()
        check_applied()
    # pytest has put the code back that was there before.
    check_not_applied(function, released)
    starlette_backport.apply()
    check_applied()
    starlette_backport.revert()
    check_not_applied(function, released)


def pass_on(wrapped, args, kwargs):
    return wrapped(*args, **kwargs)


def test_ddtrace_and_revert(function, monkeypatch):
    """While its code covers the backport's, ``revert()`` leaves it alone."""
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
    from ddtrace.internal.wrapping import unwrap, wrap

    released = function.__code__
    starlette_backport.apply()
    wrap(function, pass_on)
    wrapped = function.__code__
    check_applied()
    (note,) = starlette_backport.status().notes
    assert note == "covered by code of another tool: %s.%s" % (
        function.__module__,
        function.__qualname__,
    )

    starlette_backport.revert()
    assert function.__code__ is wrapped
    # The other function has its own code back.
    assert note in starlette_backport.status().notes

    unwrap(function, pass_on)
    assert note not in starlette_backport.status().notes
    starlette_backport.revert()
    check_not_applied(function, released)
