"""Run the test suite in many cells: a release of Starlette on a Python each."""

import argparse
import os
import random
import sys

import environments
import interpreters
from environments import DATA, RELEASES, UNAFFECTED, key, supports
from runner import Job, run, say_left_out, split

import patches

EPILOG = """
Without a release, a selection that touches every form of the code and every Python found: the closing lines say what
is left out. Tests that hardly depend on the release run on the last one of each form, and with --all everywhere.
Python 3.14, 3.15 and pypy3.9 run tests/interpreters/program.py; with --python pypy3.9, PyPy runs the suite, too.
Arguments after -- go to pytest, for instance: scripts/test 0.14.2 -- -k gzip -x
What Hypothesis draws depends on the seed alone; the command that draws the same again is printed with a failure.
"""

SELECTED = DATA["selected"]
LEFT_OUT = (
    "Most releases on most Pythons, as this is a selection: the first and the last release of each form, and those "
    "with another text of call_next, on one Python, and two releases on each other Python. All: scripts/test --all"
)


def selection(pythons):
    """Return the cells of the default run: pairs of a release and a Python."""
    suite = [python for python in pythons if python in DATA["pythons"]]
    # Most of them where the dependencies are those of their time, if there is such a Python.
    home = [python for python in suite if python in DATA["era"]["pythons"]][-1:] + suite
    cells = []
    for release in SELECTED["last"] + SELECTED["first"] + SELECTED["homes"] + SELECTED["others"] + list(UNAFFECTED):
        # With none that fits, the table says why.
        fitting = [python for python in home if supports(release, python) is None]
        cells += [(release, python) for python in (fitting or home)[:1]]
    # On each other Python one release with a queue and one with anyio: the last ones, which run the whole suite, on the
    # oldest and the newest Python.
    others = [python for python in suite if python not in home[:1]]
    for number, python in enumerate(others):
        releases = SELECTED["last" if python in (others[0], others[-1]) else "first"]
        anyio = releases[-1] if supports(releases[-1], python) is None else SELECTED["first"][-1]
        cells += [(releases[(number + 1) % 2], python), (anyio, python)]
    return cells + [(release, python) for python in pythons if python not in suite for release in SELECTED["last"]]


def fork_selection(pythons):
    """Return the first and the last release of each range in patches/, on the oldest and the newest Python."""
    cells = []
    for release in "-".join(patches.ranges()).split("-"):
        fitting = [python for python in pythons if python in DATA["pythons"] and supports(release, python) is None]
        cells += [(release, python) for python in fitting[:1] + fitting[-1:]]
    return cells


def choose(arguments, pythons):
    """Return the cells to run."""
    releases = arguments.releases
    if arguments.all:
        releases = list(RELEASES)
    elif arguments.python and set(arguments.python) <= set(DATA["interpreters"]):
        releases = releases or sorted(SELECTED["first"] + SELECTED["homes"] + SELECTED["last"], key=key)
    if releases:
        return [(release, python) for python in pythons for release in releases]
    return fork_selection(pythons) if arguments.fork else selection(pythons)


def reason(release, python):
    """Return None, or why that cell is not to run."""
    if python in DATA["interpreters"] and release in UNAFFECTED:
        return "Starlette %s is not affected: the program would show no bug" % release
    return supports(release, python)


def job(release, python, start, arguments, pytest_arguments):
    """Return what runs one cell."""
    fork, options = arguments.fork, " --fork" * arguments.fork + " --thorough" * arguments.thorough

    def prepare(job):
        if isinstance(start, list):
            job.note = "program without a test client"
            return interpreters.prepare(start, release, python, job.folder)
        whole = arguments.all or release in SELECTED["last"]
        job.note = "whole suite" if whole else "tests that depend on the release"
        if release in UNAFFECTED:
            job.note = "tests for releases that are not affected"
        executable = environments.make(job.folder, start)
        environments.install(executable, python, release, tests=True, fork=fork)
        pytest = environments.pytest(executable)
        command = [pytest, "--hypothesis-seed=%d" % arguments.seed, *(pytest_arguments or ["-q"])]
        return command + ["--hypothesis-profile=thorough"] * arguments.thorough

    again = "scripts/test %s --python %s%s --seed %d" % (release, python, options, arguments.seed)
    name = "%s%s%s-%s" % ("program-" * isinstance(start, list), release, "-fork" * fork, python)
    return Job(name, (python, release + " fork" * fork), again, prepare)


def parse(argv):
    ours, pytest_arguments = split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    add("--fork", action="store_true", help="run on the builds of scripts/build-fork")
    add("--all", action="store_true", help="all affected releases, on every Python found")
    add("--python", action="append", metavar="X.Y", choices=interpreters.ALL, help="only on this one; may be repeated")
    add("--thorough", action="store_true", help="thousands of examples and requests: takes its time")
    add("--seed", type=int, metavar="N", help="what Hypothesis draws depends on; by default a new one")
    add("--list", action="store_true", help="only say which cells would run")
    arguments = parser.parse_args(ours)
    known = [*RELEASES, *([] if arguments.fork else UNAFFECTED)]
    if not set(arguments.releases) <= set(known):
        parser.error("expected releases of %s; found %s" % (" ".join(known), " ".join(arguments.releases)))
    if arguments.all and arguments.releases:
        parser.error("expected either --all or releases, found both")
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    return arguments, pytest_arguments


def main(argv):
    arguments, pytest_arguments = parse(argv)
    wanted = DATA["pythons"] if arguments.fork else interpreters.ALL
    starts, left_out = interpreters.find(arguments.python or wanted)
    jobs = []
    for release, python in dict.fromkeys(choose(arguments, list(starts))):
        why = reason(release, python)
        if why is None:
            jobs.append(job(release, python, starts[python], arguments, pytest_arguments))
            # PyPy can run the suite, but takes long.
            if python in (arguments.python or ()) and python.startswith("pypy") and release in SELECTED["last"]:
                jobs.append(job(release, python, starts[python][0], arguments, pytest_arguments))
        else:
            left_out.setdefault(why, []).append("on Python " + python)
    pythons = sorted({job.columns[0] for job in jobs}, key=interpreters.ALL.index)
    print("%d cells, on Python %s" % (len(jobs), ", ".join(pythons)), flush=True)
    if arguments.list or not jobs:
        print("\n".join(job.name for job in jobs))
        say_left_out(left_out)
        return 0 if jobs else 2
    if not (arguments.all or arguments.releases or arguments.python or arguments.fork):
        left_out[LEFT_OUT] = ()
    environments.build()
    if arguments.all:
        os.environ["STARLETTE_BACKPORT_WHOLE"] = "1"  # Read by tests/conftest.py.
    if arguments.fork:
        environments.build_forks({job.columns[1].split()[0] for job in jobs})
    return run(jobs, ("Python", "Starlette"), left_out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
