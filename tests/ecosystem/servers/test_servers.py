"""What a client gets from a real server: with the backport the same as without it, but for the push promises.

Each test also says what has to come, as two servers that fail alike are alike, too.
"""

import time

import pytest
from client import Http1, http1, http2, websocket

# Enough for several reads, and not text.
LARGE = bytes(range(256)) * 2048
GZIP = ("Accept-Encoding", "gzip")

# What is asked for, and the status and some of what has to come.
REQUESTS = {
    "template": (("GET", "/"), 200, b"<p>Hello, World!</p>"),
    "template, gzip": (("GET", "/", [GZIP]), 200, b"content-encoding: gzip"),
    "head": (("HEAD", "/"), 200, b"x-outer: /"),
    "query": (("GET", "/echo?one=1"), 200, b"set-cookie: two=2"),
    "text": (("POST", "/echo", [("Content-Type", "text/plain")], b"text"), 200, b"text"),
    "large body": (("PUT", "/echo", [], LARGE), 200, LARGE[-1024:]),
    "wrong method": (("DELETE", "/echo"), 405, b"Method Not Allowed"),
    "replaced by middleware": (("GET", "/replaced"), 203, b"another"),
    "refused by middleware": (("GET", "/refused"), 403, b"refused"),
    "rewritten by middleware": (("GET", "/upper"), 200, b"TEXT"),
    "error in middleware": (("GET", "/after"), 500, b"Internal Server Error"),
    "redirect": (("GET", "/redirect"), 303, b"location: /"),
    "file": (("GET", "/file"), 200, b"<p>Hello, {{ name }}!</p>"),
    "forbidden": (("GET", "/forbidden"), 403, b"forbidden"),
    "missing": (("GET", "/missing"), 404, b"Not Found"),
    "error": (("GET", "/error"), 500, b"Internal Server Error"),
}


@pytest.fixture
def needs_http2(request):
    if not request.config.option.http2:
        pytest.skip("this server does not speak HTTP/2")


def eventually(found, good):
    """Return what `found` returns, once that is `good`."""
    deadline = time.monotonic() + 20
    while True:
        last = found()
        if good(last):
            return last
        assert time.monotonic() < deadline, last
        time.sleep(0.02)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(unpatched, patched, name):
    request, status, expected = REQUESTS[name]
    found = http1(patched, *request)
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert expected in found
    assert found == http1(unpatched, *request)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.usefixtures("needs_http2")
def test_a_request_with_http2(unpatched, patched, name):
    (method, path, *rest), status, expected = REQUESTS[name]
    headers = [(key.lower(), value) for key, value in (rest[0] if rest else [])]
    request = (method, path, headers, *rest[1:])
    ((first, *others),) = found = http2(patched, *request)
    lines = b"\r\n".join(("%s: %s" % header).encode() for header in first[1])
    assert (":status", str(status)) in first[1]
    # There are no reasons in HTTP/2.
    assert expected in lines + b"".join(other[1] for other in others if other[0] == "data")
    assert found == http2(unpatched, *request)


def test_requests_on_one_connection(unpatched, patched):
    def talk(server):
        with Http1(server) as connection:
            for path in ("/", "/upper", "/missing", "/stream?name=keep", "/error"):
                connection.send("GET", path)
                yield connection.rest()

    # As much of the stream as there is.
    for server in (unpatched, patched):
        for _ in range(3):
            server.step("keep")
    found = list(talk(patched))
    assert [how for _, how in found] == ["complete"] * 5
    assert found == list(talk(unpatched))


def test_a_stream_comes_chunk_by_chunk(unpatched, patched):
    """The application makes a chunk when the client, which has got the one before, says so."""

    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/stream?name=stream")
            for number in range(4):
                yield connection.until(b"chunk %d;" % number)
                server.step("stream")
            yield connection.rest()

    found = list(talk(patched))
    assert found[-1][1] == "complete"
    assert b"chunked" in found[0].lower()
    assert found == list(talk(unpatched))


def test_a_stream_that_breaks(unpatched, patched):
    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/broken?name=broken")
            yield connection.until(b"one")
            server.step("broken")
            yield connection.rest()

    found = list(talk(patched))
    assert b" 200 " in found[0]
    assert found[1][1] == "broken off"
    assert found == list(talk(unpatched))


def test_an_aborted_download(unpatched, patched):
    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/download?name=abort")
            connection.until(b"x" * 65536)
        notes = eventually(lambda: server.notes("abort"), lambda notes: len(notes) > 1)
        # Whatever became of that one, it serves the next.
        assert b"Hello, World!" in http1(server, "GET", "/")
        return notes

    found = talk(patched)
    # Releases with a queue do not stop.
    assert found in (["begun", "stopped"], ["begun", "finished"])
    assert found == talk(unpatched)


def test_a_background_task(unpatched, patched):
    """It begins when the client has the response; on some releases the response ends after it."""

    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/background?name=task")
            yield connection.until(b"a task follows")
            yield eventually(lambda: server.notes("task"), bool)
            yield connection.ends_within(0.5)
            server.step("task")
            yield eventually(lambda: server.notes("task"), lambda notes: "done" in notes)

    found = list(talk(patched))
    assert found[1] == ["begun"]
    assert found[3] == ["begun", "done"]
    assert found == list(talk(unpatched))


def test_a_websocket(unpatched, patched):
    found = websocket(patched, "/socket", "some", b"some")
    assert found[0] == 101
    assert found[2:] == ["some of text", b"some of bytes", (4001, "")]
    assert found == websocket(unpatched, "/socket", "some", b"some")


def test_a_websocket_that_is_refused(unpatched, patched):
    found = websocket(patched, "/closed")
    assert found[0] == 403
    assert found == websocket(unpatched, "/closed")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param([], "500", id="plain"),
        # There the gzip middleware drops it before ``BaseHTTPMiddleware`` fails on it.
        pytest.param([("accept-encoding", "gzip")], "200", id="gzip"),
    ],
)
@pytest.mark.usefixtures("needs_http2")
def test_a_push_promise(unpatched, patched, headers, status):
    """No release gets one through ``BaseHTTPMiddleware``, with the backport all do."""
    (page,) = http2(unpatched, "GET", "/push/", headers)
    assert (":status", status) in page[0][1]

    page, style = http2(patched, "GET", "/push/", headers)
    assert page[0] == ("promise", "/style.css")
    assert (":status", "200") in page[1][1]
    assert ("x-outer", "/push/") in page[1][1]
    assert b"".join(event[1] for event in page if event[0] == "data") == b"pushing"
    # The server asks the application for it, as if the client had.
    assert [style] == http2(unpatched, "GET", "/style.css", headers)


def test_no_promise_without_http2(unpatched, patched):
    found = http1(patched, "GET", "/push/")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found == http1(unpatched, "GET", "/push/")
