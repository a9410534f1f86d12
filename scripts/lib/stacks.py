"""Run the tests of tests/ecosystem/stacks/ in the environments of tests/ecosystem/stacks.json."""

import argparse
import functools
import json
import os
import re
import sys

import environments
from environments import ROOT
from runner import Job, run, say_left_out, split

TESTS = os.path.join("tests", "ecosystem", "stacks")
EPILOG = """
Without a name, all of them. Arguments after -- go to pytest, for instance: scripts/stacks fastapi-0.90.1 -- -k mounted
A stack runs on one Python, the first of those that it names that is there; with --python, on that one.
"""

with open(os.path.join(ROOT, TESTS + ".json")) as file:
    DATA = json.load(file)


def prepare(row, python, pytest_arguments, folder):
    """Make the environment of `row`; return the command that runs its tests, and the versions that it is about."""
    executable = environments.make(folder, python)
    here = ["--python", executable]
    era = ["--exclude-newer", row["as_of"]] if "as_of" in row else []
    environments.uv("pip", "install", *row["requirements"], *era, *here)
    # What the tests need must not move what they are about: an older pytest is fine.
    constraints = os.path.join(folder, "stack.txt")
    environments.write(constraints, "".join("%s==%s\n" % item for item in environments.freeze(executable).items()))
    environments.uv("pip", "install", *DATA["tools"], "--constraint", constraints, *here)
    versions = environments.install_package(executable)
    names = ["starlette", *(re.match(r"[\w.-]+", requirement).group() for requirement in row["requirements"])]
    # tests/conftest.py is for the other suite: it imports Starlette.
    command = [executable, "-m", "pytest", "-q", "-p", "pytest_forked", "--confcutdir", TESTS]
    command += [os.path.join(TESTS, name) for name in row["tests"]]
    return command + pytest_arguments, ", ".join("%s %s" % (name, versions[name]) for name in dict.fromkeys(names))


def main(argv):
    ours, pytest_arguments = split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/stacks", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a stack, or what it begins with, such as fastapi")
    parser.add_argument("--python", metavar="X.Y", choices=environments.DATA["pythons"], help="only on this Python")
    parser.add_argument("--list", action="store_true", help="only say which stacks there are, and why")
    arguments = parser.parse_args(ours)
    rows = DATA["stacks"]
    for name in arguments.names:
        if not any(row["name"].startswith(name) for row in rows):
            parser.error("expected the name of a stack, found %r; scripts/stacks --list has them" % name)
    found, jobs, left_out = environments.pythons_found(), [], {}
    for row in rows:
        if arguments.names and not row["name"].startswith(tuple(arguments.names)):
            continue
        wanted = [python for python in row["pythons"] if arguments.python in (None, python)]
        python = next((python for python in wanted if python in found), None)
        if python is None:
            reason = environments.not_found(wanted) if wanted else "Not for Python " + arguments.python
            left_out.setdefault(reason, []).append(row["name"])
            continue
        again = "scripts/stacks %s --python %s" % (row["name"], python)
        # Some of what is tested has a plugin for pytest, and would be imported by it.
        variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        make = functools.partial(prepare, row, found[python], pytest_arguments)
        jobs.append(Job(row["name"], (row["name"], python), again, make, variables))
        if arguments.list:
            print("%-24s Python %-5s %s" % (row["name"], python, ", ".join(row["requirements"])))
            print("%-24s %s" % ("", row["why"]))
    if arguments.list or not jobs:
        say_left_out(left_out)
        return 0 if jobs else 2
    environments.build()
    return 0 if run(jobs, ("Stack", "Python"), left_out) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
