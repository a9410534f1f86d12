"""What happens on the release as it was shipped, where the tests themselves run on a patched build.

That takes a process of its own, with the release installed aside: see scripts/lib/environments.py. One serves
the cases that are drawn; another one runs those tests that compare with the release, and keeps what comes of it.
"""

import collections
import contextlib
import functools
import os
import pickle
import subprocess
import sys
import tempfile
import traceback

import support

import starlette_backport

SHIPPED = os.path.join(sys.prefix, "shipped")
TESTS = os.path.dirname(os.path.abspath(__file__))


def start(*arguments, **kwargs):
    """Start Python where Starlette is the release as shipped."""
    if not os.path.isdir(SHIPPED):
        raise RuntimeError("expected the release as shipped in %s: set up with scripts/test --fork" % SHIPPED)
    path = [SHIPPED, TESTS, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path), **kwargs.pop("env", {}))
    return subprocess.Popen([sys.executable, *arguments], cwd=TESTS, env=environment, **kwargs)


# The file to keep outcomes in, and these by their tests.
RECORD = os.environ.get("STARLETTE_BACKPORT_RECORD")
record = collections.defaultdict(list)


def unpatched(function):
    """Return what `function` returns on the release as shipped; on that, call it."""
    test = os.environ["PYTEST_CURRENT_TEST"].split("/")[-1]
    if support.FORK:
        return recorded()[test].pop(0)
    outcome = function()
    if RECORD:
        record[test].append(outcome)
    return outcome


def write_record():
    if RECORD:
        with open(RECORD, "wb") as file:
            pickle.dump(dict(record), file)


@functools.lru_cache(maxsize=None)
def recorded():
    """Return what a run on the release as shipped has kept."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "record")
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_same.py", "test_templates.py"]
        process = start(
            *pytest, env={"STARLETTE_BACKPORT_RECORD": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = process.communicate()
        if process.returncode:
            raise AssertionError("the tests failed on the release as shipped:\n" + output.decode("utf-8", "replace"))
        with open(path, "rb") as file:
            return pickle.load(file)


def here(case, backend, applied=False):
    """Serve `case` in this process."""
    with contextlib.ExitStack() as stack:
        if applied:
            stack.enter_context(starlette_backport.applied())
        return case.serve(backend)


class Peer:
    """The process; a context manager."""

    def __enter__(self):
        self.process = start("-c", "import peer; peer.main()", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *exc_info):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)

    def serve(self, case, backend, applied=False):
        """Return the outcome of `case` on the release as shipped, or with the backport applied."""
        pickle.dump((case, backend, applied), self.process.stdin)
        self.process.stdin.flush()
        outcome = pickle.load(self.process.stdout)
        if isinstance(outcome, str):
            raise AssertionError("the other process failed: " + outcome)
        return outcome


def main():
    """Serve the cases on standard input."""
    assert not support.FORK
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What applications print.
    while True:
        try:
            case, backend, applied = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            outcome = here(case, backend, applied)
        except Exception:
            outcome = traceback.format_exc()
        pickle.dump(outcome, output)
        output.flush()
