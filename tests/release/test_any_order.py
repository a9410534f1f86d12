"""`apply()`, `revert()` and `applied()` in any order, while requests are under way.

A state machine does what applications, tests and other tools may do: with two copies of
the package, from several threads, with wrappers around functions of Starlette, and with
modules that are imported anew. After each step, a function is changed if somebody wants
it to be, and is as it was found if nobody does. Each request ends as it began.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import importlib
import sys
import threading
from unittest import mock

import support
from drawing import OTHERS, cases, clients, nothing, something
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from model import (
    MIDDLEWARE,
    PUSH,
    TEMPLATE_RESPONSE,
    Asyncio,
    Case,
    Client,
    Hooks,
    Middleware,
    Unclear,
    check,
    close,
    new_loop,
)

import starlette_backport

CHANGED = [MIDDLEWARE, TEMPLATE_RESPONSE]
# A request that shows whether the middleware carries messages.
EARLY = {"type": PUSH, "path": "/style.css"}
PROBE = Case(
    [EARLY, support.START, support.BODY],
    [Middleware()],
    Client({"extensions": {PUSH: {}}}),
)


class Function:
    """A function that `apply()` changes, as it was found."""

    def __init__(self, changed):
        self.owner = changed.owner()
        self.name = changed.name
        self.function = vars(self.owner)[changed.name]
        self.found = support.parts_of(self.function)
        #: Who wants it to be changed.
        self.holders = set()
        #: The copies of the package that have changed it, or kept it changed.
        self.known_by = set()

    def check(self):
        if self.holders:
            assert self.function.__code__ is not self.found[0]
            assert "starlette_backport" in self.function.__kwdefaults__
        else:
            assert self.function.__code__ is self.found[0]
            assert support.parts_of(self.function) == self.found


class Flight(Hooks):
    """A request on its way, which stops wherever it can."""

    def __init__(self, machine, case, app, number):
        super().__init__(Asyncio, first_tag=1000 * number)
        self.machine = machine
        self.case = case
        self.gates = []
        #: Whether functions were changed when they began.
        self.began = collections.defaultdict(collections.deque)
        self.task = machine.loop.create_task(case.ask(app, self))
        self.go_on()

    def begins(self, name, owner):
        for function in self.machine.functions:
            if function.owner is owner:
                self.began[name].append(bool(function.holders))

    async def gate(self):
        gate = asyncio.get_event_loop().create_future()
        self.gates.append(gate)
        await gate

    def go_on(self):
        """Open a gate, and let everything run on, to gates or to the end."""
        for gate in self.gates:
            if not gate.done():
                gate.set_result(None)
                break
        self.machine.loop.run_until_complete(several_turns())

    def check(self):
        """Each function has ended as it began, and nothing is of another request."""

        def began_changed(name):
            # An error may have come before it began.
            return bool(self.began[name]) and self.began[name].popleft()

        with contextlib.suppress(Unclear):
            check(self.case, self.task.result(), self.first_tag, began_changed)


async def several_turns():
    for _ in range(50):
        await asyncio.sleep(0)


def at_once(functions):
    """Call each of `functions` in a thread of its own."""
    barrier = threading.Barrier(len(functions))

    def wait_and_call(function):
        barrier.wait()
        function()

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        list(pool.map(wait_and_call, functions))


# Wrappers that other tools put around functions, and around wrappers.


def closing_over_two(function):
    """Wrap as sentry-sdk does: with a function that shows no sign of the other one."""
    another_function = MIDDLEWARE.owner().__init__

    def wrapper(*args, **kwargs):
        return function(*args, **kwargs) if another_function else None

    return wrapper


class Binding:
    """Wrap as wrapt does: with an object that binds."""

    def __init__(self, wrapped):
        self.__wrapped__ = wrapped

    def __get__(self, instance, owner):
        return support.naming(self.__wrapped__.__get__(instance, owner))

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)


copies = st.integers(0, 1)
places = st.sampled_from(CHANGED)
# Of calls at once, nobody knows which one begins first: no layer of AT_ONCE.
any_case = cases(clients(something | something | nothing), others=OTHERS)
# The arguments of `ask`: a case, which application, how many gates.
requests = st.tuples(any_case, st.integers(0, 2), st.integers(0, 1))


class AnyOrder(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.copies = [starlette_backport, support.second_copy()]
        self.modules = [sys.modules[place.module] for place in CHANGED]
        self.contents = [dict(vars(module)) for module in self.modules]
        self.current = {place: Function(place) for place in CHANGED}
        #: With those of modules that were imported anew since.
        self.functions = list(self.current.values())
        self.loop = new_loop()
        self.contexts = []
        self.wrappers = []
        self.apps = []
        self.flights = []
        self.requests = 0

    def ask(self, case, which_app, gates):
        """Make a request to a new application, or to one that was built before.

        Then let the requests that are under way pass some gates.
        """
        if which_app >= len(self.apps):
            self.apps.append((case, case.app()))
        if len(self.flights) < 3:
            self.requests += 1
            case, app = self.apps[min(which_app, len(self.apps) - 1)]
            self.flights.append(Flight(self, case, app, self.requests))
        for _ in range(gates):
            self.go_on()

    def go_on(self):
        for flight in self.flights:
            flight.go_on()
        landed = [flight for flight in self.flights if flight.task.done()]
        self.flights = [flight for flight in self.flights if flight not in landed]
        for flight in landed:
            flight.check()

    def known_to(self, copy):
        """Return what `copy` can undo, also where a module was imported anew since."""
        current = self.current.values()
        return [f for f in self.functions if f in current or copy in f.known_by]

    def hold(self, copy, holder):
        for function in self.current.values():
            if not function.holders:
                function.known_by.clear()
            function.known_by.add(copy)
            function.holders.add(holder)

    def let_go(self, copy):
        for function in self.known_to(copy):
            function.holders.clear()

    # Hypothesis leaves some rules out of each run. So there are few of them, and each
    # begins with a request.
    @rule(
        request=requests,
        what=st.sampled_from(["apply", "enter", "apply", "revert", "leave"]),
        copy=copies,
        which=st.integers(0, 3),
    )
    def change(self, request, what, copy, which):
        self.ask(*request)
        copy = self.copies[copy]
        if what == "apply":
            assert copy.apply().state == "applied"
            self.hold(copy, "apply")
        elif what == "revert":
            copy.revert()
            self.let_go(copy)
        elif what == "enter":
            context = copy.applied()
            assert context.__enter__().state == "applied"
            self.contexts.append((copy, context))
            self.hold(copy, context)
        elif self.contexts:
            copy, context = self.contexts.pop(which % len(self.contexts))
            context.__exit__(None, None, None)
            for function in self.known_to(copy):
                function.holders.discard(context)

    @rule(
        request=requests,
        copy=copies,
        changes=st.lists(
            st.sampled_from(["apply", "revert", "applied"]), min_size=2, max_size=4
        ),
    )
    def change_in_threads(self, request, copy, changes):
        self.ask(*request)
        copy = self.copies[copy]

        def applied():
            with copy.applied():
                pass

        calls = {"apply": copy.apply, "revert": copy.revert, "applied": applied}
        at_once([calls[change] for change in changes])
        for function in self.current.values():
            function.known_by.add(copy)
        if "revert" in changes:
            self.let_go(copy)
        # Else the revert was the last one.
        if "apply" in changes and copy.status().state == "applied":
            self.hold(copy, "apply")

    @rule(
        request=requests,
        place=places,
        wrapper=st.sampled_from([support.naming, closing_over_two, Binding]),
        unwrap=st.booleans(),
    )
    def wrap(self, request, place, wrapper, unwrap):
        """Another tool takes its last wrapper off, or wraps a function."""
        self.ask(*request)
        if unwrap and self.wrappers:
            self.wrappers.pop().stop()
            return
        owner = place.owner()
        wrapped = wrapper(vars(owner)[place.name])
        self.wrappers.append(mock.patch.object(owner, place.name, wrapped))
        self.wrappers[-1].start()

    @rule(request=requests, place=places, how=st.sampled_from(["reload", "import"]))
    def import_anew(self, request, place, how):
        self.ask(*request)
        if how == "reload":
            importlib.reload(sys.modules[place.module])
        else:
            del sys.modules[place.module]
            importlib.import_module(place.module)
        self.current[place] = Function(place)
        self.functions.append(self.current[place])

    @invariant()
    def what_is_changed_is_what_is_wanted(self):
        for function in self.functions:
            function.check()
        is_applied = all(function.holders for function in self.current.values())
        for copy in self.copies:
            assert (copy.status().state == "applied") is is_applied
        messages, errors, _ = PROBE.serve(Asyncio)
        if self.current[MIDDLEWARE].holders:
            assert errors == []
            assert messages[0] == dict(EARLY, context={"tag": 0})
        else:
            assert errors == ["AssertionError"]

    def teardown(self):
        try:
            for _ in range(1000):
                self.go_on()
            assert not self.flights, "a request neither ends nor gets to a gate"
        finally:
            for _, context in self.contexts:
                context.__exit__(None, None, None)
            while self.wrappers:
                self.wrappers.pop().stop()
            for copy in self.copies:
                copy.revert()
            for module, content in zip(self.modules, self.contents):
                vars(module).update(content)
                sys.modules[module.__name__] = module
                parent, _, attribute = module.__name__.rpartition(".")
                setattr(sys.modules[parent], attribute, module)
            close(self.loop)
        for function in self.functions:
            function.holders.clear()
            function.check()
            assert vars(function.owner)[function.name] is function.function


# Each example has many steps, and the invariant is checked after each of them.
max_examples = max(25, settings().max_examples * 3 // 10)
AnyOrder.TestCase.settings = settings(max_examples=max_examples)
TestAnyOrder = support.needs_unpatched(AnyOrder.TestCase)
