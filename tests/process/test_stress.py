"""Many requests at once, with clients that are slow, leave or are cancelled.

`Watchdog` fails the test when nothing moves any more.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import os
import random
import sys
import time
import weakref

import pytest
from drawing import CARRYING, OTHERS
from model import (
    FAILS,
    RECEIVES,
    YIELDS,
    AddsAHeader,
    Asyncio,
    Case,
    Client,
    Hooks,
    Middleware,
    TemplateStep,
    Unclear,
    check,
    check_own,
)
from support import PUSH, START, UNKNOWN, body, run_process
from watchdog import Watchdog, tasks

CHUNK = body(b"chunk" * 100, more_body=True)
RESPONSE = [START, CHUNK, YIELDS, CHUNK, body()]
APPLICATIONS = [
    [TemplateStep("page" * 100)],
    [RECEIVES, *RESPONSE],
    [PUSH, YIELDS, UNKNOWN, *RESPONSE],
    [PUSH, YIELDS, FAILS],
    [PUSH, START, CHUNK, YIELDS, FAILS],
]
# Those of the applications and layers, those of unpatched releases, and those that a
# memory stream raises when the client does not stay.
ERRORS = {"Failed", "Refused", "AssertionError"}
ERRORS |= {"BrokenResourceError", "CancelledError"}
CLIENTS = ["fast", "slow", "leaving", "cancelled"]
OFFERED = {"extensions": {"http.response.template": {}, "http.response.push": {}}}
CASES = [
    Case(steps, [Middleware(), layer, AddsAHeader()], Client(OFFERED))
    for steps, layer in itertools.product(APPLICATIONS, CARRYING + OTHERS)
]
AT_ONCE = 500

# The hooks that something still refers to: a task, a frame, or a message.
alive = weakref.WeakSet()


class SteppingHooks(Hooks):
    """Calls the watchdog wherever the request of this number could stop."""

    def __init__(self, number, watchdog):
        super().__init__(Asyncio, first_tag=1000 * number)
        self.watchdog = watchdog
        alive.add(self)

    async def gate(self):
        self.watchdog.step()


async def request(number, case, app, kind, is_patched, watchdog):
    """Make one request, and check what the client gets."""
    # The same in each run.
    chance = random.Random(number)
    if kind == "slow":
        case = case._replace(client=Client(OFFERED, ticks=3))
    if kind == "leaving":
        client = Client(OFFERED, leaves_after=chance.randrange(1, 7))
        case = case._replace(client=client)
    hooks = SteppingHooks(number, watchdog)
    task = asyncio.ensure_future(case.ask(app, hooks))
    if kind == "cancelled":
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    watchdog.step()
    with contextlib.suppress(Unclear):
        if kind in ("fast", "slow"):
            check(case, task.result(), hooks.first_tag, lambda name: is_patched)
            return
        tag = check_own(hooks.received, hooks.first_tag)
        if not task.cancelled():
            _, error = case.expected(tag, lambda name: is_patched)
            assert {*task.result().errors} <= {error, *ERRORS}


async def waves(number, is_patched, watchdog):
    """Make `number` requests, and wait until nothing of them runs or is kept."""
    apps = [(case, case.app()) for case in CASES]
    combinations = [(*each, kind) for each in apps for kind in CLIENTS]
    before = tasks(watchdog.loop)
    for begin in range(0, number, AT_ONCE):
        requests = [
            request(each, *combinations[each % len(combinations)], is_patched, watchdog)
            for each in range(begin, min(begin + AT_ONCE, number))
        ]
        # All are to end also where one fails.
        for error in await asyncio.gather(*requests, return_exceptions=True):
            if error is not None:
                raise error
        running = before
        while gc.collect() or running:
            # Generators that were given up begin to be closed.
            for _ in range(3):
                await asyncio.sleep(0)
            running = tasks(watchdog.loop) - before
            if running:
                await asyncio.wait(running)
        assert not alive, "requests are kept after their response"


@pytest.fixture
def terminal(capfd):
    """Return a file that pytest does not capture, for what the process says last."""
    with capfd.disabled():
        file = os.fdopen(os.dup(2), "w")
    with file:
        yield file


def test_requests_at_once(either, terminal, pytestconfig, monkeypatch):
    thorough = pytestconfig.getoption("--hypothesis-profile", None) == "thorough"
    watchdog = Watchdog(30, terminal)
    # Nobody retrieves the errors of a response that is not read, unpatched as well.
    watchdog.loop.set_exception_handler(lambda loop, context: None)
    # Gzip never closes a response that breaks off, and newer Pythons complain.
    monkeypatch.setattr(sys, "unraisablehook", lambda args: None, raising=False)
    alive.clear()
    number = 10000 if thorough else 500
    watchdog.run(waves(number, either == "patched", watchdog))


BLOCKED = """
import re, sys, time
from support import *
from watchdog import Watchdog

async def blocks_its_task():
    await asyncio.Event().wait()

async def blocks_the_loop():
    time.sleep(60)

async def blocks_the_interpreter():
    re.match("(a*)*b", "a" * 50)

async def program(scope, receive, send):
    await {}()

Watchdog(0.5, sys.stderr).run(exchange(PassThrough(PassThrough(raw(program)))))
"""


def test_the_watchdog_tells_what_is_blocked():
    """Within seconds, and by name, also where nothing else can run any more."""
    names = ["blocks_its_task", "blocks_the_loop", "blocks_the_interpreter"]
    begin = time.time()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        programs = [BLOCKED.format(name) for name in names]
        command = (sys.executable, "-c")
        processes = list(pool.map(lambda each: run_process(*command, each), programs))
    assert time.time() - begin < 30
    for name, process in zip(names, processes):
        assert process.returncode == 1
        assert "in " + name in process.stderr
    assert "Nothing has moved for 0.5 seconds" in processes[0].stderr
