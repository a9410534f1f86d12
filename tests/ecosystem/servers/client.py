"""Clients that leave out nothing but what chance decides.

What they return is all the rest that came over the wire.
"""

import contextlib
import re
import socket
import types

import h2.config
import h2.connection
import h2.events
import websockets.exceptions
import websockets.sync.client

TIMEOUT = 20
# The time of day; and the answer to a key that the client draws.
BY_CHANCE = {"date", "sec-websocket-accept"}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


def without_chance(raw):
    """Return `raw` without the time of day, which is also in what gzip makes."""
    raw = re.sub(rb"(?im)^date: [^\r\n]*\r\n", b"", raw)
    return re.sub(rb"(?s)(?<=\x1f\x8b\x08.)....", b"....", raw)


class Http1:
    """A connection with HTTP/1.1, byte by byte."""

    def __init__(self, server):
        self.socket = connect(server)
        self.close = self.socket.close
        self.received = b""

    def send(self, method, target, headers=(), body=b"", after="close"):
        """Send a request. `after` it the server closes the connection, or keeps it."""
        lines = [
            "%s %s HTTP/1.1" % (method, target),
            "Host: server",
            "Content-Length: %d" % len(body),
            "Connection: " + after,
            *("%s: %s" % header for header in headers),
        ]
        self.socket.sendall("\r\n".join([*lines, "\r\n"]).encode() + body)

    def until(self, expected):
        """Return what was received since the last call, up to `expected`."""
        while expected not in self.received:
            more = self.socket.recv(65536)
            assert more, "received %r and then the end" % self.received
            self.received += more
        found, _, self.received = self.received.partition(expected)
        return without_chance(found + expected)

    def rest(self, timeout=TIMEOUT):
        """Return what was received since the last call, or None if there is no end."""
        self.socket.settimeout(timeout)
        try:
            for more in iter(lambda: self.socket.recv(65536), b""):
                self.received += more
        except socket.timeout:
            return None
        return without_chance(self.received)


def http1(server, *request):
    with contextlib.closing(Http1(server)) as connection:
        connection.send(*request)
        return connection.rest()


def http2(server, method, path, headers=(), body=b""):
    """Return what came for the request, and for each push that was promised."""
    config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    fields = [
        (":method", method),
        (":path", path),
        (":scheme", "http"),
        (":authority", "server"),
        *((name.lower(), value) for name, value in headers),
    ]
    connection.send_headers(1, fields)
    connection.send_data(1, body, end_stream=True)
    responses = {1: new_response()}
    with connect(server) as sock:
        while not all(response.end for response in responses.values()):
            sock.sendall(connection.data_to_send())
            data = sock.recv(65536)
            assert data, "received %r and then the end" % responses
            for event in connection.receive_data(data):
                handle(event, connection, responses)
    return list(responses.values())


def new_response():
    return types.SimpleNamespace(promised=[], headers=[], data=b"", end=None)


def handle(event, connection, responses):
    """Add what an event of HTTP/2 tells to the response that it is about."""
    if isinstance(event, h2.events.PushedStreamReceived):
        path = dict(event.headers)[":path"]
        responses[event.parent_stream_id].promised.append(path)
        responses[event.pushed_stream_id] = new_response()
        return
    response = responses.get(getattr(event, "stream_id", None))
    if isinstance(event, h2.events.ResponseReceived):
        response.headers = [pair for pair in event.headers if pair[0] not in BY_CHANCE]
    elif isinstance(event, h2.events.DataReceived):
        size = event.flow_controlled_length
        connection.acknowledge_received_data(size, event.stream_id)
        response.data = without_chance(response.data + event.data)
    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
        response.end = type(event).__name__


def websocket(server, path, *messages):
    """Return the answer to the handshake, one for each of `messages`, and the end."""
    with websockets.sync.client.connect(
        "ws://server" + path,
        sock=connect(server),  # So that it does not look for a proxy.
    ) as connection:
        headers = connection.response.headers.raw_items()
        found = [pair for pair in headers if pair[0].lower() not in BY_CHANCE]
        for message in messages:
            connection.send(message)
            found.append(connection.recv(TIMEOUT))
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            found.append(connection.recv(TIMEOUT))
    return [*found, connection.close_code, connection.close_reason]
