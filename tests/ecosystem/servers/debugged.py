"""Run a module under debugpy as an editor does: ``python debugged.py uvicorn ARGUMENTS``.

A debugger attaches, and sets a breakpoint that never stops: from then on debugpy looks at the code of all calls. The
debugger is a thread of this process.
"""

import json
import os
import runpy
import socket
import sys
import threading

import debugpy

APPLICATION = os.path.join(os.path.dirname(os.path.abspath(__file__)), "application.py")

REQUESTS = [
    ("initialize", {"adapterID": "tests"}),
    ("attach", {"justMyCode": False}),
    ("setBreakpoints", {"source": {"path": APPLICATION}, "breakpoints": [{"line": 1, "condition": "False"}]}),
    ("configurationDone", {}),
]


def attach(address):
    client = socket.create_connection(address)
    received = b""
    for number, (command, arguments) in enumerate(REQUESTS, 1):
        message = {"seq": number, "type": "request", "command": command, "arguments": arguments}
        content = json.dumps(message).encode()
        client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        while command == "attach" and b'"initialized"' not in received:  # Until then it takes no breakpoints.
            received += client.recv(65536)
    while client.recv(65536):
        pass


threading.Thread(target=attach, args=[debugpy.listen(("127.0.0.1", 0))], daemon=True).start()
debugpy.wait_for_client()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
