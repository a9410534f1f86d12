"""What becomes of each message that an application sends to ``call_next``.

The theory: a server wants one ``http.response.start``, then ``http.response.body`` as often as it takes.
Extensions put messages of their own before the start (``http.response.template`` and
``http.response.debug`` from template responses, ``http.response.push`` from HTTP/2), and only these trip
``call_next``. So there are two states, before and after the start:

=============  ==============================  ==============================
message        before the start                after the start
=============  ==============================  ==============================
start          passes, with what was held      an error
body           an error                        passes
anything else  is held                         an error
=============  ==============================  ==============================

An error is not raised here, in the application's ``send``, but passed on as an ``Unexpected`` message that
raises where the release looks at it: there the affected releases raise, so the same code sees it.
"""

import typing

if typing.TYPE_CHECKING:
    Message = typing.MutableMapping[str, typing.Any]
    _Dict = typing.Dict[str, typing.Any]
else:
    # Those of `typing` take longer to make, and so does each class that is made of them.
    Message = _Dict = dict

START = "http.response.start"
BODY = "http.response.body"


NO_TYPE = object()

# No type of a message is equal to it.
NOTHING = object()

# What becomes of a message that is not handed on now.
KEPT = object()


def kind(message: typing.Any) -> typing.Any:
    """Return the type of `message`, or NO_TYPE where it has none: that is for the release to choke on."""
    try:
        return message["type"]
    except Exception:
        return NO_TYPE


class EarlyStart(_Dict):
    """The start of a response together with the messages that were sent before it."""

    def __init__(self, message: Message, held: typing.List[Message]) -> None:
        super().__init__(message)
        self.held = held


class Unexpected(_Dict):
    """Stands for a message that cannot be carried: whoever looks into it gets `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def __bool__(self) -> bool:
        return True  # A memory stream of anyio tells by this whether a message is still waiting.

    def __missing__(self, key: str) -> typing.Any:
        raise self.error

    def get(self, key: str, default: typing.Any = None) -> typing.Any:
        raise self.error


class DoubtfulBody(_Dict):
    """A body after a start that may not have got through: whoever takes it for the start gets `error`."""

    def __init__(self, message: Message, error: Exception) -> None:
        super().__init__(message, type=_DoubtfulType(BODY))
        self["type"].error = self.error = error

    def __missing__(self, key: str) -> typing.Any:
        # What the release wants of a start under ``python -O``, without having looked at the type.
        raise self.error if key == "status" else KeyError(key)


class _DoubtfulType(str):
    error: Exception

    def __eq__(self, other: typing.Any) -> bool:
        if other == START:
            raise self.error
        return str.__eq__(self, other)

    __hash__ = str.__hash__


class Spare(_Dict):
    """A message that the unpatched release would not have let through to here: it may get lost again."""


class Hold:
    """Follows the messages of one call of an application, from ``call_next``'s point of view.

    `passes` is the type of the message that goes on as it is: START before the start, BODY after it, and NOTHING
    while early messages are held, as the start has to take these along. Whoever is in a hurry may look at that.
    """

    __slots__ = ("held", "in_doubt", "passes")

    early_start: typing.Type[EarlyStart] = EarlyStart

    def __init__(self) -> None:
        self.passes: typing.Any = START

    def unexpected(self, received: typing.Any, expected: str) -> Exception:
        """Return the error for a message of type `received` that comes where `expected` is."""
        raise NotImplementedError

    def take(self, message: typing.Any) -> typing.Any:
        """Return what to hand on for `message`, or KEPT."""
        type_ = kind(message)
        if self.passes is BODY:
            if type_ == BODY or type_ is NO_TYPE:
                return message
            return KEPT if isinstance(message, Spare) else Unexpected(self.unexpected(type_, BODY))
        if type_ == START or type_ is NO_TYPE:
            # Without a type it is for the release to choke on, which under ``python -O`` takes it for the start.
            passed = message if self.passes is START else self._start(message)
            self.passes = BODY
            return passed
        if type_ == BODY:
            self.passes = BODY
            error = self.unexpected(type_, START)
            return DoubtfulBody(message, error) if hasattr(self, "in_doubt") else Unexpected(error)
        if self.passes is START:
            self.passes = NOTHING
            self.held: typing.List[Message] = []
        # The application may go on to use its own one for the next message.
        self.held.append(dict(message) if type(message) is dict else message)
        return KEPT

    def undelivered(self, message: typing.Any) -> None:
        """Take back `message`, which `take` returned: sending it has failed or was cancelled.

        That need not mean that it did not get through; so a body is no error from then on.
        """
        self.in_doubt = True
        if isinstance(message, EarlyStart):
            self.held = message.held
        self.passes = NOTHING if hasattr(self, "held") else START

    def _start(self, message: Message) -> Message:
        try:
            message["headers"]
            passed = self.early_start(message, self.held)
        except Exception:
            return message  # The release is to raise its own error.
        # From here on they live as long as their response, not as long as the application runs.
        del self.held
        return passed
