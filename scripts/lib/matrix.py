"""Run the test suite in many cells: a release of Starlette on a Python each."""

import argparse
import functools
import os
import random
import sys

import environments
import interpreters
import patches
from environments import DATA, RELEASES, UNAFFECTED, key, supports
from runner import Job, LeftOutError, run, say_left_out, split

EPILOG = """
Without a release, a selection that touches every form of the code and every Python found: the closing lines say what
is left out. Tests that hardly depend on the release run on the last one of each form, and with --all everywhere.
Arguments after -- go to pytest, for instance: scripts/test 0.14.2 -- -k gzip -x
What Hypothesis draws depends on the seed alone; the command that draws the same again is printed with a failure.
"""


def selection(pythons):
    """Return the cells of the default run: pairs of a release and a Python."""
    chosen = DATA["selected"]
    suite = [python for python in pythons if python in DATA["pythons"]]
    # Most of them where the dependencies are those of their time, if there is such a Python.
    home = [python for python in suite if python in DATA["era"]["pythons"]][-1:] + suite
    cells = []
    for release in chosen["last"] + chosen["first"] + chosen["homes"] + chosen["others"] + list(UNAFFECTED):
        cells += [(release, python) for python in home if supports(release, python) is None][:1]
    for number, python in enumerate(python for python in suite if python not in home[:1]):
        *queue, anyio = chosen["last"]
        cells += [(queue[number % len(queue)], python), (anyio, python)]
    for release in chosen["first"]:
        cells += [(release, python) for python in suite[-1:]]
    others = [python for python in pythons if python not in suite]
    return cells + [(release, python) for python in others for release in chosen["last"]]


def fork_selection(pythons):
    """Return the first and the last release of each range in patches/, on the oldest and the newest Python."""
    cells = []
    for release in "-".join(patches.ranges()).split("-"):
        fitting = [python for python in pythons if python in DATA["pythons"] and supports(release, python) is None]
        cells += [(release, python) for python in fitting[:1] + fitting[-1:]]
    return cells


def choose(arguments, pythons):
    """Return the cells to run."""
    if arguments.all or arguments.releases:
        return [(release, python) for python in pythons for release in arguments.releases or RELEASES]
    if arguments.fork:
        return fork_selection(pythons)
    if arguments.python and all(python in DATA["interpreters"] for python in pythons):
        releases = [release for name in ("first", "homes", "last") for release in DATA["selected"][name]]
        return [(release, python) for python in pythons for release in sorted(releases, key=key)]
    return selection(pythons)


def job(release, python, start, arguments, pytest_arguments):
    """Return what runs one cell."""
    name = "starlette%s%s-%s" % (release, "-fork" * arguments.fork, python)
    options = " --fork" * arguments.fork + " --thorough" * arguments.thorough
    again = "scripts/test %s --python %s%s --seed %d" % (release, python, options, arguments.seed)
    columns = (python, release + " fork" * arguments.fork)
    if isinstance(start, list):
        prepare = functools.partial(interpreters.prepare, start, release, python)
        return Job(name, columns, "scripts/test %s --python %s" % (release, python), prepare)

    def prepare(folder):
        executable = environments.make(folder, start)
        environments.install(executable, python, release, tests=True, fork=arguments.fork)
        command = [executable, "-m", "pytest", "--hypothesis-seed=%d" % arguments.seed, *(pytest_arguments or ["-q"])]
        whole = arguments.all or release in DATA["selected"]["last"]
        command += ["--hypothesis-profile=thorough"] * arguments.thorough
        return command, "whole suite" if whole else "tests that depend on the release"

    return Job(name, columns, again, prepare)


def parse(argv):
    ours, pytest_arguments = split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/test", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*RELEASES, *UNAFFECTED]
    pythons = DATA["pythons"] + list(DATA["interpreters"])
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    parser.add_argument("--fork", action="store_true", help="run on the builds of scripts/build-fork")
    parser.add_argument("--all", action="store_true", help="all affected releases, on every Python found")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this Python; may be repeated")
    parser.add_argument("--thorough", action="store_true", help="thousands of examples and requests: takes its time")
    parser.add_argument("--seed", type=int, metavar="N", help="what Hypothesis draws depends on; by default a new one")
    parser.add_argument("--list", action="store_true", help="only say which cells would run")
    arguments = parser.parse_args(ours)
    for release in arguments.releases:
        if release not in (RELEASES if arguments.fork else known):
            parser.error("expected releases of %s; found %r" % (" ".join(known), release))
    for python in arguments.python or []:
        if python not in pythons:
            parser.error("expected a Python of %s, found %r" % (", ".join(pythons), python))
    if arguments.all and arguments.releases:
        parser.error("expected either --all or releases, found both")
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(2**32)
    return arguments, pytest_arguments


def main(argv):
    arguments, pytest_arguments = parse(argv)
    found, left_out, starts = environments.pythons_found(), {}, {}
    for python in arguments.python or DATA["pythons"] + list(DATA["interpreters"]):
        try:
            if python in DATA["interpreters"]:
                starts[python] = interpreters.set_up(python, found)
            elif python in found:
                starts[python] = found[python]
            else:
                left_out[environments.not_found([python])] = []
        except LeftOutError as error:
            left_out[str(error)] = []
    cells = []
    for release, python in dict.fromkeys(choose(arguments, list(starts))):
        reason = supports(release, python)
        if python in DATA["interpreters"] and release in UNAFFECTED:
            reason = "Starlette %s is not affected: the program would show no bug" % release
        if reason is None:
            cells.append((release, python))
        else:
            left_out.setdefault(reason, []).append("on Python " + python)
    print("%d cells, on Python %s" % (len(cells), ", ".join(dict.fromkeys(python for _, python in cells))), flush=True)
    jobs = [job(release, python, starts[python], arguments, pytest_arguments) for release, python in cells]
    if arguments.list or not jobs:
        print("\n".join(job.name for job in jobs))
        say_left_out(left_out)
        return 0 if jobs else 2
    if not (arguments.all or arguments.releases or arguments.python or arguments.fork):
        left_out["A selection ran. All releases run on all these Pythons by scripts/test --all"] = []
    environments.build()
    if arguments.all:
        os.environ["STARLETTE_BACKPORT_WHOLE"] = "1"  # Read by tests/conftest.py.
    if arguments.fork:
        environments.build_forks({release for release, _ in cells})
    return 0 if run(jobs, ("Python", "Starlette"), left_out) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
