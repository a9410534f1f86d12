"""Tools that look at the code that runs: ``python tools.py TOOL first|late|never`` prints what one sees of requests.

The last word says when the backport is applied: first of all, or late, once the tool is there and the application is
built. Each tool is a context manager around the requests, and adds what it saw to `seen`.
"""

import contextlib
import gc
import io
import json
import os
import re
import sys

import starlette_backport


@contextlib.contextmanager
def trace_function(seen):
    """A trace function and a profile function that keep code objects in a set."""
    codes = set()

    def keep(frame, *_):
        codes.add(frame.f_code)

    sys.settrace(keep)
    sys.setprofile(keep)
    yield
    sys.settrace(None)
    sys.setprofile(None)
    seen["functions"] = sorted({code.co_name for code in codes if code.co_filename.endswith("application.py")})


@contextlib.contextmanager
def line_profiler(seen):
    import line_profiler
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.middleware.gzip import GZipResponder

    carrier = vars(BaseHTTPMiddleware).get("call_next", BaseHTTPMiddleware.__call__)
    profiler = line_profiler.LineProfiler(carrier, GZipResponder.__call__)
    profiler.enable_by_count()
    yield
    profiler.disable_by_count()
    seen["profiled"] = sum(bool(lines) for lines in profiler.get_stats().timings.values())


@contextlib.contextmanager
def ipython(seen):
    from IPython.core.interactiveshell import InteractiveShell

    yield
    with contextlib.redirect_stdout(io.StringIO()) as output:
        shell = InteractiveShell.instance()
        shell.run_cell("import application, asyncio; asyncio.run(application.request('/error'))")
    text = re.sub(r"\x1b\[[\d;]*m", "", output.getvalue())
    seen["traceback"] = re.findall("RuntimeError: error|in (?:Outer|Inner).dispatch|.* formatting exception.*", text)


@contextlib.contextmanager
def monkeytype(seen):
    import monkeytype
    from monkeytype.config import DefaultConfig
    from monkeytype.tracing import CallTraceLogger

    class Logger(CallTraceLogger):
        traced = set()  # noqa: RUF012

        def log(self, trace):
            if trace.func.__module__ == "application":
                self.traced.add(trace.func.__qualname__)

    class Config(DefaultConfig):
        def trace_logger(self):
            return Logger()

    with monkeytype.trace(Config()):
        yield
    seen["traced"] = sorted(Logger.traced)


@contextlib.contextmanager
def coverage(seen, core):
    os.environ["COVERAGE_CORE"] = core
    import coverage

    measured = coverage.Coverage(data_file=None, config_file=False, include=["*/application.py"])
    measured.start()
    yield
    measured.stop()
    (name,) = measured.get_data().measured_files()
    seen["lines"] = sorted(measured.get_data().lines(name))
    seen["core"] = dict(measured.sys_info())["core"]


@contextlib.contextmanager
def typeguard(seen):
    import typeguard

    with typeguard.install_import_hook("application"):
        yield


@contextlib.contextmanager
def beartype(seen):
    from beartype.claw import beartype_package

    beartype_package("application")
    yield


TOOLS = {tool.__name__: tool for tool in (trace_function, line_profiler, ipython, monkeytype, typeguard, beartype)}
TOOLS["coverage-ctrace"] = lambda seen: coverage(seen, "ctrace")
TOOLS["coverage-sysmon"] = lambda seen: coverage(seen, "sysmon")


def main(tool, when):
    if when == "first":
        starlette_backport.apply()
    seen = {}
    with TOOLS[tool](seen):
        from application import OFFER, ask

        if when == "late":
            starlette_backport.apply()
        seen["page"] = [ask("/page", OFFER), ask("/page", OFFER, "gzip")]
        seen["rest"] = [ask("/page"), ask("/plain"), ask("/plain", OFFER, "gzip"), ask("/error"), ask("/error", OFFER)]
        objects = []
        for _ in range(3):
            objects.append(len(gc.get_objects()))
            for _ in range(20):
                if when != "never":  # Tools may keep what it puts there, so that must be the same each time.
                    starlette_backport.revert()
                    starlette_backport.apply()
                ask("/plain", OFFER)
            gc.collect()
        seen["grown"] = objects[-1] - objects[-2] > 10
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
