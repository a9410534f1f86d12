"""Run tests in environments of their own, some at once, and say what came of it: what all runners share."""

import base64
import collections
import concurrent.futures
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import time
import typing
import xml.etree.ElementTree

from environments import ROOT, TOOLS, write

# As many lines are shown of what failed.
LINES = 100


class LeftOutError(Exception):
    """Something cannot run on this machine; the text says why, and what to do."""


@dataclasses.dataclass
class Job:
    name: str  # Also that of its folder.
    columns: typing.Tuple[str, ...]  # What the table shows of it.
    again: str  # The command that runs it again.
    # Makes the environment in that folder; returns the command to run there, and what else the table shows.
    prepare: typing.Callable[[str], typing.Tuple[typing.List[str], str]]
    variables: typing.Dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def folder(self):
        return os.path.join(TOOLS, "envs", self.name)


class Outcome:
    """What came of a job: its tests, and the examples that Hypothesis drew for them."""

    def __init__(self):
        self.counts, self.reasons = collections.Counter(), collections.Counter()
        self.failed, self.figures = [], []
        self.good, self.left_out, self.note, self.output, self.seconds = False, "", "", "", 0.0

    def read_report(self, report):
        """Read a JUnit report."""
        for case in report.iter("testcase"):
            kinds = {child.tag: child for child in case}
            kind = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
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

    def read_lines(self):
        """Read what tests/interpreters/program.py printed."""
        for word in re.findall(r"^(ok|FAILED) ", self.output, re.MULTILINE):
            self.counts["passed" if word == "ok" else "failed"] += 1


def node_id(case):
    """Return what to call pytest with for one test of a report."""
    *packages, last = case.get("classname").split(".")
    classes = [case.get("name")]
    while packages and not os.path.exists(os.path.join(ROOT, *packages, last + ".py")):
        classes.insert(0, last)
        last = packages.pop()
    return "::".join(["/".join([*packages, last + ".py"]), *classes]) if packages else "-x"


def split(argv):
    """Return the arguments before a ``--``, and those after it, which are for pytest."""
    place = argv.index("--") if "--" in argv else len(argv)
    return argv[:place], argv[place + 1 :]


def run_one(job):
    """Make the environment of `job` and run its tests; return what came of it."""
    outcome, begun = Outcome(), time.monotonic()
    report = job.folder + ".xml"
    try:
        shutil.rmtree(job.folder, ignore_errors=True)
        command, outcome.note = job.prepare(job.folder)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        if "pytest" in " ".join(command[:3]):
            command = [*command, "-p", "no:cacheprovider", "--junitxml", report]
        process = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, **job.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        outcome.output = process.stdout
        if os.path.exists(report):
            outcome.read_report(xml.etree.ElementTree.parse(report))
        else:
            outcome.read_lines()
        outcome.good = process.returncode == 0 and outcome.counts["passed"] > 0 and not outcome.counts["failed"]
    except LeftOutError as error:
        outcome.left_out = str(error)
    except SystemExit as error:
        outcome.output = "It could not be set up: %s" % error
    finally:
        if os.path.exists(report):
            os.remove(report)
    outcome.seconds = time.monotonic() - begun
    return outcome


def run(jobs, headings, left_out, workers=2):
    """Run `jobs`, with a line for each that is done, and then a table; return whether all is well.

    `left_out` has what does not run, as lists by the reason.
    """
    outcomes = {}
    os.makedirs(os.path.join(TOOLS, "envs"), exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(run_one, job): job for job in jobs}
        try:
            for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
                job, outcome = futures[future], future.result()
                outcomes[job.name] = outcome
                said = "ok" if outcome.good else "left out" if outcome.left_out else "FAILED"
                if said == "FAILED":
                    write(job.folder + ".log", outcome.output)
                    print("\n".join(line[:300] for line in outcome.output.splitlines()[-LINES:]))
                    print("The whole of it is in %s.log" % os.path.relpath(job.folder, ROOT))
                print("[%3d/%d] %-34s %-8s %6.1f s" % (number, len(jobs), job.name, said, outcome.seconds), flush=True)
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            raise
    done = [(job, outcomes[job.name]) for job in jobs if not outcomes[job.name].left_out]
    for job in jobs:
        if outcomes[job.name].left_out:
            left_out.setdefault(outcomes[job.name].left_out, []).append(job.name)
    return table(done, headings, left_out)


def table(done, headings, left_out):
    """Print what ran, what did not and why; return whether all is well."""
    total = sum((outcome.counts for _, outcome in done), collections.Counter())
    rows = [(*headings, "", "passed", "failed", "skipped", "s", "")]
    for job, outcome in done:
        numbers = [str(outcome.counts[kind]) for kind in ("passed", "failed", "skipped")]
        said = "ok" if outcome.good else "FAILED"
        rows.append((*job.columns, said, *numbers, "%.1f" % outcome.seconds, outcome.note))
    widths = [max(map(len, column)) for column in zip(*rows)]
    print()
    for row in rows:
        numeric = range(len(headings) + 1, len(row) - 1)
        cells = [text.rjust(w) if n in numeric else text.ljust(w) for n, (text, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
    reasons = sum((outcome.reasons for _, outcome in done), collections.Counter())
    if reasons:
        print("\nSkipped tests, and why:")
        for reason, number in reasons.most_common():
            print("%6d  %s" % (number, reason))
    say_left_out(left_out)
    figures = [(job, figure) for job, outcome in done for figure in outcome.figures]
    if figures:
        print("\nMany requests at once, with early messages:")
        for job, figure in figures:
            print("  %s: %s" % (job.name, figure))
    bad = [(job, outcome) for job, outcome in done if not outcome.good]
    if bad:
        print("\nTo see a failure again:")
        for job, outcome in bad:
            for test in outcome.failed or [""]:
                print("    %s%s" % (job.again, " -- " + shlex.quote(test) if test else ""))
    print("\n%d are fine, %d are not:" % (len(done) - len(bad), len(bad)))
    # What fails without a failing test has failed as a whole.
    failed = sum(outcome.counts["failed"] or 1 for _, outcome in bad)
    print("%d passed, %d failed, %d skipped" % (total["passed"], failed, total["skipped"]))
    if total["properties"]:
        drawn = (total["examples"], total["properties"])
        print("Hypothesis drew %d examples for %d properties, all together." % drawn)
    return bool(done) and not bad


def say_left_out(left_out):
    if left_out:
        print("\nDid not run, and why:")
    for reason, names in left_out.items():
        print("    %s%s" % (reason, ": " + ", ".join(names) if names else ""))
