"""Run the tests of tests/ecosystem/servers on real servers: with the backport and without it, to the same effect."""

import argparse
import collections
import json
import os
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree

import environments
import load
import matrix
from environments import ROOT, is_era, supports

EPILOG = """
Without a name all rows run, or with --load those of the data that are for it. A name may be a part of one, such as
0.14.2 or hypercorn-today. Arguments after -- go to pytest: scripts/servers 0.14.2-hypercorn-today -- -k promise
"""

TESTS = os.path.join("tests", "ecosystem", "servers")
LINE = "%-30s %-34s %-7s %-7s %7s %7s %8s %6s"

with open(os.path.join(ROOT, "tests", "ecosystem", "servers.json")) as file:
    DATA = json.load(file)


class LeftOut(Exception):
    """A row cannot run on this machine; its text says why."""


class Row:
    def __init__(self, data):
        self.server = DATA["servers"][data["server"]]
        self.release = data["starlette"]
        self.of = data["of"]
        self.name = "%s-%s-%s" % (self.release, data["server"], self.of)
        self.requirements = data.get("requirements", self.server["requirements"])
        self.options = [] if data.get("dependencies", True) else ["--no-deps"]
        self.needs = data.get("needs")
        self.for_load = data.get("load", False)
        self.why = data["why"]
        self.folder = os.path.join(ROOT, ".envs", "server-" + self.name)

    def python(self, found):
        """Return the version of Python that it runs on, of those `found`."""
        *_, era = environments.DATA["era"]["pythons"]
        if self.of == "era":
            if era not in found:
                raise LeftOut("Python %s was not found on this machine" % era)
            return era
        fitting = [python for python in found if not is_era(python) and supports(self.release, python) is None]
        if not fitting:
            raise LeftOut("no Python later than %s was found on this machine" % era)
        return fitting[-1]

    def set_up(self, python, wheel):
        """Make its environment: the release as in scripts/demo, and the server."""
        environments.uv("venv", "--clear", "--python", python, self.folder)
        executable = os.path.join(self.folder, "bin", "python")
        command = [executable, os.path.join(environments.LIB, "environments.py"), self.release]
        environment = dict(os.environ, STARLETTE_BACKPORT_WHEEL=wheel)
        if subprocess.call(command, env=environment):
            sys.exit("expected Starlette %s to install: see above" % self.release)
        newest = ["--exclude-newer", environments.era(self.release)] if self.of == "era" else []
        try:
            environments.uv("pip", "install", "--python", executable, *newest, *self.options, *self.requirements)
        except SystemExit as error:
            if self.needs:
                raise LeftOut("it could not be installed, it needs %s" % self.needs) from error
            raise

    def versions(self):
        lines = environments.uv("pip", "freeze", "--python", os.path.join(self.folder, "bin", "python")).splitlines()
        found = dict(line.lower().split("==") for line in lines if "==" in line)
        return ", ".join("%s %s" % (name, found[name]) for name in self.server["shown"])

    def command(self):
        return os.path.join(shlex.quote(os.path.join(self.folder, "bin")), self.server["command"])

    def test(self, arguments):
        """Return how many tests passed, failed and were skipped, and why; and what pytest said."""
        report = os.path.join(self.folder, "report.xml")
        # Without the conftest.py of tests, which needs a Starlette in this environment.
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--confcutdir", TESTS, TESTS]
        command += ["--junitxml", report, "--serve", self.command(), *["--http2"] * ("http2" in self.server)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        if not os.path.exists(report):
            return 0, 1, 0, [], done.stdout
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
        counts = {kind: int(suite.get(kind)) for kind in ("tests", "failures", "errors", "skipped")}
        failed = counts["failures"] + counts["errors"] or int(done.returncode != 0)
        passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
        reasons = [skipped.get("message") for skipped in suite.iter("skipped")]
        return passed, failed, counts["skipped"], reasons, done.stdout


def ready(rows, pythons, wheel, left_out):
    """Yield those of `rows` that can run here, and the Python of each; note the others in `left_out`."""
    for row in rows:
        try:
            python = row.python(pythons)
            row.set_up(python, wheel)
        except LeftOut as error:
            left_out.setdefault(str(error), []).append(row.name)
        else:
            yield row, python


def run_tests(rows, arguments):
    """Run `rows` one after the other, with a line for each; return whether all is well."""
    print(LINE % ("Starlette and server", "Versions", "Python", "", "passed", "failed", "skipped", "s"), flush=True)
    reasons, total, outputs = collections.Counter(), [0, 0, 0], {}
    for row, python in rows:
        begin = time.monotonic()
        *counts, why_skipped, output = row.test(arguments)
        good = counts[0] and not counts[1]
        shown = (row.name, row.versions(), python, "ok" if good else "FAILED", *counts)
        print(LINE % (*shown, "%.1f" % (time.monotonic() - begin)), flush=True)
        total = [sum(pair) for pair in zip(total, counts)]
        reasons.update(why_skipped)
        if not good:
            outputs[row.name] = output
    if reasons:
        print("\nSkipped tests, and why:")
        for reason, number in reasons.most_common():
            print("%6d  %s" % (number, reason))
    for name, output in outputs.items():
        print("\n%s\n%s\n%s" % (name, "-" * len(name), output))
    print("\n%d passed, %d failed, %d skipped" % tuple(total))
    return not outputs and total[0] > 0


def run_load(rows):
    print(load.HOW)
    good = []
    for row, python in rows:
        print("\n%s, Python %s: %s" % (row.name, python, row.versions()), flush=True)
        good.append(load.measure(row.command()))
    return all(good) and bool(good)


def parse(argv):
    ours, pytest_arguments = matrix.split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/servers",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of rows; --list has them")
    parser.add_argument("--list", action="store_true", help="only say which rows there are, and why")
    parser.add_argument("--load", action="store_true", help="measure, under load, and do not test")
    arguments = parser.parse_args(ours)
    rows = [Row(data) for data in DATA["rows"]]
    for name in arguments.names:
        if not any(name in row.name for row in rows):
            parser.error("expected names of rows or parts of such, found %r; scripts/servers --list has them" % name)
    if arguments.names:
        rows = [row for row in rows if any(name in row.name for name in arguments.names)]
    elif arguments.load:
        rows = [row for row in rows if row.for_load]
    return arguments, rows, pytest_arguments


def main(argv):
    arguments, rows, pytest_arguments = parse(argv)
    if arguments.list:
        for row in rows:
            print("%-30s %s" % (row.name, row.why))
        return 0
    pythons = matrix.pythons_found()
    wheel = matrix.build()
    left_out = {}
    rows = ready(rows, pythons, wheel, left_out)
    good = run_load(rows) if arguments.load else run_tests(rows, pytest_arguments)
    if left_out:
        print("\nDid not run, and why:")
        for reason, names in left_out.items():
            print("        %s (%s)" % (reason, ", ".join(names)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
