"""Run the tests of tests/ecosystem/servers on real servers: with the backport and without it, to the same effect."""

import argparse
import functools
import json
import os
import shlex
import sys

import environments
from environments import DATA, ROOT, supports
from runner import Job, LeftOutError, run, say_left_out, split

TESTS = os.path.join("tests", "ecosystem", "servers")
EPILOG = """
Without a name all rows run, or with --load those of the data that are for it. A name may be a part of one, such as
0.14.2 or hypercorn-today. Arguments after -- go to pytest: scripts/servers 0.14.2-hypercorn-today -- -k promise
"""

with open(os.path.join(ROOT, TESTS + ".json")) as file:
    ROWS = json.load(file)


def name_of(row):
    return "%s-%s-%s" % (row["starlette"], row["server"], row["of"])


def python_for(row, found):
    """Return the version of the Python for `row`. Raises LeftOutError where it is not `found`."""
    era = DATA["era"]["pythons"]
    fitting = [python for python in DATA["pythons"] if supports(row["starlette"], python) is None]
    fitting = era[-1:] if row["of"] == "era" else [python for python in reversed(fitting) if python not in era]
    for python in fitting:
        if python in found:
            return python
    raise LeftOutError(environments.not_found(fitting))


def prepare(row, python, path, arguments, folder):
    """Make the environment of `row`; return the command that tests its server, and the versions in it."""
    server, release = ROWS["servers"][row["server"]], row["starlette"]
    executable = environments.make(folder, path)
    environments.install(executable, python, release)
    options = [] if row.get("dependencies", True) else ["--no-deps"]
    options += ["--exclude-newer", environments.era(release)] if row["of"] == "era" else []
    wanted = row.get("requirements", server["requirements"])
    try:
        environments.uv("pip", "install", "--python", executable, *options, *wanted)
    except SystemExit as error:
        if "needs" in row:
            raise LeftOutError("It could not be installed, as it needs %s" % row["needs"]) from error
        raise
    found = environments.freeze(executable)
    serve = os.path.join(shlex.quote(os.path.dirname(executable)), server["command"])
    # Without the conftest.py of tests, which needs a Starlette in this environment.
    command = [sys.executable, "-m", "pytest", "--confcutdir", TESTS, TESTS, "--serve", serve, *arguments]
    versions = ", ".join("%s %s" % (name, found[name]) for name in server["shown"])
    return [*command, *["--http2"] * ("http2" in server)], versions


def measure(jobs):
    """Print what load on the servers of `jobs` shows; return whether no request has failed."""
    import load

    print(load.HOW)
    good = []
    for job in jobs:
        try:
            command, versions = job.prepare(job.folder)
        except LeftOutError as error:
            print("\n%s: %s" % (job.name, error))
            continue
        print("\n%s: %s" % (", Python ".join(job.columns), versions), flush=True)
        good.append(load.measure(command[command.index("--serve") + 1]))
    return all(good)


def main(argv):
    ours, pytest_arguments = split(argv)
    parser = argparse.ArgumentParser(
        prog="scripts/servers", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of rows; --list has them")
    parser.add_argument("--list", action="store_true", help="only say which rows there are, and why")
    parser.add_argument("--load", action="store_true", help="measure, under load, and do not test")
    arguments = parser.parse_args(ours)
    rows = ROWS["rows"]
    for name in arguments.names:
        if not any(name in name_of(row) for row in rows):
            parser.error("expected names of rows or parts of such, found %r; scripts/servers --list has them" % name)
    if arguments.names:
        rows = [row for row in rows if any(name in name_of(row) for name in arguments.names)]
    elif arguments.load:
        rows = [row for row in rows if row.get("load")]
    if arguments.list:
        for row in rows:
            print("%-30s %s" % (name_of(row), row["why"]))
        return 0
    found, jobs, left_out = environments.pythons_found(), [], {}
    for row in rows:
        name = name_of(row)
        try:
            python = python_for(row, found)
        except LeftOutError as error:
            left_out.setdefault(str(error), []).append(name)
            continue
        make = functools.partial(prepare, row, python, found[python], pytest_arguments)
        jobs.append(Job("server-" + name, (name, python), "scripts/servers " + name, make))
    if not jobs:
        say_left_out(left_out)
        return 2
    environments.build()
    good = measure(jobs) if arguments.load else run(jobs, ("Starlette and server", "Python"), left_out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
