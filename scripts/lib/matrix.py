"""Run the test suite in many cells: a release of Starlette on a Python each."""

import argparse
import base64
import collections
import itertools
import json
import os
import random
import re
import shlex
import subprocess
import sys
import typing
import xml.etree.ElementTree

import environments
from environments import DATA, RELEASES, ROOT, UNAFFECTED, is_era, key, supports

import patches

EPILOG = """
Without a release, a selection that touches every form of the code and every Python found.
Arguments after -- go to pytest, for instance: scripts/test 0.14.2 -- -k gzip -x
What Hypothesis draws depends on the seed alone; the command that draws the same again is printed with a failure.
"""

# How many requests tests/test_stress.py makes in a thorough run.
STRESS = "5000"

RESULTS = os.path.join(ROOT, ".tox", "results")
WHEELS = os.path.join(ROOT, ".tox", "wheel")

FORKS = os.path.join(ROOT, ".tox", "forks")


class Cell(typing.NamedTuple):
    release: str
    python: str
    # Whether it is the release with the diffs of patches/.
    fork: bool

    @property
    def shown(self):
        return self.release + " fork" * self.fork


def name(cell):
    return "py%s-starlette%s%s" % (cell.python.replace(".", ""), cell.release, "-fork" * cell.fork)


def pythons_found():
    """Return the supported versions of CPython on this machine, as uv finds them."""
    listed = json.loads(environments.uv("python", "list", "--only-installed", "--output-format", "json"))
    found = {
        "%d.%d" % (row["version_parts"]["major"], row["version_parts"]["minor"])
        for row in listed
        if row["implementation"] == "cpython" and row.get("variant", "default") == "default"
    }
    return sorted((version for version in found if version in DATA["pythons"]), key=key)


def selection(pythons):
    """Return the cells of the default run."""
    edges, others = DATA["selected"]["edges"], DATA["selected"]["others"]
    # All of them where the dependencies are those of their time, if there is such a Python.
    home = [python for python in pythons if is_era(python)][-1:] or pythons[:1]
    cells = []
    for release in edges + others + list(UNAFFECTED):
        fitting = [python for python in home + pythons if supports(release, python) is None]
        cells.extend(Cell(release, python, False) for python in fitting[:1])
    # On each other Python one release with a queue and one with anyio, taking turns.
    *queue, first, last = edges
    for number, python in enumerate(python for python in pythons if python not in home):
        cells.append(Cell(queue[number % len(queue)], python, False))
        cells.append(Cell(last if number % 2 else first, python, False))
    return cells


def fork_selection(pythons):
    """Return the first and the last release of each range in patches/, on the oldest and the newest Python."""
    cells = []
    for release in itertools.chain(*(folder.split("-") for folder in patches.ranges())):
        fitting = [python for python in pythons if supports(release, python) is None]
        cells.extend(Cell(release, python, True) for python in dict.fromkeys(fitting[:1] + fitting[-1:]))
    return cells


def choose(arguments, pythons):
    releases = RELEASES if arguments.all else arguments.releases
    if releases:
        return [Cell(release, python, arguments.fork) for python in pythons for release in releases]
    return fork_selection(pythons) if arguments.fork else selection(pythons)


def run(cells, arguments, pytest_arguments):
    """Run `cells` in parallel, with a line for each that is done; return tox's results."""
    names = [name(cell) for cell in cells]
    report = os.path.join(RESULTS, "tox.json")
    # Unbuffered, for its progress to show at once.
    environment = dict(
        os.environ, STARLETTE_BACKPORT_WHEEL=build(), STARLETTE_BACKPORT_FORKS=FORKS, PYTHONUNBUFFERED="1"
    )
    if arguments.fork:
        build_forks({cell.release for cell in cells})
    if arguments.thorough:
        environment["STARLETTE_BACKPORT_STRESS"] = STRESS
    command = [sys.executable, "-m", "tox", "run-parallel", "--parallel", "auto", "--parallel-no-spinner"]
    # On CI servers it would list what it has installed, and the output of all that is well, in colours.
    command += ["--no-list-dependencies", "--colored", "no"]
    command += ["--skip-missing-interpreters", "false", "--result-json", report, "-e", ",".join(names)]
    command += ["--", "--hypothesis-seed=%d" % arguments.seed, *(pytest_arguments or ["-q"])]
    if arguments.thorough:
        command.append("--hypothesis-profile=thorough")
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    done = set()
    for line in process.stdout:
        # tox names a cell when it is done (but for the last one), and in its summary, for which we have a table.
        match = re.match(r" *(py\d+-\S+?): (OK|FAIL|SKIP)", line)
        if match is None:
            if not re.match(r"  (congratulations|evaluation failed)", line):
                print(line, end="", flush=True)
        elif match.group(1) not in done:
            done.add(match.group(1))
            print("[%3d/%d] %-26s %s" % (len(done), len(names), *match.groups()), flush=True)
    process.wait()
    if not os.path.exists(report):
        sys.exit("tox ended with status %d before it ran anything: see above" % process.returncode)
    with open(report) as file:
        return json.load(file)["testenvs"]


def build():
    """Build the wheel that all cells install; return its path."""
    environments.uv("build", "--quiet", "--wheel", "--clear", "--out-dir", WHEELS, ROOT)
    (wheel,) = (entry for entry in os.listdir(WHEELS) if entry.endswith(".whl"))
    return os.path.join(WHEELS, wheel)


def build_forks(releases):
    """Build the patched releases that the cells install."""
    command = [os.path.join(ROOT, "scripts", "build-fork"), "--out", FORKS, *sorted(releases, key=key)]
    if subprocess.call(command, stdout=subprocess.DEVNULL):
        sys.exit("expected the patched releases to build: see above")


class Outcome:
    """What came of a cell: its tests, and the examples that Hypothesis drew for them."""

    def __init__(self, cell, results):
        self.counts, self.reasons = collections.Counter(), collections.Counter()
        self.failed, self.figures = [], []
        path = os.path.join(RESULTS, name(cell) + ".xml")
        if os.path.exists(path):
            self._read(xml.etree.ElementTree.parse(path))
        result = results.get(name(cell), {}).get("result", {})
        self.seconds = result.get("duration", 0)
        good = result.get("success") and not result.get("skipped") and self.counts["passed"]
        self.good = bool(good and not self.failed)

    def _read(self, report):
        for case in report.iter("testcase"):
            kinds = {child.tag: child for child in case}
            kind = next((k for k in ("error", "failure", "skipped") if k in kinds), "passed")
            self.counts["failed" if kind in ("error", "failure") else kind] += 1
            if kind == "skipped":
                self.reasons[kinds[kind].get("message")] += 1
            elif kind != "passed":
                self.failed.append(node_id(case))
        for item in report.iter("property"):
            if item.get("name").startswith("hypothesis-statistics-"):
                statistics = base64.b64decode(item.get("value")).decode("utf-8")
                self.counts["properties"] += 1
                self.counts["examples"] += int((re.findall(r"(\d+) passing", statistics) or [0])[0])
            elif item.get("name") == "stress":
                self.figures.append(item.get("value"))


def node_id(case):
    """Return what to call pytest with for one test of its report."""
    *packages, last = case.get("classname").split(".")
    classes = [case.get("name")]
    while packages and not os.path.exists(os.path.join(ROOT, *packages, last + ".py")):
        classes.insert(0, last)
        last = packages.pop()
    return "::".join(["/".join([*packages, last + ".py"]), *classes]) if packages else "-x"


def table(cells, left_out, results, arguments):
    """Print what ran, what did not and why; return whether all is well."""
    outcomes = {cell: Outcome(cell, results) for cell in cells}
    reasons, total = collections.Counter(), collections.Counter()
    print("\n%-8s %-13s %-6s %7s %7s %8s %6s" % ("Python", "Starlette", "", "passed", "failed", "skipped", "s"))
    for cell, outcome in outcomes.items():
        counts = outcome.counts
        numbers = (counts["passed"], counts["failed"], counts["skipped"], outcome.seconds)
        said = "ok" if outcome.good else "FAILED"
        print("%-8s %-13s %-6s %7d %7d %8d %6.1f" % (cell.python, cell.shown, said, *numbers))
        total.update(counts)
        total["good" if outcome.good else "bad"] += 1
        reasons.update(outcome.reasons)
    if reasons:
        print("\nSkipped tests, and why:")
        for reason, number in reasons.most_common():
            print("%6d  %s" % (number, reason))
    if left_out:
        print("\nDid not run, and why:")
        for reason, what in left_out.items():
            print("        %s%s" % (reason, " (%s)" % ", ".join(what) if what else ""))
    figures = [(cell, figure) for cell, outcome in outcomes.items() for figure in outcome.figures]
    if figures:
        print("\nMany requests at once, with early messages:")
        for cell, figure in figures:
            print("%-8s %-13s %s" % (cell.python, cell.shown, figure))
    failed = [(cell, test) for cell, outcome in outcomes.items() for test in outcome.failed]
    if failed:
        print("\nTo see a failure again:")
        options = " --fork" * arguments.fork + " --thorough" * arguments.thorough
        for cell, test in failed:
            what = (cell.release, cell.python, options, arguments.seed, shlex.quote(test))
            print("    scripts/test %s --python %s%s --seed %d -- %s" % what)
    print("\n%d cells are fine, %d are not:" % (total["good"], total["bad"]))
    # A cell without a failing test has failed as a whole.
    print("%d passed, %d failed, %d skipped" % (total["passed"], total["failed"] or total["bad"], total["skipped"]))
    drawn = (total["examples"], total["properties"], arguments.seed)
    print("Hypothesis drew %d examples for %d properties, all cells together; the seed was %d" % drawn)
    return not total["bad"]


def split(argv):
    """Return the arguments before a ``--``, and those after it, which are for pytest."""
    place = argv.index("--") if "--" in argv else len(argv)
    return argv[:place], argv[place + 1 :]


def parse(argv):
    ours, pytest_arguments = split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    parser.add_argument("--fork", action="store_true", help="run on the builds of scripts/build-fork")
    parser.add_argument("--all", action="store_true", help="all affected releases, on every Python found")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this Python; may be repeated")
    parser.add_argument("--thorough", action="store_true", help="thousands of examples and requests: takes its time")
    parser.add_argument("--seed", type=int, metavar="N", help="what Hypothesis draws depends on; by default a new one")
    parser.add_argument("--list", action="store_true", help="only say which cells would run")
    arguments = parser.parse_args(ours)
    for release in arguments.releases:
        if release not in RELEASES and release not in UNAFFECTED:
            parser.error(
                "expected affected releases of Starlette, found %r; they are: %s" % (release, " ".join(RELEASES))
            )
    for python in arguments.python or []:
        if python not in DATA["pythons"]:
            parser.error("expected a Python of %s, found %r" % (", ".join(DATA["pythons"]), python))
    for release in arguments.releases:
        if arguments.fork and release not in RELEASES:
            parser.error("expected releases to patch with --fork, found %r, which is not affected" % release)
    if arguments.all and arguments.releases:
        parser.error("expected either --all or releases, found both")
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    return arguments, pytest_arguments


def main(argv):
    arguments, pytest_arguments = parse(argv)
    found = pythons_found()
    wanted = arguments.python or DATA["pythons"]
    left_out = collections.OrderedDict()
    for python in wanted:
        if python not in found:
            left_out["Python %s was not found on this machine" % python] = []
    cells = []
    for cell in dict.fromkeys(choose(arguments, [python for python in found if python in wanted])):
        reason = supports(cell.release, cell.python)
        if reason is None:
            cells.append(cell)
        elif reason.startswith("Starlette %s needs" % cell.release):
            left_out.setdefault("These releases do not support Python %s" % cell.python, []).append(cell.release)
        else:
            left_out[reason] = []
    if not cells:
        print("There is nothing to run:\n  " + "\n  ".join(left_out))
        return 2
    print("%d cells, on Python %s" % (len(cells), ", ".join(sorted({c.python for c in cells}, key=key))), flush=True)
    if arguments.list:
        print("\n".join(name(cell) for cell in cells))
        return 0
    os.makedirs(RESULTS, exist_ok=True)
    for entry in os.listdir(RESULTS):
        os.remove(os.path.join(RESULTS, entry))
    results = run(cells, arguments, pytest_arguments)
    return 0 if table(cells, left_out, results, arguments) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
