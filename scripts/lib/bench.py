"""Measure what a request costs with the backport, as a ratio to the unpatched release.

All variants take turns in one process. A ratio is the median over several processes. Its interval is the lowest and the
highest of their medians. Of six processes, it contains the true median with a probability of 97 percent.

Without RELEASE and --python, one release of each form is measured on two Pythons. Then docs/bench.svg and docs/bench.md
are written.
"""

import argparse
import collections
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile

import environments
import matplotlib.pyplot as plt
from bench_worker import OFFERS, SCENARIOS
from environments import FORKS, LIB, RELEASES, ROOT, key, write

PAGE, PICTURE = (os.path.join(ROOT, "docs", name) for name in ("bench.md", "bench.svg"))
FORMS = {"0.11.4": "ASGI 2, queue", "0.14.2": "ASGI 3, queue", "0.23.1": "ASGI 3, anyio"}
PYTHONS = ["3.7", "3.13"]
FIXED = "0.24.0"

Cost = collections.namedtuple("Cost", "ratio low high microseconds")

HEAD = """\
# What a request costs

Written by `scripts/bench`: the cost of a request as a ratio to the unpatched release, and in brackets the lowest and
the highest ratio of %d processes. *again* is the unpatched release once more, which shows how exact the ratios are.
*build* is the wheel of `scripts/build-fork`. *own* is a subclass with its own `call_next`, which drops templates.
"""


def prepare(release, python, directory, against):
    """Install all that is compared on `python`, a version and a path; return the Python to run, and the variants."""
    executable = environments.make(os.path.join(directory, "environment"), python[1])
    environments.install(executable, python[0], release)
    environments.uv("pip", "install", "anyio>=3.4,<5", "typing_extensions", "--python", executable)  # For 0.24.0.
    (shipped,) = glob.glob(os.path.join(directory, "environment", "lib", "python*", "site-packages"))
    found = {"unpatched": {"folder": shipped}, "again": {"folder": shipped}}
    found["patched"] = {"folder": shipped, "backport": ROOT}
    version = "%s+backport.%s" % (release, environments.fork_revision())
    for name, *arguments in (("build", version, "--no-index", "--find-links", FORKS), (FIXED, FIXED)):
        found[name] = {"folder": os.path.join(directory, name)}
        target = ["--target", found[name]["folder"], "--python", executable, "--no-deps", "--refresh-package=starlette"]
        environments.uv("pip", "install", "starlette==" + arguments[0], *arguments[1:], *target)
    if key(release) < key("0.15.0"):  # From there on, a subclass cannot have a call_next of its own.
        found["own"] = {"folder": shipped, "own": True}
    if against:  # Last, because other editions of the package have an import hook.
        found["against"] = {"folder": shipped, "backport": against}
    return executable, found


def measure(release, python, arguments):
    """Return the costs by scenario and variant."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        executable, variants = prepare(release, python, directory, arguments.against)
        order = json.dumps({"variants": variants, "seconds": arguments.seconds})
        command = [executable, "-B", os.path.join(LIB, "bench_worker.py"), order]
        found = [json.loads(subprocess.check_output(command)) for _ in range(arguments.processes)]
    costs = {}
    for scenario in found[0]:
        for name in variants:
            times, ratios = zip(*(one[scenario][name] for one in found))
            cost = Cost(statistics.median(ratios), min(ratios), max(ratios), statistics.median(times) * 1e6)
            costs.setdefault(scenario, {})[name] = cost
    return costs


def table(release, python, costs):
    """Return the costs as a table in Markdown."""
    names = [name for name in next(iter(costs.values())) if name != "unpatched"]
    lines = ["## Starlette %s on Python %s" % (release, python), ""]
    lines += ["| request | unpatched | %s |" % " | ".join(names), "|---|--:|%s" % ("--:|" * len(names))]
    for scenario, row in costs.items():
        cells = ["{0.ratio:.2f} ({0.low:.2f}-{0.high:.2f})".format(row[name]) for name in names]
        lines.append("| %s | %.0f µs | %s |" % (scenario, row["unpatched"].microseconds, " | ".join(cells)))
    return "\n".join([*lines, ""])


def draw(results):
    """Draw patched against unpatched: a column for each release, a row for each offer."""
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 10})
    figure, axes = plt.subplots(2, 3, sharex=True, sharey=True, figsize=(8.4, 4.6), layout="constrained")
    for row, offer in zip(axes, OFFERS):
        for axis, (release, form) in zip(row, FORMS.items()):
            axis.axvline(1, color="black", linewidth=1)
            axis.grid(axis="x")
            for python, mark, shift in zip(PYTHONS, "os", (-0.15, 0.15)):
                costs = [results[release, python]["%s, %s" % (name, offer)]["patched"] for name in SCENARIOS]
                ratios, places = [cost.ratio for cost in costs], [place + shift for place in range(len(costs))]
                errors = zip(*((cost.ratio - cost.low, cost.high - cost.ratio) for cost in costs))
                axis.errorbar(ratios, places, xerr=list(errors), fmt=mark, label="Python " + python)
            if offer == "nothing offered":
                axis.set_title("%s (%s)" % (release, form), fontsize=11)
        row[0].set_ylabel(offer, fontsize=11)
    ratios = [cost["patched"].ratio for costs in results.values() for cost in costs.values()]
    axes[0, 0].set_xlim(min(0.95, *ratios) - 0.03, max(1.2, *ratios) + 0.03)
    axes[0, 0].set_yticks(range(len(SCENARIOS)), SCENARIOS)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("cost of a request, patched / unpatched", fontsize=11)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower left", fontsize=10)
    figure.savefig(PICTURE, metadata={"Date": None})


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="only these; nothing is written")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this; nothing is written")
    parser.add_argument("--against", metavar="DIR", help="also measure the package in this checkout")
    parser.add_argument("--seconds", type=float, default=0.25, help="for each variant; default: %(default)s")
    parser.add_argument("--processes", type=int, default=6, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    if not RELEASES.keys() >= set(arguments.releases):
        parser.error("expected affected releases, found %s" % " ".join(arguments.releases))
    if arguments.against:
        arguments.against = os.path.abspath(os.path.join(os.environ.get("STARTED_IN", ""), arguments.against))
    return arguments


def main(argv):
    arguments = parse(argv)
    found, pythons, releases = environments.pythons_found(), arguments.python or PYTHONS, arguments.releases or FORMS
    if not found.keys() >= set(pythons):
        sys.exit("scripts/bench: " + environments.not_found(set(pythons) - set(found)))
    environments.build_forks(releases)
    results = {}
    for release in releases:
        for python in pythons:
            results[release, python] = measure(release, (python, found[python]), arguments)
            print(table(release, python, results[release, python]), flush=True)
    if not (arguments.releases or arguments.python):
        write(PAGE, "\n".join([HEAD % arguments.processes, *(table(*cell, costs) for cell, costs in results.items())]))
        draw(results)
        print("Written: docs/bench.md and docs/bench.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
