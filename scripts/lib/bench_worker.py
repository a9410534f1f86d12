"""Measure variants of Starlette in one process. Run by bench.py, with the Python that is measured.

It prints for each scenario and variant the median time of a request, and the median of its ratios to the first variant.
The variants take turns of about a millisecond, so that what else the machine does affects all of them alike.
"""

import asyncio
import importlib
import inspect
import json
import random
import runpy
import statistics
import sys
import time

CHUNKS = 1000
TURN = 0.001
# How many middlewares, whether the response is a stream, and whether gzip is between them and the endpoint.
SCENARIOS = {
    "no-op, 1 middleware": (1, False, False),
    "no-op, 4 middlewares": (4, False, False),
    "stream of 1,000 chunks": (1, True, False),
    "no-op behind gzip": (1, False, True),
}
OFFERS = {"nothing offered": {}, "something offered": {"http.response.template": {}}}


class Starlette:
    """A Starlette of its own, imported from a folder, with or without the backport from another folder."""

    def __init__(self, folder, backport=None, own=False):
        for name in [name for name in sys.modules if name.split(".")[0] in ("starlette", "starlette_backport")]:
            del sys.modules[name]
        sys.path[:0] = [backport or folder, folder]
        for name in ("applications", "middleware.base", "middleware.gzip", "responses"):
            setattr(self, name.split(".")[-1], importlib.import_module("starlette." + name))
        if backport:
            assert importlib.import_module("starlette_backport").apply().state == "applied"
        del sys.path[:2]
        self.asgi2 = not inspect.iscoroutinefunction(self.base.BaseHTTPMiddleware.__call__)
        self.middleware = self.own_middleware() if own else self.base.BaseHTTPMiddleware

    def call(self, app, scope, receive, send):
        return app(scope)(receive, send) if self.asgi2 else app(scope, receive, send)

    def own_middleware(self):
        """Return what some projects write: a subclass with a ``call_next`` that drops template messages."""
        starlette = self

        class OwnMiddleware(starlette.base.BaseHTTPMiddleware):
            async def call_next(self, request):
                queue = asyncio.Queue()

                async def run():
                    try:
                        await starlette.call(self.app, dict(request), request.receive, queue.put)
                    finally:
                        await queue.put(None)

                async def body():
                    message = await queue.get()
                    while message is not None:
                        yield message["body"]
                        message = await queue.get()
                    await task

                task = asyncio.get_event_loop().create_task(run())
                message = await queue.get()
                while message["type"] == "http.response.template":
                    message = await queue.get()
                response = starlette.responses.StreamingResponse(body(), status_code=message["status"])
                response.raw_headers = message["headers"]
                return response

        return OwnMiddleware

    def serve(self, layers, stream, gzip, extensions):
        """Return a function that makes a request of an application, and gives all that it sends to a function."""

        async def dispatch(request, call_next):
            return await call_next(request)

        async def chunks():
            for _ in range(CHUNKS):
                yield b"x"

        async def endpoint(request):
            return self.responses.StreamingResponse(chunks()) if stream else self.responses.Response(b"x")

        app = self.applications.Starlette()
        app.add_route("/", endpoint)
        app = self.gzip.GZipMiddleware(app) if gzip else app
        for _ in range(layers):
            app = self.middleware(app, dispatch=dispatch)
        scope = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "root_path": ""}
        scope.update(raw_path=b"/", query_string=b"", client=("test", 1), server=("test", 80), extensions=extensions)
        scope["headers"] = [(b"host", b"test"), (b"accept-encoding", b"gzip")]

        async def request(look=lambda message: None):
            requests = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive():
                return requests.pop() if requests else await asyncio.get_event_loop().create_future()

            async def send(message):
                look(message)

            await self.call(app, dict(scope), receive, send)

        return request


async def measure(requests, seconds, size):
    """Return the median time, and the median ratio to the first, of each of `requests`."""

    async def time_of(request, number):
        started = time.perf_counter()
        for _ in range(number):
            await request()
        return (time.perf_counter() - started) / number

    for request in requests.values():
        messages = []
        await request(messages.append)
        assert sum(len(message.get("body", b"")) for message in messages) == size, messages
    names, first = list(requests), next(iter(requests))
    number = max(1, int(TURN / min([await time_of(requests[first], 3) for _ in range(3)])))
    times = {name: [] for name in names}
    end = time.perf_counter() + seconds * len(names)
    while time.perf_counter() < end or len(times[first]) < 10:
        random.shuffle(names)  # So that none always runs after the same other one.
        for name in names:
            times[name].append(await time_of(requests[name], number))
    ratios = {name: [new / old for new, old in zip(values, times[first])] for name, values in times.items()}
    return {name: (statistics.median(times[name]), statistics.median(ratios[name])) for name in times}


async def main(variants, seconds):
    # Each variant has its own copy of this module, because Python adapts code to what it is used for.
    starlettes = {name: runpy.run_path(__file__)["Starlette"](**variant) for name, variant in variants.items()}
    sys.unraisablehook = lambda unraisable: None  # Up to Python 3.13, gzip files that nobody closes are reported.
    found = {}
    for name, (layers, stream, gzip) in SCENARIOS.items():
        for offer, extensions in OFFERS.items():
            requests = {key: one.serve(layers, stream, gzip, extensions) for key, one in starlettes.items()}
            found[name + ", " + offer] = await measure(requests, seconds, CHUNKS if stream else 1)
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
