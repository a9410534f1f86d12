"""What a client gets from a real server.

With the backport it is the same as without it, except for push promises. Each test also
says what has to come, as two servers that fail alike are alike, too.
"""

import contextlib
import time

import pytest
from client import Http1, http1, http2, websocket

# As much as a frame of HTTP/2 can take, and not text.
LARGE = bytes(range(256)) * 64
GZIP = ("Accept-Encoding", "gzip")
LONG_PAGE = "/?name=" + 1000 * "x"
TEXT = ("Content-Type", "text/plain")

# What is asked for; the status, and some of what has to come.
REQUESTS = {
    "template": (("GET", "/"), 200, b"<h1>Hello, World!</h1>"),
    "template, gzip": (("GET", LONG_PAGE, [GZIP]), 200, b"content-encoding: gzip"),
    "head": (("HEAD", "/"), 200, b"x-outer: /"),
    "query": (("GET", "/echo?one=1"), 200, b"set-cookie: two=2"),
    "text": (("POST", "/echo", [TEXT], b"text"), 200, b"text"),
    "large body": (("PUT", "/echo", [], LARGE), 200, LARGE[-1024:]),
    "wrong method": (("DELETE", "/echo"), 405, b"Method Not Allowed"),
    "replaced by middleware": (("GET", "/replaced"), 203, b"another"),
    "refused by middleware": (("GET", "/refused"), 403, b"refused"),
    "rewritten by middleware": (("GET", "/upper"), 200, b"TEXT"),
    "error in middleware": (("GET", "/after"), 500, b"Internal Server Error"),
    "file": (("GET", "/file"), 200, b"<h1>Hello, {{ name }}!</h1>"),
    "missing": (("GET", "/missing"), 404, b"Not Found"),
    "error": (("GET", "/error"), 500, b"Internal Server Error"),
    "push, where the client cannot take one": (("GET", "/push/"), 200, b"pushing"),
}


@pytest.fixture
def same(unpatched, patched):
    """Return a function that checks that a client gets the same from both servers."""

    def check(client, *args):
        found = client(patched, *args)
        assert found == client(unpatched, *args)
        return found

    return check


def eventually(condition):
    """Wait until `condition` is true."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(same, name):
    request, status, expected = REQUESTS[name]
    found = same(http1, *request)
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert expected in found


@pytest.mark.http2
@pytest.mark.parametrize("name", [name for name in REQUESTS if "push" not in name])
def test_a_request_with_http2(same, name):
    request, status, expected = REQUESTS[name]
    (response,) = same(http2, *request)
    assert (":status", str(status)) in response.headers
    lines = ["%s: %s" % header for header in response.headers]
    assert expected in "\r\n".join(lines).encode() + response.data


def several_requests(server):
    found = []
    with contextlib.closing(Http1(server)) as connection:
        for path, end in [("/", b"</h1>"), ("/upper", b"TEXT"), ("/echo", b"\r\n\r\n")]:
            connection.send("GET", path, after="keep-alive")
            found.append(connection.until(end))
        connection.send("GET", "/error")
        return [*found, connection.rest()]


def test_requests_on_one_connection(same):
    found = same(several_requests)
    assert found[-1].endswith(b"Internal Server Error")


def stream(server, name):
    """Let the application make a chunk when the client has got the one before."""
    found = []
    with contextlib.closing(Http1(server)) as connection:
        connection.send("GET", "/stream?name=" + name)
        for number in range(4):
            found.append(connection.until(b"chunk %d;" % number))
            server.get("/step", name)
        return [*found, connection.rest()]


@pytest.mark.long_response
@pytest.mark.parametrize("name", ["complete", "broken"])
def test_a_stream_comes_chunk_by_chunk(same, name):
    found = same(stream, name)
    assert b"chunked" in found[0].lower()
    assert found[-1].endswith(b"0\r\n\r\n") is (name == "complete")


def background_task(server):
    with contextlib.closing(Http1(server)) as connection:
        connection.send("GET", "/stream?name=task")
        for _ in range(3):
            server.get("/step", "task")
        found = connection.until(b"chunk 3;")
        eventually(lambda: server.get("/state", "task")["notes"] == ["begun"])
        end = connection.rest(timeout=0.5)
        server.get("/step", "task")
        eventually(lambda: server.get("/state", "task")["notes"] == ["begun", "done"])
    return found, end


@pytest.mark.long_response
def test_a_background_task(same):
    """It begins when the client has the response.

    On some releases the response ends after it.
    """
    same(background_task)


def aborted_download(server):
    with contextlib.closing(Http1(server)) as connection:
        connection.send("GET", "/download?name=abort")
        connection.until(b"x" * 65536)
    eventually(lambda: server.get("/state", "abort")["notes"])
    return server.get("/state", "abort")["notes"]


@pytest.mark.long_response
def test_an_aborted_download(same):
    # Releases with a queue do not stop.
    assert same(aborted_download) in (["stopped"], ["finished"])
    # Whatever became of that one, it serves the next.
    assert b"Hello, World!" in same(http1, "GET", "/")


def test_a_websocket(same):
    found = same(websocket, "/socket", "some", b"some")
    assert found[-4:] == ["some of text", b"some of bytes", 4001, ""]


def test_what_is_offered(patched, request):
    """Granian offers something for every request, so the changed code always runs."""
    offered = patched.get("/state")["offered"]
    is_granian = "granian" in request.config.option.serve
    assert ("http.response.pathsend" in offered) is is_granian


@pytest.mark.http2
def test_a_push_promise(unpatched, patched):
    """No release gets one through ``BaseHTTPMiddleware``, with the backport all do."""
    (page,) = http2(unpatched, "GET", "/push/")
    assert (":status", "500") in page.headers

    page, text = http2(patched, "GET", "/push/")
    assert page.promised == ["/text"]
    assert (":status", "200") in page.headers
    assert ("x-outer", "/push/") in page.headers
    assert page.data == b"pushing"
    # The server asks the application for it, as if the client had.
    assert [text] == http2(unpatched, "GET", "/text")


@pytest.mark.http2
def test_a_push_promise_behind_gzip(same):
    """Gzip drops it before it comes to ``BaseHTTPMiddleware``."""
    (page,) = same(http2, "GET", "/push/", [GZIP])
    assert page.promised == []
    assert (":status", "200") in page.headers
