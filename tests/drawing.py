"""Requests that Hypothesis draws: see `model.Case`."""

from hypothesis import settings
from hypothesis import strategies as st
from model import (
    BODY,
    DEBUG,
    FAILS,
    NUMBERS,
    PUSH,
    RECEIVES,
    START,
    TEMPLATE,
    YIELDS,
    AddsAHeader,
    AnswersForErrors,
    AnswersItself,
    CallsTwice,
    CallsTwiceAtOnce,
    Case,
    ChangesTheClass,
    Client,
    CopiesTheResponse,
    Gzip,
    MakesANewResponse,
    Middleware,
    PlainASGI,
    RaisesAfter,
    ReadsTheBody,
    ReplacesRawHeaders,
    ReplacesTheResponse,
    SendsTheResponseTwice,
    StreamsTheResponse,
    TemplateStep,
    WrapsTheResponse,
)
from starlette.responses import StreamingResponse
from support import LAST_OF_FORM, RELEASE

# An example takes 2 to 5 milliseconds.
many = settings()
if RELEASE in (*LAST_OF_FORM, "0.24.0"):
    many = settings(max_examples=max(many.max_examples, 300))

# Layers.

CARRYING = [
    Middleware(),
    AddsAHeader(),
    ReplacesRawHeaders(),
    ReadsTheBody(),
    CopiesTheResponse(),
    WrapsTheResponse(),
    SendsTheResponseTwice(),
    AnswersForErrors(),
    PlainASGI(),
]
if hasattr(StreamingResponse, "stream_response"):
    CARRYING.append(StreamsTheResponse())
TWICE = [CallsTwice(0), CallsTwice(1)]
AT_ONCE = [CallsTwiceAtOnce(0), CallsTwiceAtOnce(1)]
DROPPING = [
    MakesANewResponse(),
    ChangesTheClass(),
    ReplacesTheResponse(),
    RaisesAfter(),
    AnswersItself(),
]
GZIP = [Gzip(0), Gzip(500)]

# Messages.

OTHER_TYPES = ["x.unknown", START + " ", "\x00\n\u6f22'", "", None, START.encode()]
# The type alone tells what a message is, whatever else it has.
early_messages = st.sampled_from([PUSH, TEMPLATE, DEBUG, *OTHER_TYPES]).map(
    lambda type_: {
        "type": type_,
        "status": 500,
        "headers": [(b"x-early", b"1")],
        "body": b"early",
        "more_body": True,
    }
)
headers = st.sampled_from(
    [[], [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-b", b"3")], [(b"x-added", b"0")]]
)
starts = st.fixed_dictionaries(
    {"type": st.just(START), "status": st.just(201), "headers": headers}
)
chunks = st.sampled_from([b"chunk", b"", b"\x00", b"x" * 30]).map(
    lambda chunk: {"type": BODY, "body": chunk, "more_body": True}
)
last_chunks = st.sampled_from(
    [
        {"type": BODY, "body": b"last", "more_body": False},
        {"type": BODY, "body": b"x" * 30},
        {"type": BODY},
    ]
)
nonsense = st.sampled_from(
    [
        {"type": START, "headers": []},
        {"type": START, "status": 200},
        {"type": BODY, "more_body": True},
        {"headers": []},
    ]
)

# What an application does.

templates = st.sampled_from(["page", "<h1>\u6f22</h1>", "x" * 30]).map(TemplateStep)
pauses = st.lists(
    st.tuples(st.sampled_from([YIELDS] * 4 + [FAILS]), st.integers(0, 9)), max_size=2
)
no_early = st.just([])
several_early = st.sampled_from([0, 1, 1, 2]).flatmap(
    lambda least: st.lists(early_messages, min_size=least, max_size=3)
)


@st.composite
def steps(draw, early=several_early):
    """Mostly what a server would take, with early messages; sometimes anything."""
    found = list(draw(early))
    kinds = ["response"] * 3 + ["template"] * 2 + ["misplaced", "anything"]
    kind = draw(st.sampled_from(kinds))
    if kind == "anything":
        found += draw(st.lists(starts | chunks | last_chunks | nonsense, max_size=4))
    elif kind == "template":
        found.append(draw(templates))
    else:
        found += [draw(starts), *draw(st.lists(chunks, max_size=3))]
        if kind == "misplaced":
            found.append(draw(early_messages | starts))
            found += draw(st.lists(chunks, max_size=1))
        else:
            found += draw(st.lists(last_chunks, max_size=1))
    for step, position in draw(pauses):
        found.insert(position, step)
    return draw(st.sampled_from([[], [RECEIVES]])) + found


# Requests.

nothing = st.sampled_from([{}, {"extensions": None}, {"extensions": {}}])
websockets = st.just({"type": "websocket", "extensions": {PUSH: {}}})


def offering(*choices):
    """Draw what the scope of a client says that offers one of these lists."""
    return st.sampled_from(
        [{"extensions": {name: {} for name in names}} for names in choices]
    )


something = offering([TEMPLATE, DEBUG], [TEMPLATE], [DEBUG], [PUSH], ["x.unknown"])


def clients(scopes, may_leave=False):
    leaves_after = st.none()
    # On 0.13.3 to 0.13.8 it is chance whether a response sends first, or first listens
    # whether the client leaves.
    if may_leave and not (0, 13, 3) <= NUMBERS < (0, 14, 0):
        leaves_after |= st.integers(0, 5)
    return st.builds(Client, scopes, st.integers(0, 3), leaves_after)


ANY_STEPS = steps()
ALL_LAYERS = CARRYING * 2 + TWICE + AT_ONCE + DROPPING + GZIP


def cases(clients, steps=ANY_STEPS, layers=ALL_LAYERS):
    stacks = st.lists(st.sampled_from(layers), min_size=1, max_size=3)
    return st.builds(Case, steps, stacks.filter(has_one_gzip_at_most), clients)


def has_one_gzip_at_most(layers):
    return len([layer for layer in layers if isinstance(layer, Gzip)]) <= 1
