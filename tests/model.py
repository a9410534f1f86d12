"""The contract as a model: what a server should receive, given what an application sends.

Pure functions on traces, without ASGI, Starlette or the package. An application is a function that returns
what it would send in one request, and how it would end; a layer makes such a function from another one.
Where the contract leaves an outcome to the release, and the releases differ or race, the model raises
`Unclear`: what holds even then is in `test_model`.
"""

import itertools
import typing

START = "http.response.start"
BODY = "http.response.body"


class Trace(typing.NamedTuple):
    """What an application sends, and the name of the error that it ends with, if any."""

    messages: typing.List[dict]
    error: typing.Optional[str] = None


class Response(typing.NamedTuple):
    """What `call_next` returns."""

    early: typing.List[dict]
    status: int
    headers: typing.List[typing.Tuple[bytes, bytes]]
    chunks: typing.List[bytes]
    error: typing.Optional[str]
    # Whether the chunks are compressed, and to their end: see `behind_gzip`.
    zipped: typing.Optional[str]


class Facts(typing.NamedTuple):
    """What releases do differently, where the contract lets them."""

    # `body_stream` wants every message to have a body.
    needs_body: bool
    # It skips empty chunks.
    skips_empty: bool
    # It loses an error of the application after the start of the response.
    loses_errors: bool
    # An error of the application races with its messages, and others come out with it.
    races: bool
    # What becomes of an application whose response is dropped may come out, too.
    heeds_dropped: bool
    # Whether early messages are carried, or it is the release as it is.
    carries: bool = True


class Fails(Exception):
    """`call_next` raises the error of this name."""


class Unclear(Exception):
    """The contract leaves this to the release."""


class Races(Unclear):
    """So much so that the release does now this and now that."""


App = typing.Callable[[], Trace]

NO_RESPONSE = "RuntimeError: No response returned."


def unexpected(received: typing.Any, expected: str) -> str:
    if not isinstance(received, str):
        received = "a type of " + type(received).__name__
    return "AssertionError: %s, expected %s" % (received, expected)


def call_next(app: App, facts: Facts) -> Response:
    messages, error = app()
    if facts.races and error is not None:
        raise Races("on 0.15.0 and 0.16.0 errors of the application race with its messages")
    early = list(itertools.takewhile(lambda message: message.get("type", START) not in (START, BODY), messages))
    if early and not facts.carries:
        raise Fails("AssertionError: ")
    if len(early) == len(messages):
        raise Fails(error or NO_RESPONSE)
    message, *followers = messages[len(early) :]
    if "type" not in message:
        raise Fails("KeyError: 'type'")
    if message["type"] == BODY:
        raise Fails(unexpected(BODY, START))
    for key in ("status", "headers"):
        if key not in message:
            raise Fails("KeyError: %r" % key)
    chunks = []
    ended = False
    for follower in followers:
        if ended:
            raise Unclear("some releases stop listening at the end of the body")
        if follower.get("type") != BODY:
            error = unexpected(follower["type"], BODY) if "type" in follower else "KeyError: 'type'"
            break
        if facts.needs_body and "body" not in follower:
            error = "KeyError: 'body'"
            break
        chunk = follower.get("body", b"")
        if chunk or not facts.skips_empty:
            chunks.append(chunk)
        ended = not follower.get("more_body", False)
    else:
        if error is not None and ended:
            raise Unclear("some releases stop listening at the end of the body")
        if facts.loses_errors:
            error = None
    return Response(early, message["status"], message["headers"], chunks, error, message.get("zipped"))


def respond(response: Response) -> Trace:
    """Return what a response of `call_next` sends."""
    start = {
        "type": START,
        "status": response.status,
        "headers": response.headers,
        "zipped": response.zipped,
    }
    messages = [*response.early, start]
    messages += [{"type": BODY, "body": chunk, "more_body": True} for chunk in response.chunks]
    if response.error is None:
        messages.append({"type": BODY, "body": b"", "more_body": False})
    return Trace(messages, response.error)


OWN = Trace(
    [
        {
            "type": START,
            "status": 203,
            "headers": [(b"content-length", b"3"), (b"content-type", b"text/plain; charset=utf-8")],
        },
        {"type": BODY, "body": b"own", "more_body": False},
    ]
)


def behind(layer: str, app: App, facts: Facts) -> App:
    """Return the application that is `app` behind a middleware of this kind; see `programs.LAYERS`."""

    def layered() -> Trace:
        if layer == "raises before":
            return Trace([], "Refused: before")
        if layer == "answers itself":
            return OWN
        try:
            response = call_next(app, facts)
            if layer.startswith(("twice", "at once")):
                # The same again: the other response is dropped, and all that belongs to it.
                response = call_next(app, facts)
        except Fails as exc:
            if layer.startswith("at once") and facts.heeds_dropped:
                raise Races("errors of two calls at once") from None
            return OWN if layer == "answers for errors" else Trace([], str(exc))
        drops = layer.startswith(("twice", "at once", "raises after", "replaces the response"))
        if drops and response.error is not None and facts.heeds_dropped:
            raise Races("an error behind a response that is dropped")
        if layer == "raises after":
            if response.chunks and facts.heeds_dropped:
                raise Races("what the application is told when nobody reads on, as on 0.20.1 to 0.20.4")
            return Trace([], "Refused: after")
        if layer == "replaces the response":
            return OWN
        if layer == "adds a header":
            others = [header for header in response.headers if header[0] != b"x-added"]
            response = response._replace(headers=[*others, (b"x-added", b"1")])
        if layer == "replaces raw_headers":
            runs = [header for header in response.headers if header[0] == b"x-run"]
            response = response._replace(headers=[*runs, (b"x-replaced", b"1")])
        if layer == "reads the response":
            if response.error is not None:
                return Trace([], response.error)
            response = response._replace(chunks=[b"".join(response.chunks)])
        return respond(response)

    return layered


def behind_gzip(app: App, minimum_size: int, facts: Facts) -> App:
    """Return `app` behind the gzip middleware, which keeps the start until it sees the first of the body.

    The chunks stay as they are here: it is the start that says that they are compressed, ``"whole"`` or,
    where the last one is missing, in ``"part"``.
    """

    def zipping() -> Trace:
        messages, error = app()
        types = [message.get("type", BODY) for message in messages]
        count = types.index(START) if START in types else len(messages)
        start, followers = dict(*messages[count : count + 1]), messages[count + 1 :]
        more = [follower.get("more_body", False) for follower in followers]
        if (
            BODY in types[:count]
            or not {BODY}.issuperset(types[count + 1 :])
            or not all("type" in message for message in followers)
            or False in more[:-1]
            or (start and not {"headers", "status"}.issubset(start))
        ):
            raise Unclear("what gzip makes of messages that no server would take")
        early = messages[:count] if facts.carries else []
        if not followers:
            return Trace(early, error)
        if more[0] or len(followers[0].get("body", b"")) >= minimum_size:
            start["zipped"] = "part" if more[-1] else "whole"
            followers = [dict(follower, body=follower.get("body", b"")) for follower in followers]
        return Trace([*early, start, *followers], error)

    return zipping
