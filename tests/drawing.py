"""Requests that Hypothesis draws: see `model.Case`."""

import model
from hypothesis import settings
from hypothesis import strategies as st
from model import BODY, DEBUG, FAILS, NUMBERS, PUSH, RECEIVES, START, TEMPLATE, YIELDS
from starlette.responses import StreamingResponse
from support import LAST_OF_FORM, RELEASE

# An example takes 2 to 5 milliseconds.
many = settings()
if RELEASE in (*LAST_OF_FORM, "0.24.0"):
    many = settings(max_examples=max(many.max_examples, 300))

# Layers.

CARRYING = [
    model.Middleware(),
    model.AddsAHeader(),
    model.ReplacesRawHeaders(),
    model.ReadsTheBody(),
    model.CopiesTheResponse(),
    model.WrapsTheResponse(),
    model.AnswersForErrors(),
    model.PlainASGI(),
]
if hasattr(StreamingResponse, "stream_response"):
    CARRYING.append(model.StreamsTheResponse())
# At most one of these in each request: behind them, little else is seen.
OTHERS = [
    model.SendsTheResponseTwice(),
    model.CallsTwice(0),
    model.CallsTwice(1),
    model.MakesANewResponse(),
    model.ChangesTheClass(),
    model.ReplacesTheResponse(),
    model.RaisesAfter(),
    model.AnswersItself(),
    model.Gzip(0),
    model.Gzip(500),
]
AT_ONCE = [model.CallsTwiceAtOnce(0), model.CallsTwiceAtOnce(1)]

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

templates = st.sampled_from(["page", "<h1>\u6f22</h1>", "x" * 30]).map(
    model.TemplateStep
)
pauses = st.lists(
    st.tuples(st.sampled_from([YIELDS] * 6 + [FAILS]), st.integers(0, 9)), max_size=2
)
no_early = st.just([])
several_early = st.sampled_from([1, 1, 2, 0]).flatmap(
    lambda least: st.lists(early_messages, min_size=least, max_size=3)
)


@st.composite
def steps(draw, early=several_early):
    """Mostly what a server would take, and early messages; sometimes anything."""
    found = list(draw(early))
    kinds = ["response"] * 4 + ["template"] * 2 + ["misplaced", "anything"]
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


any_steps = steps()

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
    return st.builds(model.Client, scopes, st.integers(0, 3), leaves_after)


@st.composite
def cases(draw, clients, steps=any_steps, others=OTHERS + AT_ONCE):
    layers = draw(st.lists(st.sampled_from(CARRYING), min_size=1, max_size=4))
    for other in draw(st.lists(st.sampled_from(others), max_size=1)):
        layers.insert(draw(st.integers(0, 4)), other)
    return model.Case(draw(steps), layers, draw(clients))
