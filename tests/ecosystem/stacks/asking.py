"""A client without a server, that offers what it is told to."""

import asyncio
import inspect

from application import app

OFFER = {"http.response.template": {}}


def ask(path, extensions=OFFER, encoding="identity"):
    """Return type and status of the messages that came, and the body, or the error."""
    try:
        return asyncio.run(messages_for(path, extensions, encoding))
    except (AssertionError, RuntimeError, TypeError) as error:
        return repr(error)


async def messages_for(path, extensions, encoding):
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"server"), (b"accept-encoding", encoding.encode())],
        "extensions": extensions,
    }
    # The client says no more after that: it stays until it has the response.
    received = asyncio.Queue()
    received.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    sent = []

    async def send(message):
        body = message.get("body", b"").decode()
        sent.append([message["type"], message.get("status"), body])

    if "receive" in inspect.signature(app.__call__).parameters:
        await app(scope, received.get, send)
    else:  # ASGI 2
        await app(scope)(received.get, send)
    return sent
