"""What a client gets from a real server: with the backport the same as without it, but for the push promises.

Each test also says what has to come, as two servers that fail alike are alike, too.
"""

import time

import pytest
from client import Http1, http1, http2, websocket

# Enough for several reads, and not text.
LARGE = bytes(range(256)) * 192
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
    "push, where the client cannot take one": (("GET", "/push/"), 200, b"pushing"),
}


def same(unpatched, patched, talk):
    """Return what `talk` yields with the patched server, which is what it yields with the other one."""
    found = list(talk(patched))
    assert found == list(talk(unpatched))
    return found


def eventually(found, good):
    """Return what `found` returns, once that is `good`."""
    deadline = time.monotonic() + 20
    while not good(found()):
        assert time.monotonic() < deadline, found()
        time.sleep(0.02)
    return found()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request(unpatched, patched, name):
    request, status, expected = REQUESTS[name]
    found = b"".join(same(unpatched, patched, lambda server: [http1(server, *request)]))
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert expected in found


@pytest.mark.http2
@pytest.mark.parametrize("name", [name for name in REQUESTS if "push" not in name])
def test_a_request_with_http2(unpatched, patched, name):
    request, status, expected = REQUESTS[name]
    ((first, *others),) = same(unpatched, patched, lambda server: http2(server, *request))
    lines = b"\r\n".join(("%s: %s" % header).encode() for header in first[1])
    assert (":status", str(status)) in first[1]
    # There are no reasons in HTTP/2.
    assert expected in lines + b"".join(other[1] for other in others if other[0] == "data")


def test_requests_on_one_connection(unpatched, patched):
    def talk(server):
        with Http1(server) as connection:
            for path in ("/", "/upper", "/missing", "/error"):
                connection.send("GET", path)
                yield connection.rest()

    assert [how for _, how in same(unpatched, patched, talk)] == ["complete"] * 4


@pytest.mark.parametrize(("name", "end"), [("stream", "complete"), ("broken", "broken off")])
def test_a_stream_comes_chunk_by_chunk(unpatched, patched, name, end):
    """The application makes a chunk when the client, which has got the one before, says so."""

    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/stream?name=" + name)
            for number in range(4):
                yield connection.until(b"chunk %d;" % number)
                server.step(name)
            yield connection.rest()

    found = same(unpatched, patched, talk)
    assert b"chunked" in found[0].lower()
    assert found[-1][1] == end


def test_a_background_task(unpatched, patched):
    """It begins when the client has the response; on some releases the response ends after it."""

    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/stream?name=task")
            for _ in range(3):
                server.step("task")
            yield connection.until(b"chunk 3;")
            yield eventually(lambda: server.notes("task"), bool)
            yield connection.ends_within(0.5)
            server.step("task")
            yield eventually(lambda: server.notes("task"), lambda notes: "done" in notes)

    assert same(unpatched, patched, talk)[1::2] == [["begun"], ["begun", "done"]]


def test_an_aborted_download(unpatched, patched):
    def talk(server):
        with Http1(server) as connection:
            connection.send("GET", "/download?name=abort")
            connection.until(b"x" * 65536)
        yield eventually(lambda: server.notes("abort"), bool)
        # Whatever became of that one, it serves the next.
        assert b"Hello, World!" in http1(server, "GET", "/")

    # Releases with a queue do not stop.
    assert same(unpatched, patched, talk) in ([["stopped"]], [["finished"]])


def test_a_websocket(unpatched, patched):
    found = same(unpatched, patched, lambda server: websocket(server, "/socket", "some", b"some"))
    assert found[0] == 101
    assert found[2:] == ["some of text", b"some of bytes", (4001, "")]


def test_a_websocket_that_is_refused(unpatched, patched):
    assert same(unpatched, patched, lambda server: websocket(server, "/closed"))[0] == 403


# There gzip drops it before ``BaseHTTPMiddleware`` fails on it.
@pytest.mark.http2
@pytest.mark.parametrize(("headers", "status"), [([], "500"), ([GZIP], "200")], ids=["plain", "gzip"])
def test_a_push_promise(unpatched, patched, headers, status):
    """No release gets one through ``BaseHTTPMiddleware``, with the backport all do."""
    (page,) = http2(unpatched, "GET", "/push/", headers)
    assert (":status", status) in page[0][1]

    page, style = http2(patched, "GET", "/push/", headers)
    assert page[0] == ("promise", "/style.css")
    assert (":status", "200") in page[1][1]
    assert ("x-outer", "/push/") in page[1][1]
    assert page[2] == ("data", b"pushing")
    # The server asks the application for it, as if the client had.
    assert [style] == http2(unpatched, "GET", "/style.css", headers)
