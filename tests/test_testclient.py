"""Point 5 of the contract: the test client offers and reads both messages, and gzip passes on the rest."""

import gzip
import sys

import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from support import (
    BODY,
    PUSH,
    START,
    PassThrough,
    body,
    content_of,
    http_scope,
    raw,
    sending,
    serve,
    start,
    types_of,
)

TEMPLATE = {"type": "http.response.template", "template": "old", "context": {"from": "old"}}
DEBUG = {"type": "http.response.debug", "info": {"template": "new", "context": {"from": "new"}}}


def test_both_extensions_are_offered(patched):
    seen = []

    async def program(scope, receive, send):
        seen.append(dict(scope["extensions"]))
        await send(START)
        await send(BODY)

    TestClient(raw(program)).get("/")
    assert seen == [{"http.response.template": {}, "http.response.debug": {}}]


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize(("message", "name"), [(TEMPLATE, "old"), (DEBUG, "new")])
def test_both_messages_are_read(patched, layers, message, name):
    app = sending(message, START, BODY)
    for _ in range(layers):
        app = PassThrough(app)
    response = TestClient(app).get("/")
    assert response.template == name
    assert response.context == {"from": name}
    assert response.text == "body"


def test_a_response_that_sends_both(patched):
    """A response written for all releases: the last message counts, as with two of one kind."""
    response = TestClient(PassThrough(sending(TEMPLATE, DEBUG, START, BODY))).get("/")
    assert response.template == "new"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.debug"},
        {"type": "http.response.debug", "info": None},
        {"type": "http.response.debug", "info": "text"},
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.debug", "info": {"context": {}}},
        {"type": "http.response.debug", "info": {"query": "select 1"}},
        PUSH,
        {"type": "x.unknown"},
    ],
    ids=str,
)
@pytest.mark.parametrize("layers", [0, 1])
def test_a_message_without_a_template_is_no_error(patched, layers, message):
    app = sending(message, START, BODY)
    for _ in range(layers):
        app = PassThrough(app)
    response = TestClient(app).get("/")
    assert response.text == "body"
    assert not hasattr(response, "template")


def test_a_template_without_a_context(patched):
    app = sending({"type": "http.response.debug", "info": {"template": "only"}}, START, BODY)
    response = TestClient(PassThrough(app)).get("/")
    assert response.template == "only"
    assert response.context is None


@pytest.mark.parametrize("layers", [0, 1])
def test_the_application_reads_what_the_test_sends(patched, layers):
    async def program(scope, receive, send):
        message = await receive()
        await send(PUSH)
        await send(start())
        await send(body(message["body"]))

    app = raw(program)
    for _ in range(layers):
        app = PassThrough(app)
    assert TestClient(app).post("/", json=["sent"]).json() == ["sent"]


def test_errors_of_the_application_reach_the_test(patched):
    with pytest.raises(ValueError, match="mine"):
        TestClient(sending(ValueError("mine"))).get("/")
    client = TestClient(sending(ValueError("mine")), raise_server_exceptions=False)
    assert client.get("/").status_code == 500


def test_the_client_keeps_no_trace(patched):
    app = PassThrough(sending(DEBUG, START, BODY))
    client = TestClient(app)
    response = client.get("/")
    if hasattr(client, "adapters"):
        adapter = client.adapters["http://"]
        assert adapter.app is app
        assert response.connection is adapter
    else:
        assert client._transport.app is app


def test_websockets(patched):
    async def program(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})

    app = PassThrough(raw(program))
    client = TestClient(app)
    connect = getattr(client, "websocket_connect", None) or client.wsconnect
    session = connect("/")
    with session as websocket:
        assert websocket.receive_text() == "hello"
    if hasattr(session, "app"):
        assert session.app is app


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize(
    "messages",
    [
        [PUSH, DEBUG, START, BODY],
        [PUSH, START, body(b"x" * 2000)],
        [PUSH, DEBUG, START, body(b"x" * 2000, True), body(b"y" * 2000)],
    ],
    ids=["small", "compressed", "streamed"],
)
def test_gzip_passes_on_early_messages_in_order(patched, messages, layers):
    app = GZipMiddleware(sending(*messages))
    for _ in range(layers):
        app = PassThrough(app)
    sent, error = serve(app, http_scope(headers=[(b"accept-encoding", b"gzip")]))
    assert error is None
    early = [message for message in messages if message in (PUSH, DEBUG)]
    assert sent[: len(early)] == early
    assert types_of(sent)[len(early)] == "http.response.start"
    assert set(types_of(sent)[len(early) + 1 :]) == {"http.response.body"}


def test_gzip_passes_on_later_messages_in_order(patched):
    trailers = {"type": "http.response.trailers", "headers": []}
    app = GZipMiddleware(sending(START, DEBUG, PUSH, body(b"x" * 2000, True), body(b"y"), trailers))
    sent, error = serve(app, http_scope(headers=[(b"accept-encoding", b"gzip")]))
    assert error is None
    assert types_of(sent) == [
        "http.response.start",
        "http.response.debug",
        "http.response.push",
        "http.response.body",
        "http.response.body",
        "http.response.trailers",
    ]
    assert (b"content-encoding", b"gzip") in sent[0]["headers"]


def test_gzip_passes_on_any_number_of_later_messages(patched):
    """More than a function for each could call the next one."""
    pushes = [PUSH] * (sys.getrecursionlimit() + 100)
    app = GZipMiddleware(sending(START, body(b"x" * 2000, True), *pushes, body(b"y")))
    sent, error = serve(app, http_scope(headers=[(b"accept-encoding", b"gzip")]))
    assert error is None
    assert types_of(sent).count("http.response.push") == len(pushes)


def test_gzip_is_as_before_for_what_it_compresses(either):
    app = GZipMiddleware(sending(START, body(b"x" * 2000, True), body(b"y" * 10)))
    sent, error = serve(app, http_scope(headers=[(b"accept-encoding", b"gzip")]))
    assert error is None
    assert gzip.decompress(content_of(sent)) == b"x" * 2000 + b"y" * 10
