"""Measure what a request costs with the backport, in pinned environments: as ratios to the release as shipped.

All variants run in one process and in turns, about a millisecond each, for whatever else goes on at the machine to
meet all of them. "again" is the release as shipped once more: it shows how far a ratio can be trusted. "fork" is the
build with patches/, and "own call_next" what projects write for themselves, a subclass that skips template messages.

Without a release, the first and the last one of each form, on Python 3.7 and the newest found; then
scripts/lib/bench.json is written, and scripts/lib/bench.svg, which README shows. All values are in .envs/bench.json,
for pyperf, which by itself would measure one variant after the other.
"""

import argparse
import collections
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import environments
import matrix
import pyperf
from bench_worker import SCENARIOS
from environments import DATA, LIB, RELEASES, ROOT, key, supports, write
from tqdm import tqdm

RESULTS = os.path.join(LIB, "bench.json")
PICTURE = os.path.join(LIB, "bench.svg")
VALUES = os.path.join(ROOT, ".envs", "bench.json")

LATER = "0.24.0"
STARTS = 20
# How long each variant is at work before it is the turn of the next one, in seconds.
BLOCK = 0.001

MINIMAL = ["starlette.applications", "starlette.middleware.base"]
ALL = [*MINIMAL, "starlette.middleware.gzip", "starlette.templating", "starlette.testclient"]

VARIANTS = collections.OrderedDict(
    [
        ("unpatched", "#57606a"),
        ("again", "#8c959f"),
        ("patched", "#2da44e"),
        ("before", "#bf8700"),
        ("fork", "#0969da"),
        ("own call_next", "#8250df"),
        (LATER, "#cf222e"),
    ]
)


class Environment:
    """A release with what belongs to it, its build with patches/, and Starlette 0.24.0, in folders of their own."""

    def __init__(self, release, python, directory, against):
        self.directory = directory
        self.python = os.path.join(directory, "env", "bin", "python")
        self.environment = dict(os.environ)
        # As in production.
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environments.uv("venv", "--quiet", "--python", python, os.path.join(directory, "env"))
        self.call(os.path.join(LIB, "environments.py"), release)
        here = ["--python", self.python]
        environments.uv("pip", "install", "anyio>=3.4,<5", "typing_extensions", *here)
        wheels = os.environ["STARLETTE_BACKPORT_FORKS"]
        fork = "starlette==%s+backport.%s" % (release, environments.fork_revision())
        self.install("fork", fork, "--no-index", "--find-links", wheels, *here)
        self.install(LATER, "starlette==" + LATER, *here)
        shipped = self.call("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        own = self.copy(shipped, "starlette_backport", "backport")
        self.folders = collections.OrderedDict(
            [
                ("unpatched", (shipped, None)),
                ("again", (shipped, None)),
                ("patched", (shipped, own)),
                ("before", (shipped, against and self.copy(against, "starlette_backport", "before"))),
                ("fork", (os.path.join(directory, "fork"), None)),
                ("own call_next", (shipped, None)),
                (LATER, (os.path.join(directory, LATER), None)),
            ]
        )
        if not against:
            del self.folders["before"]
        self.call("-m", "compileall", "-q", *{folder for pair in self.folders.values() for folder in pair if folder})

    def install(self, folder, *arguments):
        target = os.path.join(self.directory, folder)
        environments.uv("pip", "install", "--no-deps", "--target", target, *arguments)

    def copy(self, folder, package, name):
        target = os.path.join(self.directory, name)
        os.makedirs(target)
        os.symlink(os.path.join(folder, package), os.path.join(target, package))
        return target

    def call(self, *arguments):
        process = subprocess.run(
            [self.python, *arguments],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        if process.returncode:
            sys.exit("%s failed:\n%s%s" % (" ".join(arguments)[:200], process.stdout, process.stderr))
        return process.stdout

    def work(self, what, **order):
        return json.loads(self.call(os.path.join(LIB, "bench_worker.py"), what, json.dumps(order)))

    def variants(self):
        return [
            {"name": name, "folder": folder, "backport": backport, "own_call_next": name == "own call_next"}
            for name, (folder, backport) in self.folders.items()
        ]

    def start(self, variant, imported):
        """Return what importing the backport and applying it takes, as medians of fresh processes."""
        folder, backport = self.folders[variant]
        found = [self.work("start", folder=folder, backport=backport, imported=imported) for _ in range(STARTS)]
        result = {part: statistics.median(one[part] for one in found) for part in ("import", "apply")}
        result["both"] = statistics.median(one["import"] + one["apply"] for one in found)
        result["modules"] = found[0]["modules"]
        return result


def median_and_spread(ratios):
    """Return the median, and between which two of the ratios that of all possible ones is, 19 times out of 20."""
    ratios = sorted(ratios)
    half, width = len(ratios) / 2, 0.98 * math.sqrt(len(ratios))
    low, high = ratios[max(0, int(half - width))], ratios[min(len(ratios) - 1, int(half + width))]
    return statistics.median(ratios), low, high


def measure(release, python, arguments, progress):
    """Return the rows of one release on one Python, and all values, by scenario and variant."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        environment = Environment(release, python, directory, arguments.against)
        variants = environment.variants()
        values = {}
        for scenario in arguments.scenarios:
            values[scenario] = {variant["name"]: [] for variant in variants}
            for _ in range(arguments.processes):
                order = {"scenarios": [scenario], "seconds": arguments.seconds, "block": BLOCK}
                times = environment.work("requests", variants=variants, **order)[scenario]
                for name, part in times.items():
                    values[scenario][name].append(part)
            progress.update()
        memory = environment.work("memory", variants=variants)
        starts = [
            dict(environment.start(name, imported), variant=name, imported=imported)
            for imported in (MINIMAL, ALL)
            for name in ("patched", "before")
            if name in environment.folders
        ]
        progress.update()
    rows = []
    for scenario, times in values.items():
        shipped = [value for part in times["unpatched"] for value in part]
        for name in times:
            mine = [value for part in times[name] for value in part]
            ratio, low, high = median_and_spread([new / old for new, old in zip(mine, shipped)])
            rows.append(
                {
                    "scenario": scenario,
                    "variant": name,
                    "ratio": round(ratio, 4),
                    "low": round(low, 4),
                    "high": round(high, 4),
                    "microseconds": round(statistics.median(mine) * 1e6, 2),
                    "pairs": len(mine),
                }
            )
    return {"starlette": release, "python": python, "requests": rows, "memory": memory, "start": starts}, values


def show(result):
    """Print what came of one release on one Python."""
    names = list(dict.fromkeys(row["variant"] for row in result["requests"]))
    print("\nStarlette %(starlette)s on Python %(python)s: medians of the ratios to the release as shipped" % result)
    print("%-27s%12s" % ("", "unpatched") + "".join("%22s" % name for name in names[1:]))
    for scenario in dict.fromkeys(row["scenario"] for row in result["requests"]):
        rows = {row["variant"]: row for row in result["requests"] if row["scenario"] == scenario}
        line = "%-27s%9.1f µs" % (scenario, rows["unpatched"]["microseconds"])
        for name in names[1:]:
            line += "%22s" % "{ratio:.3f} ({low:.3f}-{high:.3f})".format(**rows[name])
        print(line)
    for what, text in (("request", "bytes while under way"), ("left", "bytes left of one")):
        memory = [result["memory"][name][what] for name in names]
        print("%-27s%12.0f" % (text, memory[0]) + "".join("%22.0f" % number for number in memory[1:]))
    for start in result["start"]:
        line = "import %.2f ms, apply() %.2f ms, together %.2f ms" % tuple(
            start[part] * 1000 for part in ("import", "apply", "both")
        )
        others = ", ".join(start["modules"]) or "nothing"
        what = "%s (with %s)" % (start["variant"], "all modules" if start["imported"] == ALL else "no neighbours")
        print("%-27s%s; imports %s but itself" % (what, line, others))


def keep_values(all_values):
    """Write all values in the form of pyperf, which can show and compare them."""
    benchmarks = []
    for (release, python), scenarios in all_values.items():
        for scenario, times in scenarios.items():
            for name, parts in times.items():
                metadata = {
                    "name": "Starlette %s, Python %s, %s, %s" % (release, python, scenario, name),
                    "unit": "second",
                }
                runs = [pyperf.Run(part, metadata=metadata, collect_metadata=False) for part in parts]
                benchmarks.append(pyperf.Benchmark(runs))
    os.makedirs(os.path.dirname(VALUES), exist_ok=True)
    pyperf.BenchmarkSuite(benchmarks).dump(VALUES, replace=True)


# The picture: how wide it is, where its scale is, and what that shows, in pixels.
WIDTH, LEFT, RIGHT, TOP, ROW = 760, 240, 20, 50, 13
LEAST, MOST = 0.75, 1.25
DRAWN = ("no-op, 1 middleware", "no-op, 4 middlewares", "stream of 1,000 chunks")


def draw(results):
    """Return the picture: a row for each release, Python and scenario, with a dot for each variant."""
    lines = [(result, scenario) for result in results for scenario in DRAWN]
    height = TOP + ROW * len(lines) + 15
    svg = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox="0 0 %d %d" % (WIDTH, height),
        style="font: 10px sans-serif; background: white",
    )

    def text(x, y, content, **more):
        ET.SubElement(svg, "text", x="%.1f" % x, y=str(y), fill="#24292f", **more).text = content

    def x_of(ratio):
        ratio = min(max(ratio, LEAST), MOST)
        return LEFT + (ratio - LEAST) / (MOST - LEAST) * (WIDTH - LEFT - RIGHT)

    for percent in range(int(LEAST * 100), int(MOST * 100) + 1, 5):
        x = "%.1f" % x_of(percent / 100)
        colour = "#24292f" if percent == 100 else "#d0d7de"
        ET.SubElement(svg, "line", x1=x, x2=x, y1=str(TOP - 8), y2=str(height - 10), stroke=colour)
        text(float(x), TOP - 12, "%.2f" % (percent / 100), **{"text-anchor": "middle"})
    x = 10
    names = [name for name in VARIANTS if name != "unpatched" and any(name in r["memory"] for r in results)]
    for name in names:
        ET.SubElement(svg, "circle", cx=str(x), cy="12", r="4", fill=VARIANTS[name])
        text(x + 8, 16, name)
        x += 30 + 7 * len(name)
    text(x, 16, "cost of a request, as a ratio to the release as shipped")
    for number, (result, scenario) in enumerate(lines):
        y = TOP + ROW * number + 5
        name = "%s, Python %s: %s" % (result["starlette"], result["python"], scenario)
        text(LEFT - 5, y + 4, name, **{"text-anchor": "end"})
        rows = {row["variant"]: row for row in result["requests"] if row["scenario"] == scenario}
        for variant in names:
            row = rows[variant]
            x = "%.1f" % x_of(row["ratio"])
            dot = ET.SubElement(svg, "circle", cx=x, cy=str(y), r="3.5", fill=VARIANTS[variant])
            beyond = "" if LEAST <= row["ratio"] <= MOST else " (beyond the scale)"
            ET.SubElement(dot, "title").text = "%s, %s: %.3f%s" % (name, variant, row["ratio"], beyond)
    return ET.tostring(svg, encoding="unicode") + "\n"


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="only these; then nothing is written or drawn")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this Python; the same")
    parser.add_argument("--scenario", action="append", metavar="TEXT", help="only with this in its name; the same")
    parser.add_argument("--against", metavar="DIR", help="measure the package in this other checkout, too, as 'before'")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each variant and process; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2, help="one after the other; default: %(default)s")
    arguments = parser.parse_args(argv)
    known = sorted(RELEASES, key=key)
    for release in arguments.releases:
        if release not in known:
            parser.error("expected affected releases, found %r; they are: %s" % (release, " ".join(known)))
    for python in arguments.python or []:
        if python not in DATA["pythons"]:
            parser.error("expected one of these Pythons: %s; found %s" % (" ".join(DATA["pythons"]), python))
    wanted = arguments.scenario or [""]
    arguments.scenarios = [name for name in SCENARIOS if any(text in name for text in wanted)]
    if not arguments.scenarios:
        parser.error("expected part of one of these: %s; found %s" % ("; ".join(SCENARIOS), "; ".join(wanted)))
    if arguments.against:
        arguments.against = os.path.join(os.environ.get("STARTED_IN", ""), arguments.against)
        if not os.path.isdir(os.path.join(arguments.against, "starlette_backport")):
            parser.error("expected a checkout of this package, found none in %s" % arguments.against)
    if not (0 < arguments.seconds <= 3600 and 0 < arguments.processes <= 1000):
        found = (arguments.seconds, arguments.processes)
        parser.error("expected --seconds and --processes greater than 0, found %s and %s" % found)
    return arguments


def main(argv):
    arguments = parse(argv)
    found = matrix.pythons_found()
    newest = [python for python in found if key(python) > key("3.7")][-1:]
    pythons = arguments.python or [python for python in ("3.7", *newest) if python in found]
    cells = []
    for release in arguments.releases or DATA["selected"]["edges"]:
        for python in pythons:
            why = supports(release, python) if python in found else "Python %s was not found on this machine" % python
            why = why or ("Starlette %s needs Python 3.7" % LATER if python == "3.6" else None)
            if why:
                print("left out: Starlette %s on Python %s: %s" % (release, python, why))
            else:
                cells.append((release, python))
    if not cells:
        sys.exit("scripts/bench: nothing can be measured here, see above")
    os.environ["STARLETTE_BACKPORT_WHEEL"] = matrix.build()
    os.environ["STARLETTE_BACKPORT_FORKS"] = matrix.FORKS
    matrix.build_forks({release for release, _ in cells})
    results, values = [], {}
    with tqdm(total=len(cells) * (len(arguments.scenarios) + 1), mininterval=1) as progress:
        for release, python in cells:
            result, values[release, python] = measure(release, python, arguments, progress)
            results.append(result)
    for result in results:
        show(result)
    keep_values(values)
    print("\nall values: %s, for instance for pyperf show" % os.path.relpath(VALUES, ROOT))
    if not (arguments.releases or arguments.python or arguments.scenario):
        write(RESULTS, json.dumps(results, indent=1) + "\n")
        write(PICTURE, draw(results))
        print("written: %s and %s" % (os.path.relpath(RESULTS, ROOT), os.path.relpath(PICTURE, ROOT)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
