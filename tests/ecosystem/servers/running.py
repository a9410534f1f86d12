"""Run a server in a process of its own, on a free port of this machine."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
STACKS = os.path.join(os.path.dirname(HERE), "stacks")


class Server:
    """A server, and whether its Starlette is patched.

    `command` has ``{port}`` where the port goes. What the server prints goes to
    `output`, by default where this process prints. So pytest shows it where a test
    fails.
    """

    def __init__(self, command, patched, output=None):
        self.command = command
        self.patched = patched
        self.output = output

    def __enter__(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        environment = {
            "PYTHONPATH": STACKS,
            "PYTHONUNBUFFERED": "1",
            # The same order of sets in all, as Allow lists methods from one.
            "PYTHONHASHSEED": "0",
            "STARLETTE_BACKPORT_DISABLE": str(not self.patched),
            "WEB_CONCURRENCY": "1",
        }
        self.process = subprocess.Popen(
            shlex.split(self.command.format(port=self.port)),
            cwd=HERE,
            env=dict(os.environ, **environment),
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            # A group of its own, so that the processes that it starts end with it.
            start_new_session=True,
        )
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        """Wait until it answers, and check that it is patched, or that it is not."""
        deadline = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                assert self.get("/state")["patched"] is self.patched
                return
            time.sleep(0.05)
        raise RuntimeError("It does not answer: " + self.command)

    def __exit__(self, *exc_info):
        self.process.terminate()
        # Connections that are still open keep some of them.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(3)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def get(self, path, name=""):
        """Ask the application for its state. With /step one of its handlers goes on."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        url = "http://127.0.0.1:%d%s?name=%s" % (self.port, path, name)
        with opener.open(url, timeout=10) as response:
            return json.loads(response.read().decode())
