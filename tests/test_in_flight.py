"""`apply`, `revert` and all around them, in any order, with requests in flight: a state machine."""

import asyncio
import functools
import gc
import importlib
import sys
import threading

import pytest
from agreement import check
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from model import Unclear
from programs import Case, Client, TemplateStep, cases, close, new_loop, patient_clients
from support import BODY, CARRIER, PUSH, START, UNKNOWN

import starlette_backport

MODULES = ["starlette.middleware.base", "starlette.middleware.gzip", "starlette.testclient"]
WRAPPED = [
    ("starlette.middleware.base", "BaseHTTPMiddleware", CARRIER),
    ("starlette.middleware.gzip", "GZipResponder", "__call__"),
]


indices = st.integers(0, 5)


def changed_functions():
    """Return the functions that `status` names, of the modules that are imported, from behind wrappers."""
    for name in starlette_backport.status().functions:
        module, class_name, attribute = name.rsplit(".", 2)
        if module in sys.modules:
            function = vars(getattr(sys.modules[module], class_name))[attribute]
            while hasattr(function, "__wrapped__"):
                function = function.__wrapped__
            yield function


def together(functions):
    """Call each of `functions` in a thread of its own; raise what they raised."""
    barrier = threading.Barrier(len(functions))
    errors = []

    def call(function):
        barrier.wait()
        try:
            function()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for error in errors:
        raise error


class Flight:
    """A request on its way, which stops wherever it can."""

    def __init__(self, loop, case, app, applied):
        self.loop = loop
        self.case = case
        self.waiting = []
        self.stopped = False
        # Whether the backport was applied, for each moment that it has seen.
        self.states = {applied}
        self.task = loop.create_task(case.ask(app, gate=self.gate))
        self.go_on()

    async def gate(self):
        opened = self.loop.create_future()
        self.waiting.append(opened)
        try:
            action = await opened
        finally:
            self.stopped = False
            self.waiting.remove(opened)
        action()

    def go_on(self, action=lambda: None):
        """Run it up to its next gate, or to its end; `action` is done by the request itself."""
        # Not those that the release has given up on in the meantime.
        closed = [gate for gate in self.waiting if not gate.done()]
        if closed:
            self.stopped = True
            closed[0].set_result(action)
        self.loop.run_until_complete(self._arrive())

    async def _arrive(self):
        for _ in range(5000):
            if not self.stopped and (self.waiting or self.task.done()):
                return
            await asyncio.sleep(0)
        raise AssertionError("it neither ends nor gets to a gate")

    def check(self):
        outcome = self.task.result()
        errors = []
        pure = [(applied, applied) for applied in self.states]
        # A template response that has not begun at `revert()` is the release's own: it knows no debug message.
        # But for that, there is no third thing.
        for carries, debug in [*pure, (True, False)] if len(pure) == 2 else pure:
            try:
                return check(self.case, outcome, carries, debug)
            except Unclear:
                return None
            except AssertionError as exc:
                errors.append(exc)
        raise AssertionError("%r, having seen %r: %r" % (self.case, self.states, outcome)) from errors[0]


class Everything(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.modules = {name: importlib.import_module(name) for name in MODULES}
        self.meta_path = list(sys.meta_path)
        self.shipped = {function: function.__code__ for function in changed_functions()}
        self.loop = new_loop()
        # Who wants the backport applied.
        self.holders = set()
        self.contexts = []
        self.wrapped = []
        self.apps = []
        self.flights = []

    def change(self, function, *holders):
        """Do what leaves `holders`, with requests in flight."""
        function()
        self.holders = set(holders)
        for flight in self.flights:
            flight.states.add(bool(self.holders))

    def apply(self):
        self.change(starlette_backport.apply, "apply", *self.holders)

    def revert(self):
        self.change(starlette_backport.revert)

    @rule(change=st.sampled_from(["apply", "revert"]), elsewhere=st.booleans())
    def apply_or_revert(self, change, elsewhere):
        if elsewhere:
            together([getattr(self, change)])
        else:
            getattr(self, change)()

    @rule()
    def enter_applied(self):
        context = starlette_backport.applied()
        self.contexts.append(context)
        self.change(context.__enter__, context, *self.holders)

    @precondition(lambda self: self.contexts)
    @rule(which=indices)
    def leave_applied(self, which):
        context = self.contexts.pop(which % len(self.contexts))
        self.change(lambda: context.__exit__(None, None, None), *(self.holders - {context}))

    @rule(changes=st.lists(st.sampled_from(["apply", "revert", "applied"]), min_size=2, max_size=4))
    def all_at_once(self, changes):
        def enter_and_leave():
            with starlette_backport.applied():
                pass

        functions = {"apply": starlette_backport.apply, "revert": starlette_backport.revert, "applied": enter_and_leave}
        for flight in self.flights:
            flight.states.update([True, False])
        together([functions[change] for change in changes])
        if "revert" not in changes:
            self.holders.update({"apply"}.intersection(changes))
        elif "apply" not in changes:
            self.holders.clear()
        else:  # Whoever came last.
            self.holders = {"apply"} if starlette_backport.status().state == "applied" else set()

    @rule(which=st.sampled_from(WRAPPED))
    def wrap(self, which):
        module, class_name, name = which
        owner = getattr(sys.modules[module], class_name)
        function = vars(owner)[name]

        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            return await function(*args, **kwargs)

        setattr(owner, name, wrapper)
        self.wrapped.append((owner, name, function))

    @precondition(lambda self: self.wrapped)
    @rule()
    def unwrap(self):
        setattr(*self.wrapped.pop())

    # Only then: a class that was thrown out before `apply()` is out of its reach.
    @precondition(lambda self: not self.flights and not self.wrapped)
    @rule(name=st.sampled_from(MODULES))
    def import_anew(self, name):
        del sys.modules[name]
        self.apps.clear()
        importlib.import_module(name)

    @rule(case=cases(patient_clients))
    def build(self, case):
        self.apps.append((case, case.app()))

    @precondition(lambda self: self.apps and len(self.flights) < 3)
    @rule(which=indices)
    def ask(self, which):
        self.flights.append(Flight(self.loop, *self.apps[which % len(self.apps)], bool(self.holders)))

    @precondition(lambda self: self.flights)
    @rule(which=indices, gates=st.integers(1, 6), action=st.sampled_from([None, None, "apply", "revert"]))
    def go_on(self, which, gates, action):
        flight = self.flights[which % len(self.flights)]
        for _ in range(gates):
            flight.go_on()
        if action is not None:
            flight.go_on(getattr(self, action))
        self.check_landed()

    def check_landed(self):
        """What arrived is what the release makes of the request or what the backport does: no third thing."""
        for flight in self.flights:
            if flight.task.done():
                flight.check()
        self.flights = [flight for flight in self.flights if not flight.task.done()]

    @invariant()
    def what_is_changed_is_what_is_wanted(self):
        applied = bool(self.holders)
        assert starlette_backport.status().state == ("applied" if applied else "not applied")
        for function in changed_functions():
            assert ("starlette_backport" in function.__code__.co_filename) == applied
        if not applied:
            assert all(function.__code__ is code for function, code in self.shipped.items())
            assert sys.meta_path == self.meta_path
        messages, errors = Case([PUSH, START, BODY], ["passes through"], None, Client(None)).serve()
        if applied:
            assert errors == []
            assert messages[0] == dict(PUSH, run=0)
        else:
            assert errors == ["AssertionError: "]

    def teardown(self):
        try:
            while self.flights:
                self.flights[0].go_on()
                self.check_landed()
        finally:
            while self.wrapped:
                self.unwrap()
            starlette_backport.revert()
            for name, module in self.modules.items():
                sys.modules[name] = module
                parent, _, attribute = name.rpartition(".")
                setattr(sys.modules[parent], attribute, module)
            close(self.loop)
        assert all(function.__code__ is code for function, code in self.shipped.items())


@pytest.fixture
def loop():
    loop = new_loop()
    yield loop
    close(loop)


DEBUG_ONLY = Client(("http.response.debug",))
ON_THE_WAY = [
    Case([PUSH, UNKNOWN, START, BODY], ["passes through"], None, Client(None)),
    Case([PUSH, UNKNOWN, START, BODY], [], (0, 0), Client(None)),
    Case([PUSH, START, BODY], ["passes through", "answers for errors", "adds a header"], (0, 0), Client(None)),
    Case([PUSH, START, BODY], ["adds a header", "twice, the first", "passes through"], (1, 0), Client(None)),
    Case([TemplateStep("page")], ["passes through", "passes through"], None, DEBUG_ONLY),
    Case([PUSH, TemplateStep("page")], ["answers for errors", "passes through"], (1, 500), DEBUG_ONLY),
]


@pytest.mark.parametrize("case", ON_THE_WAY, ids=str)
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("first", [starlette_backport.apply, starlette_backport.revert])
def test_a_change_at_any_moment(loop, case, first, times):
    """A request that has seen both states comes out as in one of them: defects that the machine has found."""
    changes = {starlette_backport.apply: starlette_backport.revert, starlette_backport.revert: starlette_backport.apply}
    for gates in range(100):
        change = first
        change()
        flight = Flight(loop, case, case.app(), change is starlette_backport.apply)
        for _ in range(gates):
            flight.go_on()
        if flight.task.done():
            break
        for _ in range(times):
            change = changes[change]
            flight.go_on(change)
            flight.states = {True, False}
        while not flight.task.done():
            flight.go_on()
        flight.check()
    assert gates > 1


def test_frames_are_looked_through_only_while_they_might_tell_anything(loop):
    from starlette_backport._in_flight import earlier

    case = Case([PUSH, START, BODY], ["passes through"], None, Client(None))
    flight = Flight(loop, case, case.app(), False)
    flight.go_on()  # Into `call_next`, and up to the application's first message.
    starlette_backport.apply()
    assert case.serve().errors == []
    assert earlier
    while not flight.task.done():
        flight.go_on()
    assert flight.task.result().errors == ["AssertionError: "]
    flight.task = None
    gc.collect()  # The error holds the frames that it has passed.
    assert case.serve().errors == []
    assert not earlier


TestEverything = Everything.TestCase
# Each example has many steps, and all invariants are looked at after each of them.
TestEverything.settings = settings(max_examples=settings().max_examples // 10)
