"""Functions with another body, and bodies that are known.

A function is changed in place, by giving it another ``__code__``: that reaches everyone who holds it
already, such as instrumentation that captured ``cls.__call__`` before, and putting the old code back is an
exact undo. But code that stands in another function sees that function's globals, here Starlette's, and may
not bring a closure. So what it needs is put among its constants: in the functions that give their bodies,
the donors, a string in angle brackets stands for the object of that name in the donor's module, and
``"<release>"`` for a function that does what the release's does, with a copy of its body. So the body that was
shipped is run only by calls that had begun before, and by ``"<shipped>"``: see `_in_flight`.
"""

import dis
import types
import typing
import zlib

# How often these occur is the same on all Python versions, unlike with most others.
_COUNTED = [dis.opmap[name] for name in ("RAISE_VARARGS", "STORE_ATTR", "STORE_DEREF")]

# Names that the compiler of some Python versions adds of its own.
_COMPILER_NAMES = {"AssertionError", "StopAsyncIteration"}

# What `code.replace` (Python 3.8) is made of, for 3.6 and 3.7.
_CODE_ARGUMENTS = [
    *("argcount", "kwonlyargcount", "nlocals", "stacksize", "flags", "code", "consts", "names"),
    *("varnames", "filename", "name", "firstlineno", "lnotab", "freevars", "cellvars"),
]


# What is done at the moment, by function: `_process` guards it.
done: "typing.Dict[typing.Any, Transplant]" = {}


def release_of(method: typing.Any) -> typing.Any:
    """Return what does as the release's function does, for a method of that with another body; None for all else."""
    if type(method) is not types.MethodType:
        return None  # A wrapper, however much it may look like what it wraps.
    transplant = done.get(method.__func__)
    if transplant is None or transplant.function.__code__ is not transplant.code:
        return None  # Somebody else has changed it since.
    return types.MethodType(transplant.release, method.__self__)


class Transplant:
    """One function with the body of another one; `undo` puts its own back."""

    def __init__(self, function: types.FunctionType, donor: types.FunctionType) -> None:
        """Prepare `function` to get the body of `donor`; nothing changes before `do`."""
        self.function = function
        self.shipped = function.__code__
        self.release = _twin(function, _copy(function.__code__))
        # Kept, so that the number of references to the shipped code is the same for all: see `_in_flight`.
        self.before = _twin(function, function.__code__)
        objects = dict(donor.__globals__, release=self.release, shipped=self.before)
        consts = [
            objects[const[1:-1]] if isinstance(const, str) and const.startswith("<") else const
            for const in donor.__code__.co_consts
        ]
        self.code = _with_consts(donor.__code__, tuple(consts))

    def do(self) -> None:
        done[self.function] = self
        self.function.__code__ = self.code

    def undo(self) -> None:
        done.pop(self.function, None)
        # Where somebody else has changed the function since, that change stays.
        if self.function.__code__ is self.code:
            self.function.__code__ = self.shipped


def _twin(function: types.FunctionType, code: types.CodeType) -> types.FunctionType:
    """Return another function that does what `function` does now, by way of `code`."""
    twin = types.FunctionType(
        code,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    twin.__qualname__ = function.__qualname__ + " (release)"
    return twin


def _with_consts(code: types.CodeType, consts: "typing.Tuple[typing.Any, ...]") -> types.CodeType:
    if hasattr(code, "replace"):
        return code.replace(co_consts=consts)
    values = {name: getattr(code, "co_" + name) for name in _CODE_ARGUMENTS}
    values["consts"] = consts
    return types.CodeType(*(values[name] for name in _CODE_ARGUMENTS))


def _copy(code: types.CodeType) -> types.CodeType:
    consts = (_copy(const) if isinstance(const, types.CodeType) else const for const in code.co_consts)
    return _with_consts(code, tuple(consts))


def nested(code: types.CodeType, name: str) -> "typing.Optional[types.CodeType]":
    """Return the class body or function called `name` that is defined directly within `code`."""
    for const in code.co_consts:
        if isinstance(const, types.CodeType) and const.co_name == name:
            return const
    return None


def walk(code: types.CodeType) -> "typing.Iterator[types.CodeType]":
    """Yield `code` and that of all functions within it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from walk(const)


def texts(code: types.CodeType) -> "typing.Set[typing.Any]":
    """Return the strings and bytes that `code` and the functions within it mention."""
    found: typing.Set[typing.Any] = set()
    for inner in walk(code):
        for const in inner.co_consts:
            for item in const if isinstance(const, (tuple, frozenset)) else (const,):
                # The compiler up to Python 3.10 adds the names of nested functions.
                if isinstance(item, (str, bytes)) and "<locals>" not in str(item):
                    found.add(item)
    return found


def _last_line(code: types.CodeType) -> int:
    lines = {code.co_firstlineno}
    for inner in walk(code):
        lines.update(line for _, line in dis.findlinestarts(inner) if line)
    return max(lines)


def _digits(summary: bytes) -> str:
    return "%08x" % zlib.crc32(summary)


def source_fingerprint(code: types.CodeType, source: bytes) -> str:
    """Return eight hex digits for the lines of `source`, its module's, that `code` was compiled from."""
    lines = source.splitlines()[code.co_firstlineno - 1 : _last_line(code)]
    return _digits(b"\n".join(line.rstrip() for line in lines))


def fingerprint(code: types.CodeType) -> str:
    """Return eight hex digits for what `code` says, the same on Python 3.6 to 3.13.

    Byte code differs between versions of Python, so this takes what lasts: how many lines it spans, which
    functions it has within, on which line and with which arguments, all names and texts in it, and how
    often it raises and assigns to attributes and outer variables. That sees most changes, and needs no
    source. Under ``python -O`` the asserts are gone, so that is another fingerprint.
    """
    names: typing.Set[str] = set()
    functions = []
    counts = [0] * len(_COUNTED)
    for inner in walk(code):
        names.update(inner.co_names, inner.co_varnames, inner.co_freevars, inner.co_cellvars)
        operations = inner.co_code[::2]
        counts = [count + operations.count(operation) for count, operation in zip(counts, _COUNTED)]
        # Not comprehensions: since Python 3.12 they have no code of their own.
        if not inner.co_name.startswith("<"):
            arguments = inner.co_varnames[: inner.co_argcount + inner.co_kwonlyargcount]
            functions.append((inner.co_firstlineno - code.co_firstlineno, inner.co_name, arguments))
    # Names with a dot are the compiler's, too.
    names = {name for name in names - _COMPILER_NAMES if not name.startswith(".")}
    span = _last_line(code) - code.co_firstlineno
    summary = (span, counts, sorted(functions), sorted(names), sorted(map(repr, texts(code))))
    return _digits(repr(summary).encode("utf-8"))
