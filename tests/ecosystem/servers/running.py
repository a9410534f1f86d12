"""Run a server in a process of its own, on a free port of this machine."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))

# Of these it gets its own, or none: they are about whoever runs this.
UNWANTED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "STARLETTE_BACKPORT_DISABLE", "WEB_CONCURRENCY")


class Server:
    """``command`` is that of the server, with ``{port}`` where the port goes; `patched` is about the backport."""

    def __init__(self, command, patched):
        self.command = command
        self.patched = patched
        self.process = None

    def __enter__(self):
        with contextlib.ExitStack() as exits:
            # To append, as reading it moves the place where the server would write, too.
            self.log = exits.enter_context(tempfile.TemporaryFile("a+b"))
            exits.callback(self.stop)
            try:
                # Somebody else may take the port before the server does.
                if not any(self.start() for _ in range(3)):
                    raise RuntimeError("the server ended before it answered")
            except Exception as error:
                raise RuntimeError("%s: %s\n%s" % (self.command, error, self.logged())) from error
            self.exits = exits.pop_all()
        return self

    def __exit__(self, *exc_info):
        self.exits.close()

    def start(self):
        """Return whether there is a server that answers."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        token = uuid.uuid4().hex
        environment = {name: value for name, value in os.environ.items() if name not in UNWANTED}
        # The same order of sets in all, as Allow lists methods from one.
        environment.update(SERVER_TOKEN=token, PYTHONUNBUFFERED="1", PYTHONHASHSEED="0")
        if not self.patched:
            environment["STARLETTE_BACKPORT_DISABLE"] = "1"
        self.process = subprocess.Popen(
            shlex.split(self.command.format(port=self.port)),
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            # A group of its own, for the processes that it starts itself to end with it.
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                facts = json.loads(self.get("/hello"))
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)
                continue
            if facts["token"] == token:
                if facts["applied"] is not self.patched:
                    raise RuntimeError("expected it %spatched, found %r" % ("" if self.patched else "un", facts))
                return True
        raise RuntimeError("the server has not answered for a minute")

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        # Connections that are still open keep some of them.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise ValueError("%s: status %d" % (path, response.status))
            return content.decode("utf-8")
        finally:
            connection.close()

    def step(self, name):
        """Let a handler of the application go on."""
        self.get("/step?name=" + name)

    def notes(self, name):
        return json.loads(self.get("/notes?name=" + name))

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")
