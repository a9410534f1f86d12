"""Run a server in a process of its own, on a free port of this machine."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
# These are about whoever runs the tests.
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "STARLETTE_BACKPORT_DISABLE", "WEB_CONCURRENCY")


class Server:
    """``command`` is that of the server, with ``{port}`` where the port goes; `patched` is about the backport."""

    def __init__(self, command, patched):
        self.command = command
        self.patched = patched

    def __enter__(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        # The same order of sets in all, as Allow lists methods from one.
        environment.update(PYTHONUNBUFFERED="1", PYTHONHASHSEED="0")
        if not self.patched:
            environment["STARLETTE_BACKPORT_DISABLE"] = "1"
        # To append, as reading it moves the place where the server would write, too.
        self.log = tempfile.TemporaryFile("a+b")
        self.process = subprocess.Popen(
            shlex.split(self.command.format(port=self.port)),
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # A group of its own, for the processes that it starts to end with it.
        )
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        """Wait until it answers, and check that it is patched, or not, as it should be."""
        deadline = time.monotonic() + 60
        while True:
            try:
                patched = json.loads(self.get("/patched"))
                break
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("%s does not answer:\n%s" % (self.command, self.logged())) from error
                time.sleep(0.05)
        if patched is not self.patched:
            raise RuntimeError("expected %s, found %s:\n%s" % (self.patched, patched, self.logged()))

    def __exit__(self, *exc_info):
        self.process.terminate()
        # Connections that are still open keep some of them.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def get(self, path):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open("http://127.0.0.1:%d%s" % (self.port, path), timeout=10) as response:
            return response.read().decode("utf-8")

    def step(self, name):
        """Let a handler of the application go on."""
        self.get("/step?name=" + name)

    def notes(self, name):
        return json.loads(self.get("/notes?name=" + name))

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")
