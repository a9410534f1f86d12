"""Plant faults in copies of the package, one in each, and see whether the test that must notice it fails.

Each file in tests/faults is a small diff. Its first lines say what a user would see, and name the test and the release.
Without a name all faults run. Exits with 1 where a fault is missed, or a diff does not apply any more.
"""

import argparse
import concurrent.futures
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import typing

import environments
from environments import ROOT, TOOLS, supports

FOLDER = os.path.join(ROOT, "tests", "faults")

# Hypothesis is to find a failing example, and not to go on until it has the smallest.
PLUGIN = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure():
    from hypothesis import Phase, settings
    settings.register_profile("faults", settings(), phases=[Phase.explicit, Phase.generate])
    settings.load_profile("faults")
"""
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "ecosystem", "dist")


class Fault(typing.NamedTuple):
    name: str
    user: str  # What a user would see.
    test: str
    release: str


def read(name):
    """Return the fault of this name."""
    with open(os.path.join(FOLDER, name + ".diff"), encoding="utf-8") as file:
        found = dict(re.findall("^(User|Test|Release): (.+)$", file.read(), re.M))
    return Fault(name, found["User"], found["Test"], found["Release"])


def make(release, python, path):
    """Make an environment for `release`, without the package; return its Python."""
    executable = environments.make(os.path.join(TOOLS, "faults", "%s-py%s" % (release, python)), path)
    environments.install(executable, python, release, tests=True)
    environments.uv("pip", "uninstall", "--python", executable, "starlette-backport")
    return executable


def passes(fault, executable, plant):
    """Run the test of `fault` on a copy of the checkout; return whether it passes, or what else is wrong.

    With `plant` the copy has the fault.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = os.path.join(temporary, "copy")
        shutil.copytree(ROOT, copy, ignore=IGNORED)
        with open(os.path.join(copy, "unshrunk.py"), "w", encoding="utf-8") as file:
            file.write(PLUGIN)
        # Outside of any checkout, where git would leave files alone that this checkout does not have.
        variables = dict(os.environ, PYTHONPATH=copy, GIT_CEILING_DIRECTORIES=temporary)
        run = functools.partial(
            subprocess.run, cwd=copy, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if plant:
            applied = run(["git", "apply", "-C1", os.path.join(FOLDER, fault.name + ".diff")])
            if applied.returncode:
                return "DOES NOT APPLY: " + applied.stdout.strip().replace("\n", "; ")
        command = [executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "unshrunk", fault.test]
        # A property may miss a fault in one run, but scripts/test runs it in many cells.
        for seed in range(3 if plant else 1):
            tested = run([*command, "--hypothesis-seed=%d" % seed])
            if tested.returncode:
                break
    if tested.returncode == 0 and " passed" in tested.stdout:
        return True
    if tested.returncode == 1 and plant:
        return False
    what = "PASSES NO TEST WITH THE FAULT" if plant else "PASSES NO TEST WITHOUT THE FAULT"
    return "%s:\n%s" % (what, tested.stdout[-2000:])


def verdict(fault, sound, executable):
    """Return what becomes of `fault`; `sound` says whether its test passes without it."""
    if sound is not True:
        return sound
    outcome = passes(fault, executable, True)
    return {True: "MISSED", False: "caught"}.get(outcome, outcome)


def main(argv):
    names = sorted(entry[:-5] for entry in os.listdir(FOLDER) if entry.endswith(".diff"))
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__, formatter_class=style)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a fault: a file in tests/faults without .diff")
    found = environments.pythons_found()
    python = environments.THIS_PYTHON
    parser.add_argument("--python", default=python, choices=list(found), help="default: %(default)s, which runs this")
    parser.add_argument("--list", action="store_true", help="only say which faults there are")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in names:
            parser.error("expected names of faults, found %r; --list has them" % name)
    faults = [read(name) for name in arguments.names or names]
    if arguments.list:
        for fault in faults:
            print("%-28s %s" % (fault.name, fault.user))
        return 0
    for release in sorted({fault.release for fault in faults}):
        if supports(release, arguments.python):
            parser.error("%s; choose another one with --python" % supports(release, arguments.python))

    environments.build()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pythons = {fault.release: None for fault in faults}
        made = pool.map(lambda release: make(release, arguments.python, found[arguments.python]), pythons)
        pythons = dict(zip(pythons, made))
        print("%d faults, on Starlette %s" % (len(faults), ", ".join(pythons)), flush=True)
        first = {(fault.test, fault.release): fault for fault in faults}
        outcomes = pool.map(lambda fault: passes(fault, pythons[fault.release], False), first.values())
        sound = dict(zip(first, outcomes))
        tasks = [pool.submit(verdict, f, sound[f.test, f.release], pythons[f.release]) for f in faults]
        for fault, task in zip(faults, tasks):
            test = fault.test.rpartition("/")[2]
            print("%-28s %-7s %-88s %s" % (fault.name, fault.release, test, task.result()), flush=True)
    caught = sum(task.result() == "caught" for task in tasks)
    print("%d of %d faults were caught by the test that is named" % (caught, len(faults)))
    return 0 if caught == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
