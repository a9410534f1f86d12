"""Measure the variants that scripts/lib/bench.py names, in this process and environment, in turns.

    python bench_worker.py requests|memory|start JSON

Each variant is a Starlette of its own, loaded from its folder; in one of them the backport is applied. Runs on
Python 3.6, as it is run by the Pythons that are measured.
"""

import asyncio
import gc
import importlib.util
import inspect
import json
import random
import sys
import time
import tracemalloc

CHUNKS = 1000
LARGE = b"x" * 10000000

TEMPLATE = "http.response.template"
MANY = 100

# What is done: how many middlewares, what the endpoint does, whether the template is offered, whether there is gzip
# in front of the endpoint, and how many requests there are at once.
SCENARIOS = {
    "no-op, 1 middleware": (1, "noop", False, False, 1),
    "no-op, 4 middlewares": (4, "noop", False, False, 1),
    "no-op, 1, template offered": (1, "noop", True, False, 1),
    "no-op, 4, template offered": (4, "noop", True, False, 1),
    "no-op, 1, 100 at once": (1, "noop", False, False, MANY),
    "no-op, 4, 100 at once": (4, "noop", False, False, MANY),
    "stream of 1,000 chunks": (1, "stream", False, False, 1),
    "body of 10 MB": (1, "large", False, False, 1),
    "no-op behind gzip": (1, "noop", False, True, 1),
    "stream behind gzip": (1, "stream", False, True, 1),
}

# What each variant gets a copy of, for none to run code that another one has warmed up.
APPLICATION = """
class Endpoints:
    def __init__(self, starlette):
        self.starlette = starlette
        self.waiting = None

    async def noop(self, request):
        return self.starlette.responses.Response(b"x")

    async def stream(self, request):
        async def chunks():
            for _ in range(CHUNKS):
                yield b"x"

        return self.starlette.responses.StreamingResponse(chunks())

    async def large(self, request):
        return self.starlette.responses.Response(LARGE)

    async def wait(self, request):
        await self.waiting
        return self.starlette.responses.Response(b"x")


async def pass_through(request, call_next):
    return await call_next(request)


def requests(application, offered, compressed, asgi2):
    headers = [(b"host", b"test")]
    if compressed:
        headers.append((b"accept-encoding", b"gzip"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("test", 1),
        "server": ("test", 80),
    }
    if offered:
        scope["extensions"] = {TEMPLATE: {}}

    async def one(check=None):
        events = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if events:
                return events.pop()
            await asyncio.get_event_loop().create_future()

        async def send(message):
            if check is not None:
                check.append(message)

        if asgi2:
            await application(dict(scope))(receive, send)
        else:
            await application(dict(scope), receive, send)

    return one
"""


def own_call_next(starlette, asgi2):
    """Return what projects write for themselves: a subclass with a ``call_next`` that skips template messages."""

    class OwnCallNext(starlette.base.BaseHTTPMiddleware):
        async def call_next(self, request):
            queue = asyncio.Queue()
            scope = request.scope if hasattr(request, "scope") else dict(request)
            if asgi2:
                running = self.app(scope)
                work = self.until_done(queue, lambda: running(request.receive, queue.put))
            else:
                work = self.until_done(queue, lambda: self.app(scope, request.receive, queue.put))
            task = asyncio.get_event_loop().create_task(work)
            start = await queue.get()
            while start is not None and start["type"] == TEMPLATE:
                start = await queue.get()
            if start is None:
                await task
                raise RuntimeError("no response")

            async def chunks():
                while True:
                    message = await queue.get()
                    if message is None:
                        break
                    yield message.get("body", b"")
                await task

            response = starlette.responses.StreamingResponse(chunks(), status_code=start["status"])
            response.raw_headers = start["headers"]
            return response

        async def until_done(self, queue, work):
            try:
                await work()
            finally:
                await queue.put(None)

    if not hasattr(starlette.base.BaseHTTPMiddleware, "call_next"):

        async def call(self, scope, receive, send):
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            request = starlette.requests.Request(scope, receive)
            response = await self.dispatch_func(request, self.call_next)
            await response(scope, receive, send)

        OwnCallNext.__call__ = call
    return OwnCallNext


class Starlette:
    """One variant: its modules, and how to build an application of them."""

    def __init__(self, variant):
        self.name, folder, backport, self.own = (
            variant[key] for key in ("name", "folder", "backport", "own_call_next")
        )
        for name in list(sys.modules):
            if name.split(".")[0] in ("starlette", "starlette_backport"):
                del sys.modules[name]
        finders = list(sys.meta_path)
        sys.path[:0] = ([backport] if backport else []) + [folder]
        try:
            self.applications = importlib.import_module("starlette.applications")
            if not self.applications.__file__.startswith(folder):
                sys.exit("expected a Starlette in %s, found %s" % (folder, self.applications.__file__))
            self.base = importlib.import_module("starlette.middleware.base")
            self.gzip = importlib.import_module("starlette.middleware.gzip")
            self.requests = importlib.import_module("starlette.requests")
            self.responses = importlib.import_module("starlette.responses")
            if backport:
                package = importlib.import_module("starlette_backport")
                if not package.__file__.startswith(backport):
                    sys.exit("expected the backport in %s, found %s" % (backport, package.__file__))
                if package.apply().state != "applied":
                    sys.exit("expected the backport to be applied, found: %s" % package.status())
        finally:
            del sys.path[: 2 if backport else 1]
            # The next one to be loaded is none of its business.
            sys.meta_path[:] = finders
        call = self.base.BaseHTTPMiddleware.__call__
        self.asgi2 = not inspect.iscoroutinefunction(call)

    def requests_of(self, layers, endpoint, offered, compressed, _):
        namespace = {"asyncio": asyncio, "CHUNKS": CHUNKS, "LARGE": LARGE, "TEMPLATE": TEMPLATE}
        exec(compile(APPLICATION, self.name, "exec"), namespace)
        endpoints = namespace["Endpoints"](self)
        application = self.applications.Starlette()
        application.add_route("/", getattr(endpoints, endpoint))
        if compressed:
            application = self.gzip.GZipMiddleware(application)
        class_ = own_call_next(self, self.asgi2) if self.own else self.base.BaseHTTPMiddleware
        for _ in range(layers):
            application = class_(application, dispatch=namespace["pass_through"])
        return namespace["requests"](application, offered, compressed, self.asgi2), endpoints


def check(run, loop, scenario):
    """Make sure that what is measured is a response, and all of it."""
    messages = []
    loop.run_until_complete(run(messages))
    assert messages[0]["type"] == "http.response.start", messages[0]
    assert messages[0]["status"] == 200, messages[0]
    if SCENARIOS[scenario][3]:
        return
    size = sum(len(message.get("body", b"")) for message in messages[1:])
    assert size == {"stream": CHUNKS, "large": len(LARGE)}.get(SCENARIOS[scenario][1], 1), size


async def in_turns(runs, at_once, seconds, block):
    """Return the times of a request, a list for each variant: the times at one index were measured in a row."""
    clock = time.perf_counter

    async def several(run, number):
        started = clock()
        for _ in range(number):
            if at_once == 1:
                await run()
            else:
                await asyncio.gather(*(run() for _ in range(at_once)))
        return (clock() - started) / number / at_once

    names = list(runs)
    first = runs[names[0]]
    await several(first, 2)
    number = max(1, int(block / (await several(first, 2) * at_once)))
    for run in runs.values():
        await several(run, max(3, number))
    times = {name: [] for name in names}
    end = clock() + seconds * len(names)
    chance = random.Random(0)
    turn = 0
    while clock() < end or turn < 10:
        # None is to come after the same one each time, such as one that leaves the caches to itself.
        chance.shuffle(names)
        for name in names:
            times[name].append(await several(runs[name], number))
        turn += 1
    return times


def measure_requests(variants, loop, scenarios, seconds, block):
    times = {}
    for scenario in scenarios:
        runs = {variant.name: variant.requests_of(*SCENARIOS[scenario])[0] for variant in variants}
        for run in runs.values():
            check(run, loop, scenario)
        gc.collect()
        times[scenario] = loop.run_until_complete(in_turns(runs, SCENARIOS[scenario][4], seconds, block))
    return times


async def under_way(run, endpoints, number):
    """Make requests that all are under way at one moment, and bring them to their end; return the memory taken then."""
    loop = asyncio.get_event_loop()
    endpoints.waiting = loop.create_future()
    tasks = [loop.create_task(run()) for _ in range(number)]
    for _ in range(20):
        await asyncio.sleep(0)
    size = tracemalloc.get_traced_memory()[0]
    endpoints.waiting.set_result(None)
    await asyncio.gather(*tasks)
    return size


def measure_memory(variants, loop):
    """Return bytes: how much a request takes that is under way, and how much is left of one that is done."""
    found = {}
    for variant in variants:
        run, endpoints = variant.requests_of(1, "wait", False, False, 1)
        tracemalloc.start()
        for _ in range(3):
            loop.run_until_complete(under_way(run, endpoints, MANY))
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        taken = loop.run_until_complete(under_way(run, endpoints, MANY)) - before
        for _ in range(9):
            loop.run_until_complete(under_way(run, endpoints, MANY))
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        found[variant.name] = {"request": taken / MANY, "left": left / (10 * MANY)}
    return found


def measure_start(order):
    """Return seconds: to import the backport and to apply it, in this process, that has imported Starlette."""
    sys.path[:0] = [order["backport"], order["folder"]]
    for name in order["imported"]:
        # There is no starlette.templating up to 0.9.11.
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)
    before = set(sys.modules)
    clock = time.perf_counter
    started = clock()
    import starlette_backport

    imported = clock()
    starlette_backport.apply()
    applied = clock()
    new = sorted(name for name in set(sys.modules) - before if name.split(".")[0] != "starlette_backport")
    return {"import": imported - started, "apply": applied - imported, "modules": new}


def main(what, order):
    if what == "start":
        print(json.dumps(measure_start(order)))
        return
    # Up to Python 3.13, gzip files that nobody closed complain, with or without the backport.
    sys.unraisablehook = lambda unraisable: None
    variants = [Starlette(variant) for variant in order["variants"]]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    if what == "memory":
        found = measure_memory(variants, loop)
    else:
        found = measure_requests(variants, loop, order["scenarios"], order["seconds"], order["block"])
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
