"""Load on a server with the backport, and on the same without it: requests, failed ones, and the ratio."""

import json
import os
import statistics
import sys

import environments
import psutil

TESTS = os.path.join(environments.ROOT, "tests", "ecosystem", "servers")
sys.path.insert(0, TESTS)

from running import Server  # noqa: E402

CLIENTS, SECONDS, ROUNDS = 8, 3, 7
LOCUST = "locust>=2.20,<3"
HOW = (
    "Locust with %d clients, each of which makes its next request once it has its response: pages of a template,\n"
    "posts and streams, all behind two BaseHTTPMiddleware. %d times %d seconds on each server, in turns."
) % (CLIENTS, ROUNDS, SECONDS)


def load(server, seconds):
    """Return how many requests were made, how many failed, how many there were in a second, and the CPU time of one."""
    command = ["tool", "run", "--quiet", "--python", sys.executable, "--from", LOCUST, "locust", "--headless"]
    command += ["--locustfile", os.path.join(TESTS, "locustfile.py"), "--host", "http://127.0.0.1:%d" % server.port]
    command += ["--users", str(CLIENTS), "--spawn-rate", str(100 * CLIENTS), "--run-time", "%ds" % seconds]
    command += ["--json", "--skip-log-setup", "--exit-code-on-error", "0"]  # Failures are counted below.
    before = cpu_time(server)
    rows = json.loads(environments.uv(*command))
    worked = cpu_time(server) - before
    requests = sum(row["num_requests"] for row in rows)
    if not requests:
        sys.exit("expected requests, found none:\n" + server.logged())
    lasted = max(row["last_request_timestamp"] for row in rows) - min(row["start_time"] for row in rows)
    return requests, sum(row["num_failures"] for row in rows), requests / lasted, worked / requests


def cpu_time(server):
    """Return how long the server has worked so far, in seconds: other work on the machine counts less for this."""
    process = psutil.Process(server.process.pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def measure(command):
    """Print what came of it; return whether no request has failed."""
    made = bad = 0
    rates, costs = {False: [], True: []}, {False: [], True: []}
    # Both run all the time, and have the load in turns, so that what else goes on at the machine meets both.
    with Server(command, patched=False) as unpatched, Server(command, patched=True) as patched:
        for server in (unpatched, patched):
            load(server, 2)  # What is done once, such as to compile the template, counts for neither.
        for number in range(ROUNDS):
            for server in (unpatched, patched) if number % 2 else (patched, unpatched):
                requests, failed, rate, cost = load(server, SECONDS)
                made, bad = made + requests, bad + failed
                rates[server.patched].append(rate)
                costs[server.patched].append(cost * 1000)
    print("    %d requests, %d failed" % (made, bad))
    for what, numbers in (("requests in a second", rates), ("CPU time of a request in ms", costs)):
        # Of neighbours in time.
        ratios = sorted(new / old for old, new in zip(numbers[False], numbers[True]))
        medians = map(statistics.median, (numbers[False], numbers[True], ratios))
        shown = (what, *medians, ratios[0], ratios[-1])
        print("    %-28s unpatched %8.2f, patched %8.2f, ratio %.3f (%.3f to %.3f)" % shown)
    return not bad
