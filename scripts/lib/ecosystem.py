"""Run tests/ecosystem: third-party packages and servers in environments of their own, as its JSON files say.

Without a name all rows run. Arguments after -- go to pytest, for instance: scripts/stacks fastapi-0.90.1 -- -k mounted
"""

import argparse
import functools
import json
import os
import re
import shlex
import sys

import environments
from environments import DATA, ROOT, LeftOutError, supports
from runner import Job, run, say_left_out, split

KIND = sys.argv[1]  # "stacks" or "servers"
TESTS = os.path.join("tests", "ecosystem", KIND)
ERA = DATA["era"]["pythons"]

with open(os.path.join(ROOT, TESTS + ".json")) as file:
    TABLE = json.load(file)


def prepare_stack(row, python, path, arguments, job):
    """Make the environment of `row` of the stacks; return the command that runs its tests."""
    executable = environments.make(job.folder, path)
    here = ["--python", executable]
    as_of = ["--exclude-newer", row["as_of"]] if "as_of" in row else []
    environments.uv("pip", "install", *row["requirements"], *as_of, *here)
    # What the tests need must not move what they are about: an older pytest is fine.
    constraints = os.path.join(job.folder, "stack.txt")
    environments.write(constraints, "".join("%s==%s\n" % item for item in environments.freeze(executable).items()))
    environments.uv("pip", "install", *TABLE["tools"], "--constraint", constraints, *here)
    versions = environments.install_package(executable)
    names = ["starlette", *(re.match(r"[\w.-]+", requirement).group() for requirement in row["requirements"])]
    job.note = ", ".join("%s %s" % (name, versions[name]) for name in dict.fromkeys(names))
    # Some of what is tested has a plugin for pytest, and would be imported by it.
    job.variables["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    tests = [os.path.join(TESTS, name) for name in row["tests"]]
    pytest = environments.pytest(executable)
    return [pytest, "-q", "-p", "pytest_forked", "--confcutdir", TESTS, *tests, *arguments]


def prepare_server(row, python, path, arguments, job):
    """Make the environment of `row` of the servers; return the command that tests its server."""
    server, release = TABLE["servers"][row["server"]], row["starlette"]
    executable = environments.make(job.folder, path)
    environments.install(executable, python, release)
    options = [] if row.get("dependencies", True) else ["--no-deps"]
    options += ["--exclude-newer", environments.era(release)] if row["of"] == "era" else []
    wanted = row.get("requirements", server["requirements"])
    try:
        environments.uv("pip", "install", "--python", executable, *options, *wanted)
    except SystemExit as error:
        if "needs" in row:
            raise LeftOutError("It could not be installed, as it needs " + row["needs"]) from error
        raise
    versions = environments.freeze(executable)
    job.note = ", ".join("%s %s" % (name, versions[name]) for name in server["shown"])
    serve = os.path.join(shlex.quote(os.path.dirname(executable)), server["command"])
    http2 = ["--http2"] * ("http2" in server)
    return [sys.executable, "-m", "pytest", "--confcutdir", TESTS, TESTS, "--serve", serve, *http2, *arguments]


def pythons_for(row):
    """Return the Pythons that `row` may run on, the best one first."""
    if "pythons" in row:
        return row["pythons"]
    if row["of"] == "era":
        return ERA[-1:]
    pythons = [python for python in DATA["pythons"] if python not in ERA and not supports(row["starlette"], python)]
    return pythons[::-1]


def measure(jobs):
    """Print what load on the servers of `jobs` shows; return the exit status."""
    import load

    print(load.HOW)
    good = []
    for job in jobs:
        command = job.prepare(job)
        print("\n%s: %s" % (", Python ".join(job.columns), job.note), flush=True)
        good.append(load.measure(command[command.index("--serve") + 1]))
    return 0 if all(good) else 1


def main(argv):
    ours, pytest_arguments = split(argv)
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/" + KIND, description=__doc__, formatter_class=style)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of rows, or a part of one, such as fastapi or 0.14.2")
    parser.add_argument("--python", metavar="X.Y", choices=DATA["pythons"], help="only on this Python")
    parser.add_argument("--list", action="store_true", help="only say which rows there are, and why")
    if KIND == "servers":
        parser.add_argument("--load", action="store_true", help="measure, under load, and do not test")
    arguments = parser.parse_args(ours)
    rows = TABLE.get("stacks") or TABLE["rows"]
    for row in rows:
        row.setdefault("name", "%s-%s-%s" % (row.get("starlette"), row.get("server"), row.get("of")))
    for name in arguments.names:
        if not any(name in row["name"] for row in rows):
            parser.error("expected the name of a row or a part of one, found %r; --list has them" % name)
    if arguments.names:
        rows = [row for row in rows if any(name in row["name"] for name in arguments.names)]
    elif KIND == "servers" and arguments.load:
        rows = [row for row in rows if row.get("load")]

    found, jobs, left_out = environments.pythons_found(), [], {}
    for row in rows:
        wanted = [python for python in pythons_for(row) if arguments.python in (None, python)]
        python = next((python for python in wanted if python in found), None)
        if python is None:
            reason = environments.not_found(wanted) if wanted else "Not for Python " + arguments.python
            left_out.setdefault(reason, []).append(row["name"])
            continue
        again = "scripts/%s %s --python %s" % (KIND, row["name"], python)
        prepare = {"stacks": prepare_stack, "servers": prepare_server}[KIND]
        make = functools.partial(prepare, row, python, found[python], pytest_arguments)
        jobs.append(Job("%s-%s" % (KIND, row["name"]), (row["name"], python), again, make))
        if arguments.list:
            print("%-30s Python %-5s %s" % (row["name"], python, ", ".join(row.get("requirements", []))))
            print("%-30s %s" % ("", row["why"]))
    if arguments.list or not jobs:
        say_left_out(left_out)
        return 0 if jobs else 2
    environments.build()
    if KIND == "servers" and arguments.load:
        return measure(jobs)
    return run(jobs, ("", "Python"), left_out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
