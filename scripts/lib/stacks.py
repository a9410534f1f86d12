"""Run the tests of tests/ecosystem/stacks/ in the environments of tests/ecosystem/stacks.json."""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

import environments
import matrix
from environments import ROOT

with open(os.path.join(ROOT, "tests", "ecosystem", "stacks.json")) as file:
    DATA = json.load(file)

STACKS = {row["name"]: row for row in DATA["stacks"]}
TESTS = os.path.join("tests", "ecosystem", "stacks")
FOLDER = os.path.join(ROOT, ".envs", "stacks")

EPILOG = """
Without a name, all of them. Arguments after -- go to pytest, for instance: scripts/stacks fastapi-0.90.1 -- -k mounted
A stack runs on one Python, the first of those that it names that is there; with --python, on that one.
"""


class Outcome:
    """What came of one stack."""

    def __init__(self, row, python):
        self.row, self.python = row, python
        self.good, self.shown, self.log = False, "", ""
        self.counts, self.reasons = collections.Counter(), collections.Counter()
        self.seconds = 0.0

    def read(self, report):
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag: child for child in case}
            failed = "failure" in kinds or "error" in kinds
            self.counts["failed" if failed else "skipped" if "skipped" in kinds else "passed"] += 1
            if "skipped" in kinds:
                self.reasons[kinds["skipped"].get("message")] += 1


def fitting(row, pythons):
    """Return the Python for `row` among `pythons`, or None."""
    return next((python for python in row["pythons"] if python in pythons), None)


def install(row, python, directory):
    """Make the environment of `row`; return the versions in it."""
    environments.uv("venv", "--clear", "--python", python, directory)
    here = ["--python", os.path.join(directory, "bin", "python")]
    era = ["--exclude-newer", row["as_of"]] if "as_of" in row else []
    environments.uv("pip", "install", *row["requirements"], *era, *here)
    stack = os.path.join(directory, "stack.txt")
    with open(stack, "w") as file:
        file.write("\n".join(environments.freeze(here)))
    # What the tests need must not move what they are about: an older pytest is fine.
    environments.uv("pip", "install", *DATA["tools"], "--constraint", stack, *here)
    environments.install_package(here)
    found = environments.freeze(here)
    return dict(re.split(r"==| @ ", line, maxsplit=1) for line in found)


def shown(row, versions):
    """Return the versions that the stack is about, as they are installed."""
    named = [re.match(r"[\w.-]+", requirement).group() for requirement in row["requirements"]]
    names = dict.fromkeys(["starlette", *named])
    return ", ".join("%s %s" % (name, versions[name]) for name in names)


def run(row, python, pytest_arguments):
    """Set `row` up and run its tests; return what came of it."""
    outcome = Outcome(row, python)
    directory = os.path.join(FOLDER, "%s-py%s" % (row["name"], python))
    report = directory + ".xml"
    if os.path.exists(report):
        os.remove(report)
    begun = time.monotonic()
    try:
        outcome.shown = shown(row, install(row, python, directory))
        command = [os.path.join(directory, "bin", "pytest"), "-q", "-p", "no:cacheprovider", "-p", "pytest_forked"]
        # tests/conftest.py is for the other suite: it imports Starlette.
        command += ["--confcutdir", TESTS, "--junitxml", report]
        command += [os.path.join(TESTS, name) for name in row["tests"]]
        process = subprocess.run(
            command + pytest_arguments,
            cwd=ROOT,
            # Some of what is tested has a plugin for pytest, and would be imported by it.
            env=dict(os.environ, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        outcome.log = process.stdout
        if os.path.exists(report):
            outcome.read(report)
        outcome.good = process.returncode == 0 and outcome.counts["passed"] > 0 and not outcome.counts["failed"]
    except SystemExit as problem:
        outcome.log = "It could not be set up: %s" % problem
    outcome.seconds = time.monotonic() - begun
    return outcome


def table(outcomes, left_out):
    """Print what ran, what did not and why; return whether all is well."""
    widths = [max(len(text) for text in column) for column in zip(*((o.row["name"], o.shown) for o in outcomes))]
    line = "%%-%ds  %%-6s  %%-6s %%6s %%7s %%6s  %%s" % widths[0]
    print("\n" + line % ("Stack", "Python", "", "passed", "skipped", "s", "Versions"))
    for outcome in outcomes:
        counts = (outcome.counts["passed"], outcome.counts["skipped"], "%.1f" % outcome.seconds)
        print(line % (outcome.row["name"], outcome.python, "ok" if outcome.good else "FAILED", *counts, outcome.shown))
    reasons = sum((outcome.reasons for outcome in outcomes), collections.Counter())
    if reasons:
        print("\nSkipped tests, and why:")
        for reason, number in reasons.most_common():
            print("%6d  %s" % (number, reason))
    if left_out:
        print("\nDid not run, and why:")
        for name, reason in left_out.items():
            print("        %s: %s" % (name, reason))
    failed = [outcome for outcome in outcomes if not outcome.good]
    if failed:
        print("\nTo see a failure again:")
        for outcome in failed:
            print("    scripts/stacks %s --python %s" % (outcome.row["name"], outcome.python))
    total = sum((outcome.counts for outcome in outcomes), collections.Counter())
    fine = len(outcomes) - len(failed)
    print("\n%d stacks are fine, %d are not, %d did not run:" % (fine, len(failed), len(left_out)))
    # A stack without a failing test has failed as a whole.
    numbers = (total["passed"], sum(o.counts["failed"] or 1 for o in failed), total["skipped"])
    print("%d passed, %d failed, %d skipped" % numbers)
    return not failed


def parse(argv):
    ours, pytest_arguments = matrix.split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/stacks", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a stack, or what it begins with, such as fastapi")
    parser.add_argument("--python", metavar="X.Y", help="only on this Python")
    parser.add_argument("--list", action="store_true", help="only say which stacks there are, and why")
    arguments = parser.parse_args(ours)
    for name in arguments.names:
        if not any(stack.startswith(name) for stack in STACKS):
            parser.error("expected the name of a stack, found %r; they are: %s" % (name, " ".join(STACKS)))
    if arguments.python and arguments.python not in environments.DATA["pythons"]:
        known = ", ".join(environments.DATA["pythons"])
        parser.error("expected a Python of %s, found %r" % (known, arguments.python))
    return arguments, pytest_arguments


def main(argv):
    arguments, pytest_arguments = parse(argv)
    found = matrix.pythons_found()
    chosen, left_out = [], {}
    for name, row in STACKS.items():
        if arguments.names and not any(name.startswith(wanted) for wanted in arguments.names):
            continue
        there = [python for python in found if arguments.python in (None, python)]
        python = fitting(row, there)
        if python is not None:
            chosen.append((row, python))
        elif arguments.python in row["pythons"] or not arguments.python:
            left_out[name] = "Python %s: not found on this machine" % (arguments.python or ", ".join(row["pythons"]))
        else:
            left_out[name] = "not for Python %s, but for %s" % (arguments.python, ", ".join(row["pythons"]))
    if arguments.list:
        for row, python in chosen:
            print("%-20s Python %-5s %s" % (row["name"], python, ", ".join(row["requirements"])))
            print("%-20s %s" % ("", row["why"]))
        for name, reason in left_out.items():
            print("%-20s %s" % (name, reason))
        return 0
    if not chosen:
        print("There is nothing to run:")
        for name, reason in left_out.items():
            print("  %s: %s" % (name, reason))
        return 2
    os.makedirs(FOLDER, exist_ok=True)
    os.environ["STARLETTE_BACKPORT_WHEEL"] = matrix.build()
    outcomes = []
    for number, (row, python) in enumerate(chosen, 1):
        outcome = run(row, python, pytest_arguments)
        outcomes.append(outcome)
        if not outcome.good:
            print(outcome.log)
        told = (number, len(chosen), row["name"], python, "ok" if outcome.good else "FAILED", outcome.seconds)
        print("[%2d/%d] %-24s Python %-5s %-6s %5.1f s" % told, flush=True)
    return 0 if table(outcomes, left_out) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
