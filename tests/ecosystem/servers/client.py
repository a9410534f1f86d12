"""Clients that leave out nothing: what they return is all that came over the wire, but for what chance decides."""

import re
import socket

import h2.config
import h2.connection
import h2.events
import h11
import websockets.exceptions
import websockets.sync.client

TIMEOUT = 20
# The time of day; and the answer to a key that the client draws.
BY_CHANCE = {"date", "sec-websocket-accept"}


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), TIMEOUT)


class Http1:
    """One connection with HTTP/1.1, byte by byte; h11 only tells where a response ends."""

    def __init__(self, server):
        self.socket = connect(server)
        self.protocol = h11.Connection(h11.CLIENT)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.socket.close()

    def send(self, method, target, headers=(), body=b""):
        if self.protocol.our_state is h11.DONE:
            self.protocol.start_next_cycle()
        headers = [("Host", "server"), *headers, ("Content-Length", str(len(body)))]
        events = [h11.Request(method=method, target=target, headers=headers), h11.Data(data=body), h11.EndOfMessage()]
        self.socket.sendall(b"".join(self.protocol.send(event) for event in events))

    def receive(self):
        more = self.socket.recv(65536)
        self.received += more
        self.protocol.receive_data(more)
        return more

    def until(self, expected):
        """Return what was received since the last call, up to `expected`."""
        while expected not in self.received:
            if not self.receive():
                raise EOFError("expected %r, received %r and then the end" % (expected, self.received))
        end = self.received.index(expected) + len(expected)
        found, self.received = self.received[:end], self.received[end:]
        return without_chance(found)

    def rest(self):
        """Return what was received since the last call, up to the end of the response, and how it ended."""
        how = ""
        while not how:
            try:
                event = self.protocol.next_event()
            except h11.RemoteProtocolError:
                how = "broken off"
            else:
                if event is h11.NEED_DATA:
                    self.receive()
                elif isinstance(event, h11.EndOfMessage):
                    how = "complete"
        found, self.received = self.received, b""
        return without_chance(found), how

    def ends_within(self, seconds):
        """Return whether the response ends within so many seconds."""
        self.socket.settimeout(seconds)
        try:
            return bool(self.rest())
        except socket.timeout:
            return False
        finally:
            self.socket.settimeout(TIMEOUT)


def without_chance(raw):
    """Return `raw` without the time of day, which is also in what gzip makes."""
    raw = re.sub(rb"(?im)^date: [^\r\n]*\r\n", b"", raw)
    return re.sub(rb"(?s)(?<=\x1f\x8b\x08.)....", b"....", raw)


def http1(server, *request):
    with Http1(server) as connection:
        connection.send(*request)
        found, how = connection.rest()
        assert how == "complete", found
        return found


def http2(server, method, path, headers=(), body=b""):
    """Return the responses by what was asked for or promised, with a promise among them where it came."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    pseudo = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "server")]
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, [*pseudo, *((name.lower(), value) for name, value in headers)], end_stream=not body)
    size = connection.max_outbound_frame_size
    for begin in range(0, len(body), size):  # There is room for all of it, in a stream that has just begun.
        connection.send_data(stream, body[begin : begin + size], end_stream=begin + size >= len(body))
    found, waiting = {stream: []}, {stream}
    with connect(server) as sock:
        while waiting:
            sock.sendall(connection.data_to_send())
            data = sock.recv(65536)
            if not data:
                raise EOFError("received %r and then the end" % found)
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.PushedStreamReceived):
                    found[event.parent_stream_id].append(("promise", dict(event.headers)[":path"]))
                    found[event.pushed_stream_id] = []
                    waiting.add(event.pushed_stream_id)
                elif isinstance(event, h2.events.ResponseReceived):
                    kept = [header for header in event.headers if header[0] not in BY_CHANCE]
                    found[event.stream_id].append(("headers", kept))
                elif isinstance(event, h2.events.DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    # How it is cut depends on when the client has made room for more.
                    if found[event.stream_id][-1][0] == "data":
                        event.data = found[event.stream_id].pop()[1] + event.data
                    found[event.stream_id].append(("data", without_chance(event.data)))
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    found[event.stream_id].append((type(event).__name__,))
                    waiting.discard(event.stream_id)
    return list(found.values())


def websocket(server, path, *messages):
    """Return what came for `messages`: the answer to the handshake, a message for each, and how it ended."""
    # A socket of its own, for it not to look for a proxy.
    try:
        connection = websockets.sync.client.connect("ws://server" + path, sock=connect(server), open_timeout=TIMEOUT)
    except websockets.exceptions.InvalidStatus as error:
        return [*kept(error.response), error.response.body]
    with connection:
        found = kept(connection.response)
        for message in messages:
            connection.send(message)
            found.append(connection.recv(TIMEOUT))
        try:
            found.append(connection.recv(TIMEOUT))
        except websockets.exceptions.ConnectionClosed as error:
            found.append(error.rcvd and (error.rcvd.code, error.rcvd.reason))
    return found


def kept(response):
    headers = [(name, value) for name, value in response.headers.raw_items() if name.lower() not in BY_CHANCE]
    return [response.status_code, headers]
