"""Measure variants of Starlette in one process. bench.py runs it on each Python.

It prints for each scenario and variant the median time of a request, and the median of
its ratios to the first variant. The variants take turns of about a millisecond, so that
what else the machine does affects all of them alike.
"""

import argparse
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
# How many middlewares, and whether the response is a stream.
SCENARIOS = {
    "1 middleware": (1, False),
    "4 middlewares": (4, False),
    "stream of 1,000 chunks": (1, True),
}
OFFERS = {"nothing offered": {}, "something offered": {"http.response.template": {}}}


class Starlette:
    """A Starlette of its own, imported from a folder, perhaps with the backport."""

    def __init__(self, folder, backport=None):
        for name in list(sys.modules):
            if name.split(".")[0] in ("starlette", "starlette_backport"):
                del sys.modules[name]
        sys.path[:0] = [backport or folder, folder]
        self.applications = importlib.import_module("starlette.applications")
        self.base = importlib.import_module("starlette.middleware.base")
        self.responses = importlib.import_module("starlette.responses")
        if backport:
            status = importlib.import_module("starlette_backport").apply()
            assert status.state == "applied", status
        del sys.path[:2]

    def make_request(self, layers, stream, extensions):
        """Return a function that makes a request, and passes on what it is sent."""

        async def dispatch(request, call_next):
            return await call_next(request)

        async def chunks():
            for _ in range(CHUNKS):
                yield b"x"

        async def endpoint(request):
            if stream:
                return self.responses.StreamingResponse(chunks())
            return self.responses.Response(b"x")

        app = self.applications.Starlette()
        app.add_route("/", endpoint)
        for _ in range(layers):
            app = self.base.BaseHTTPMiddleware(app, dispatch=dispatch)
        asgi2 = not inspect.iscoroutinefunction(type(app).__call__)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"test")],
            "client": ("test", 1),
            "server": ("test", 80),
            "extensions": extensions,
        }

        async def request(look=lambda message: None):
            messages = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive():
                if messages:
                    return messages.pop()
                return await asyncio.get_event_loop().create_future()

            async def send(message):
                look(message)

            if asgi2:
                await app(dict(scope))(receive, send)
            else:
                await app(dict(scope), receive, send)

        return request


async def time_of(request, number):
    started = time.perf_counter()
    for _ in range(number):
        await request()
    return (time.perf_counter() - started) / number


async def measure(requests, seconds, size):
    """Return the median time of each request, and its median ratio to the first."""
    for request in requests.values():
        messages = []
        await request(messages.append)
        assert sum(len(message.get("body", b"")) for message in messages) == size
    names, first = list(requests), next(iter(requests))
    time_of_one = min([await time_of(requests[first], 3) for _ in range(3)])
    number = max(1, int(TURN / time_of_one))
    times = {name: [] for name in names}
    end = time.perf_counter() + seconds * len(names)
    while time.perf_counter() < end or len(times[first]) < 10:
        random.shuffle(names)  # So that none always runs after the same other one.
        for name in names:
            times[name].append(await time_of(requests[name], number))
    medians = {}
    for name, values in times.items():
        ratios = [new / old for new, old in zip(values, times[first])]
        medians[name] = (statistics.median(values), statistics.median(ratios))
    return medians


async def measure_all(variants, seconds):
    # Each variant has its own copy of this module, because Python adapts code to what
    # it is used for.
    starlettes = {
        name: runpy.run_path(__file__)["Starlette"](**variant)
        for name, variant in variants.items()
    }
    found = {}
    for scenario, (layers, stream) in SCENARIOS.items():
        for offer, extensions in OFFERS.items():
            requests = {
                name: starlette.make_request(layers, stream, extensions)
                for name, starlette in starlettes.items()
            }
            size = CHUNKS if stream else 1
            found[f"{scenario}, {offer}"] = await measure(requests, seconds, size)
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order", required=True, help="variants and seconds, as JSON")
    order = json.loads(parser.parse_args().order)
    asyncio.run(measure_all(**order))


if __name__ == "__main__":
    main()
