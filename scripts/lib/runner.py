"""Run tests in environments of their own, two at a time, and say what came of it: what all runners share."""

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

from environments import ROOT, TOOLS, LeftOutError, write

# As many lines are shown of what failed.
LINES = 100


@dataclasses.dataclass
class Job:
    """Something to run, and what came of it: its tests, and the examples that Hypothesis drew for them."""

    name: str  # Also that of its folder.
    columns: typing.Tuple[str, ...]  # What the table shows of it.
    again: str  # The command that runs it again.
    # Makes the environment in that folder, and returns the command to run there.
    prepare: typing.Callable[["Job"], typing.List[str]]
    variables: typing.Dict[str, str] = dataclasses.field(default_factory=dict)

    note: str = ""  # What else the table shows.
    left_out: str = ""  # Why it did not run.
    good: bool = False
    output: str = ""
    seconds: float = 0
    counts: typing.Counter = dataclasses.field(default_factory=collections.Counter)
    reasons: typing.Counter = dataclasses.field(default_factory=collections.Counter)
    failed: typing.List[str] = dataclasses.field(default_factory=list)

    @property
    def folder(self):
        return os.path.join(TOOLS, "envs", self.name)

    def run(self):
        begun, report = time.monotonic(), self.folder + ".xml"
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
            command = self.prepare(self)
            if "pytest" in map(os.path.basename, command[:3]):
                command += ["-p", "no:cacheprovider", "--junitxml", report]
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **self.variables},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
            )
            self.output = done.stdout
            self.read(report)
            self.good = done.returncode == 0 and self.counts["passed"] > 0 and not self.counts["failed"]
            if self.good:  # Where something failed, the environment stays, to look into.
                shutil.rmtree(self.folder)
        except LeftOutError as error:
            self.left_out = str(error)
        except SystemExit as error:
            self.output = "It could not be set up: %s" % error
        self.seconds = time.monotonic() - begun

    def read(self, report):
        """Read the JUnit report of pytest, or what tests/interpreters/program.py printed."""
        if not os.path.exists(report):
            lines = re.findall(r"^(ok|FAILED) ", self.output, re.MULTILINE)
            self.counts.update(passed=lines.count("ok"), failed=lines.count("FAILED"))
            return
        tree = xml.etree.ElementTree.parse(report)
        os.remove(report)
        for case in tree.iter("testcase"):
            kinds = {child.tag: child for child in case}
            kind = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
            self.counts["failed" if kind in ("error", "failure") else kind] += 1
            if kind == "skipped":
                self.reasons[kinds[kind].get("message")] += 1
            elif kind != "passed":
                self.failed.append(node_id(case))
        for item in tree.iter("property"):
            if item.get("name").startswith("hypothesis-statistics-"):
                statistics = base64.b64decode(item.get("value")).decode("utf-8")
                self.counts["properties"] += 1
                self.counts["examples"] += int((re.findall(r"(\d+) passing", statistics) or [0])[0])


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


def run_all(jobs):
    """Run `jobs`, with a line for each that is done."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # The tests start many Pythons, which would all compile the same.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = {pool.submit(job.run): job for job in jobs}
        try:
            for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
                future.result()
                job = futures[future]
                said = "ok" if job.good else "left out" if job.left_out else "FAILED"
                if said == "FAILED":
                    write(job.folder + ".log", job.output)
                    print("\n".join(line[:300] for line in job.output.splitlines()[-LINES:]))
                    print("All that it printed is in %s.log" % os.path.relpath(job.folder, ROOT))
                print("[%3d/%d] %-34s %-8s %6.1f s" % (number, len(jobs), job.name, said, job.seconds), flush=True)
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def run(jobs, headings, left_out):
    """Run `jobs`, and print what came of it, and what did not run; return the exit status.

    `left_out` has names by the reason why they do not run.
    """
    run_all(jobs)
    for job in jobs:
        if job.left_out:
            left_out.setdefault(job.left_out, []).append(job.name)
    jobs = [job for job in jobs if not job.left_out]
    bad = [job for job in jobs if not job.good]
    rows = [(*headings, "", "passed", "failed", "skipped", "s", "")]
    for job in jobs:
        numbers = [str(job.counts[kind]) for kind in ("passed", "failed", "skipped")]
        rows.append((*job.columns, "ok" if job.good else "FAILED", *numbers, "%.1f" % job.seconds, job.note))
    widths = [max(map(len, column)) for column in zip(*rows)]
    print()
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    reasons = sum((job.reasons for job in jobs), collections.Counter())
    if reasons:
        print("\nSkipped tests, and why:")
        for reason, number in reasons.most_common():
            print("%6d  %s" % (number, reason))
    say_left_out(left_out)
    if bad:
        print("\nTo see a failure again:")
        for job in bad:
            for test in dict.fromkeys(job.failed or [""]):
                print("    %s%s" % (job.again, " -- " + shlex.quote(test) if test else ""))
    total = sum((job.counts for job in jobs), collections.Counter())
    print("\n%d are fine, %d are not:" % (len(jobs) - len(bad), len(bad)))
    # What fails without a failing test has failed as a whole.
    failed = sum(job.counts["failed"] or 1 for job in bad)
    print("%d passed, %d failed, %d skipped" % (total["passed"], failed, total["skipped"]))
    if total["properties"]:
        drawn = (total["examples"], total["properties"])
        print("Hypothesis drew %d examples for %d properties, all together" % drawn)
    return 1 if bad or not jobs else 0


def say_left_out(left_out):
    if left_out:
        print("\nDid not run, and why:")
    for reason, names in left_out.items():
        print("    %s%s" % (reason, ": " + ", ".join(names) if names else ""))
