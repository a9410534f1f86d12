"""Change the package in many small ways, one at a time, and see whether the tests notice."""

import argparse
import concurrent.futures
import contextlib
import functools
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import time

import environments
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from environments import DATA, RELEASES, ROOT, key
from mutants import mutants

EPILOG = """
Without a release, the last one of each form of the code: 0.11.4 (ASGI 2), 0.14.2 (ASGI 3) and 0.23.1 (anyio).

tests/survivors.json lists the mutants that no test can or needs to notice, and says why: they are not run.
Exits with 1 if another one survives, or if the list has an entry that fits no mutant any more.
The list is about Python 3.8 and later: on 3.6 and 3.7 other lines of _code.py are in use.
"""

PACKAGE = "starlette_backport"
FORMS = [("ASGI 2", "0.11.4"), ("ASGI 3", "0.14.2"), ("anyio", "0.23.1")]
LIST = os.path.join(ROOT, "tests", "survivors.json")
FOLDER = os.path.join(ROOT, ".tools", "mutation")

# The tests that are likely to notice a change of a module, and do so without Hypothesis, which takes its time
# to be imported. They come first; all others follow.
LIKELY = {
    "__init__": ["test_package.py"],
    "_backport": ["test_status.py", "test_revert.py", "test_apply.py"],
    "_code": ["test_errors.py", "test_refusal.py"],
    "_importing": ["test_apply.py"],
    "_installed": ["test_status.py", "test_refusal.py", "test_lean.py"],
    "_messages": ["test_errors.py", "test_carrying.py"],
    "_middleware": ["test_errors.py", "test_carrying.py", "test_same.py"],
    "_neighbours": ["test_testclient.py", "test_templates.py"],
    "_process": ["test_revert.py", "test_apply.py"],
    "_releases": ["test_status.py", "test_package.py"],
    "_responses": ["test_carrying.py"],
    "_shipped": ["test_refusal.py", "test_apply.py", "test_lean.py"],
    "pytest_plugin": ["test_pytest_plugin.py"],
}

# Hypothesis is to find a failing example, and not to go on until it has the smallest.
PLUGIN = """
import pytest
from hypothesis import Phase, settings

@pytest.hookimpl(trylast=True)
def pytest_configure():
    settings.register_profile("mutation", settings(), phases=[Phase.explicit, Phase.generate], database=None)
    settings.load_profile("mutation")
"""
KEPT_OUT = shutil.ignore_patterns(".git", ".tools", ".tox", ".envs", ".hypothesis", ".*_cache", "__pycache__", "dist")


def form_of(release):
    if key(release) < key("0.12.0b1"):
        return "ASGI 2"
    return "ASGI 3" if key(release) < key("0.15.0") else "anyio"


def source_of(module):
    with open(os.path.join(ROOT, PACKAGE, module + ".py"), encoding="utf-8") as file:
        return file.read()


def described(mutant):
    module, scope, line, becomes = mutant[:4]
    return "%s.py, %s: %s  ->  %s" % (module, scope or "module", line or "(nothing)", becomes or "(nothing)")


def entries(modules):
    """Return the list, only what is about `modules` if there are any."""
    try:
        with open(LIST, encoding="utf-8") as file:
            found = json.load(file)
        for entry in found:
            unknown = set(entry.get("forms", [])) - set(dict(FORMS))
            if unknown or not entry["why"] or any(len(pattern) != 4 for pattern in entry["mutants"]):
                raise ValueError(json.dumps(entry))
            entry["mutants"] = [pattern for pattern in entry["mutants"] if not modules or pattern[0] in modules]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        sys.exit(
            "expected tests/survivors.json to be a list of objects with 'why', 'mutants' (lists of module, function, "
            "line, replacement) and perhaps 'forms' (of %s), found %r" % (", ".join(dict(FORMS)), exc)
        )
    return found


def fits(pattern, mutant):
    """Return whether an entry of the list is about `mutant`: it says no line number, and * is anything."""
    return all(wanted in ("*", text) for wanted, text in zip(pattern, mutant))


class Copy:
    """A copy of the repository: the checkout is never changed, whatever interrupts us."""

    def __init__(self, path, python):
        self.path = path
        self.python = python
        self.process = None
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(ROOT, path, ignore=KEPT_OUT)
        with open(os.path.join(path, "quick_examples.py"), "w", encoding="utf-8") as file:
            file.write(PLUGIN)
        self.tests = sorted(name for name in os.listdir(os.path.join(path, "tests")) if name.startswith("test_"))

    def commands(self, module=None):
        """Return two commands for all tests: those that are likely to notice a change of `module`, and the rest."""
        pytest = [self.python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--basetemp", "tmp"]
        first = LIKELY.get(module, ["test_status.py"])
        rest = [name for name in self.tests if name not in first]
        # The same examples for each mutant.
        examples = ["-p", "quick_examples", "--hypothesis-seed=0"]
        return [
            [*pytest, "-p", "no:hypothesispytest", *("tests/" + name for name in first)],
            [*pytest, *examples, *("tests/" + name for name in rest)],
        ]

    def run(self, commands, timeout=None, **environment):
        """Run `commands`, up to the first that fails; return what that means, and what it said."""
        for command in commands:
            self.process = process = subprocess.Popen(
                command,
                cwd=self.path,
                env=dict(os.environ, PYTHONPATH=self.path, **environment),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                return "timed out", b""
            finally:
                self.stop()
                process.wait()
                self.process = None
            if process.returncode:
                return "killed", output
        return "survived", output

    def stop(self):
        """End the tests that are running, with all that they have started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def baseline(self, commands):
        """Run tests without a mutation; return the seconds that took."""
        started = time.monotonic()
        # All modules are compiled now, and not each time.
        outcome, output = self.run(commands, PYTHONDONTWRITEBYTECODE="")
        if outcome != "survived":
            sys.stdout.write(output.decode("utf-8", "replace"))
            sys.exit("expected the tests to pass without a mutation, but they fail: see above")
        return time.monotonic() - started

    def outcome(self, mutant, timeout):
        path = pathlib.Path(self.path, PACKAGE, mutant.module + ".py")
        with use_mutation(path, get_operator(mutant.operator)(), mutant.occurrence):
            # What was compiled of one mutant might be taken for the next one.
            return self.run(self.commands(mutant.module), timeout, PYTHONDONTWRITEBYTECODE="1")[0]


def set_up(release, python):
    """Return the Python of a new environment for `release`, with all that the tests need."""
    directory = os.path.join(FOLDER, "%s-py%s" % (release, python))
    environments.uv("venv", "--clear", "--python", python, os.path.join(directory, "env"))
    executable = os.path.join(directory, "env", "bin", "python")
    if subprocess.call([executable, os.path.join(environments.LIB, "environments.py"), release, "--tests"]):
        sys.exit("expected an environment for Starlette %s on Python %s: see above" % (release, python))
    # The tests are to import the copy, or nothing.
    environments.uv("pip", "uninstall", "--python", executable, "starlette-backport")
    return directory, executable


def run_all(work, arguments, directory, python):
    """Yield each mutant of `work` with what became of it, as soon as that is known."""
    free, futures = queue.Queue(), {}
    copies = [Copy(os.path.join(directory, "copy%d" % number), python) for number in range(arguments.workers)]

    def with_copy(function):
        copy = free.get()
        try:
            return function(copy)
        finally:
            free.put(copy)

    with concurrent.futures.ThreadPoolExecutor(len(copies)) as pool:
        try:
            seconds = max(pool.map(lambda copy: copy.baseline(copy.commands()), copies))
            print("The tests take %.0f s; there are %d mutants to run." % (seconds, len(work)), flush=True)
            for copy in copies:
                free.put(copy)
            # What comes first has to pass without what comes before it in other runs.
            firsts = [copies[0].commands(module)[:1] for module in {mutant.module for mutant in work}]
            list(pool.map(lambda first: with_copy(lambda copy: copy.baseline(first)), firsts))
            for mutant in work:
                task = functools.partial(Copy.outcome, mutant=mutant, timeout=3 * seconds + 10)
                futures[pool.submit(with_copy, task)] = mutant
            for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
                if future.result() == "survived":
                    print("[%4d/%d] survived: %s" % (number, len(work), described(futures[future])), flush=True)
                elif number % 50 == 0:
                    print("[%4d/%d]" % (number, len(work)), flush=True)
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()
            for copy in copies:
                copy.stop()


def run(release, arguments, modules):
    """Run the mutants of `modules`; return the row of the table, and whether all is well."""
    started = time.monotonic()
    form = form_of(release)
    listed = entries(arguments.module)
    patterns = [pattern for entry in listed if form in entry.get("forms", [form]) for pattern in entry["mutants"]]
    every = [mutant for module in modules for mutant in mutants(module, source_of(module))]
    explained = {mutant for mutant in every if any(fits(pattern, mutant) for pattern in patterns)}
    work = [mutant for mutant in every if arguments.explained or mutant not in explained]

    print("\nStarlette %s (%s), Python %s: setting up ..." % (release, form, arguments.python), flush=True)
    directory, python = set_up(release, arguments.python)
    report = os.path.join(directory, "results.json")
    outcomes = {}
    if arguments.resume and os.path.exists(report):
        with open(report, encoding="utf-8") as file:
            before = {tuple(mutant): outcome for *mutant, outcome in json.load(file)}
        outcomes = {mutant: before[mutant] for mutant in work if before.get(mutant, "survived") != "survived"}
    try:
        for mutant, outcome in run_all([m for m in work if m not in outcomes], arguments, directory, python):
            outcomes[mutant] = outcome
    finally:
        with open(report, "w", encoding="utf-8") as file:
            json.dump([[*mutant, outcome] for mutant, outcome in outcomes.items()], file, indent=0)

    survivors = {mutant for mutant in work if outcomes[mutant] == "survived"}
    unexplained = [mutant for mutant in work if mutant in survivors - explained]
    stale = [p for entry in listed for p in entry["mutants"] if not any(fits(p, mutant) for mutant in every)]
    for what, found in (
        ("Survived, and is not explained", unexplained),
        ("Explained, but fits no mutant", stale),
        ("Explained, but noticed here", [mutant for mutant in work if mutant in explained - survivors]),
    ):
        for mutant in found:
            print("%s: %s" % (what, described(mutant)))
    count = list(outcomes.values()).count
    score = 100 * (1 - len(unexplained) / (len(every) - len(explained) or 1))
    row = (form, release, len(every), count("killed"), count("timed out"), len(explained), len(unexplained), score)
    return (*row, (time.monotonic() - started) / 60), not unexplained and not stale


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/mutation",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    every = sorted(name[:-3] for name in os.listdir(os.path.join(ROOT, PACKAGE)) if name.endswith(".py"))
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="of Starlette, for instance 0.14.2")
    parser.add_argument(
        "--python", default=environments.THIS_PYTHON, choices=DATA["pythons"], help="default: the one at hand"
    )
    parser.add_argument("--module", action="append", choices=every, help="only this one; may be repeated")
    parser.add_argument("--explained", action="store_true", help="run those of the list, too: do they still survive?")
    parser.add_argument("--resume", action="store_true", help="leave out what the run before has noticed")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="at a time; default: one for each CPU")
    arguments = parser.parse_args(argv)
    arguments.releases = arguments.releases or [release for _, release in FORMS]
    for release in arguments.releases:
        if release not in RELEASES:
            parser.error(
                "expected affected releases of Starlette, found %r; they are: %s" % (release, " ".join(RELEASES))
            )
        problem = environments.supports(release, arguments.python)
        if problem:
            parser.error("%s: choose another one with --python, or another release" % problem)
    if arguments.workers < 1:
        parser.error("expected one worker at least, found %d" % arguments.workers)
    return arguments, arguments.module or every


def main(argv):
    arguments, modules = parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = [run(release, arguments, modules) for release in arguments.releases]
    print(
        "\n%-7s %-9s %8s %7s %10s %10s %12s %8s %5s"
        % (*("Form", "Starlette", "mutants", "killed", "timed out", "explained", "unexplained", "score", "min"),)
    )
    for row, _ in rows:
        print("%-7s %-9s %8d %7d %10d %10d %12d %7.1f%% %5.1f" % row)
    print("\nThe score is the share of those noticed among those that are not explained.")
    return 0 if all(good for _, good in rows) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted; what was found out so far is kept for --resume")
