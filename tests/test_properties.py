"""The contract as properties: of requests, of template responses, and of ``apply()`` and ``revert()`` in any order."""

import asyncio
import collections
import contextlib
import functools
import gc
import importlib
import sys
import threading

import pytest
import support
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient
from strategies import (
    BODY,
    CARRYING,
    CHANGED,
    ENDING,
    PUSH,
    START,
    TURNS,
    Asyncio,
    Case,
    Client,
    Hooks,
    Trio,
    Unclear,
    cases,
    check,
    clients,
    close,
    new_loop,
    nothing,
    owner,
    something,
)

import starlette_backport


@pytest.fixture(autouse=True, scope="module")
def _complaints():
    """Ignore that Starlette's gzip never closes a response that breaks off, which newer Pythons complain about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda args: None, raising=False)
        yield
        gc.collect()


trio = pytest.param(Trio, marks=pytest.mark.skipif(bool(Trio.missing), reason=str(Trio.missing)))
backends = pytest.mark.parametrize("backend", [Asyncio, trio], ids=["asyncio", "trio"])
# An example takes 2 to 5 milliseconds.
many = settings(max_examples=max(settings().max_examples, 300 if support.RELEASE in support.LAST_OF_FORM else 25))


@backends
@many
@given(case=cases(clients(something)))
def test_what_a_server_receives(backend, case):
    """Early messages go with their response, in order, and all else is as the model says."""
    with starlette_backport.applied():
        outcome = case.serve(backend)
    try:
        check(case, outcome)
    except Unclear as exc:
        event("left to the release: %s" % exc)


@support.needs_unpatched
@backends
@many
@given(case=cases(clients(nothing, may_leave=True)))
def test_nothing_offered_nothing_changed(backend, case):
    """Server and application see the same messages and errors at the same moments."""
    if not case.races():
        unpatched = case.serve(backend)
        with starlette_backport.applied():
            assert case.serve(backend).timeless() == unpatched.timeless()


def as_unpatched(outcome):
    """Return `outcome` with the errors that the unpatched release raises there."""
    errors = ["AssertionError" if error.startswith("Expected ") else error for error in outcome.errors]
    return outcome._replace(errors=sorted(set(errors))).timeless()


@support.needs_unpatched
@backends
@many
@given(case=cases(clients(something, may_leave=True)).map(Case.without_early))
def test_nothing_early_nothing_changed(backend, case):
    """The same, where extensions are offered but nobody sends a message before the start."""
    if not case.races():
        unpatched = case.serve(backend)
        with starlette_backport.applied():
            assert as_unpatched(case.serve(backend)) == as_unpatched(unpatched)


# Template responses.

texts = st.text(alphabet="ab <>&\"'/\\\n\t\u00e9\u6f22\U0001f600\u202e", max_size=12)
names = st.sampled_from(["title", "items", "nested"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=5,
)
parts = [
    "{{ title }}",
    "{{ title|safe }}",
    "{{ (nested or {}).title }}",
    "{{ items|length if items is sequence else title|default('none') }}",
    "{% for item in items is sequence and items or [] %}{{ loop.index }}: {{ item }};{% endfor %}",
    "{% set title = 'inner' %}{{ title|upper }}",
    "{% raw %}{{ title }}{% endraw %}",
    "{{ url_for('page') }}",
    "{# nothing #}",
]
pages = st.lists(texts | st.sampled_from(parts), max_size=6).map("".join)
inheriting = pages.map("{{% extends 'base.html' %}}{{% block content %}}{}{{{{ super() }}}}{{% endblock %}}".format)


@support.middleware
async def AddingAHeader(self, request, call_next):
    response = await call_next(request)
    response.headers["x-added"] = "1"
    return response


layers = st.lists(st.sampled_from([support.PassThrough, AddingAHeader, GZipMiddleware]), min_size=1, unique=True)


def ask(page, base, context, layers):
    """Return what the test client makes of a page behind `layers`."""
    jinja2 = pytest.importorskip("jinja2", reason="templates need jinja2")
    env = jinja2.Environment(
        autoescape=True,
        loader=jinja2.DictLoader({"page.html": page, "base.html": base + "{% block content %}{% endblock %}"}),
    )
    app = Starlette()

    async def endpoint(request):
        env.globals["url_for"] = request.url_for
        return support.TemplateResponse(env.get_template("page.html"), dict(context, request=request))

    app.add_route("/", endpoint, name="page")
    for layer in layers:
        app.add_middleware(layer)
    return TestClient(app).get("/")


@given(page=pages | inheriting, base=pages, context=st.dictionaries(names, values, max_size=3), layers=layers)
def test_any_template(page, base, context, layers):
    """The test client shows text, template and context as it does without middleware."""
    alone = ask(page, base, context, [])
    with starlette_backport.applied():
        behind = ask(page, base, context, layers)
    assert behind.status_code == alone.status_code == 200
    assert behind.text == alone.text
    assert behind.template.name == "page.html"
    assert set(behind.context) == {"request", *context}
    assert all(behind.context[name] == context[name] for name in context)


# Any order of `apply()`, `revert()` and `applied()`.


def second_copy():
    """Return another copy of the package, as after it was thrown out of `sys.modules` and imported again."""
    first = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "starlette_backport"}
    copy = importlib.import_module("starlette_backport")
    sys.modules.update(first)
    return copy


def at_once(functions):
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


class Function:
    """A function that `apply()` changes, as it was found; `holders` says who wants it to be changed."""

    def __init__(self, kind):
        self.owner = owner(kind)
        self.name = CHANGED[kind][2]
        self.function = vars(self.owner)[self.name]
        self.found = self.attributes()
        self.holders = set()
        self.changed_by = None

    def attributes(self):
        names = ["__code__", "__defaults__", "__kwdefaults__", "__closure__", "__globals__", "__name__", "__qualname__"]
        return [getattr(self.function, name) for name in names] + [dict(vars(self.function))]

    def check(self):
        """Check that it is changed exactly if the model says so, and else as it was found."""
        now = self.attributes()
        if self.holders:
            assert now[0] is not self.found[0]
            assert "starlette_backport" in now[2]
        else:
            assert now[0] is self.found[0]
            assert now == self.found


class Flight(Hooks):
    """A request on its way, which stops wherever it can."""

    def __init__(self, machine, case, app, number):
        super().__init__(1000 * number)
        self.machine, self.case = machine, case
        self.gates = []
        self.moving = False
        self.began = collections.defaultdict(list)  # Whether functions were changed when they began.
        self.task = machine.loop.create_task(case.ask(app, self))
        self.go_on()

    def begins(self, position, owner):
        (function,) = (function for function in self.machine.functions if function.owner is owner)
        self.began[position].append(bool(function.holders))

    async def gate(self):
        opened = asyncio.get_event_loop().create_future()
        self.gates.append(opened)
        try:
            await opened
        finally:
            self.moving = False
            self.gates.remove(opened)

    def go_on(self):
        """Open a gate, and run it up to the next one, or to its end."""
        closed = [gate for gate in self.gates if not gate.done()]
        if closed:
            self.moving = True
            closed[0].set_result(None)
        self.machine.loop.run_until_complete(self.stop())

    async def stop(self):
        for _ in range(5000):
            if not self.moving and (self.gates or self.task.done()):
                return
            await asyncio.sleep(0)
        raise AssertionError("it neither ends nor gets to a gate")

    def check(self):
        """Each function that it called has ended as it was begun, and nothing is from another request."""
        outcome = self.task.result()
        began = {position: iter(changed) for position, changed in self.began.items()}
        with contextlib.suppress(Unclear):
            # What never began, as an error came before it, has nothing to say.
            check(self.case, outcome, self.first_tag, lambda position: next(began.get(position, iter(())), False))


copies = st.integers(0, 1)
indices = st.integers(0, 3)
requests = st.tuples(cases(clients(something | nothing), CARRYING * 3 + TURNS + ENDING), indices, st.integers(0, 4))
changes_in_threads = st.sampled_from(["apply", "revert", "applied"])
kinds = st.sampled_from(sorted(CHANGED))


class AnyOrder(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.copies = [starlette_backport, second_copy()]
        self.modules = {name: sys.modules[name] for name in {CHANGED[kind][0] for kind in CHANGED}}
        self.current = {kind: Function(kind) for kind in CHANGED}
        self.functions = list(self.current.values())  # With those of modules that were imported anew since.
        self.loop = new_loop()
        self.contexts = []
        self.wrapped = []
        self.apps = []
        self.flights = []
        self.requests = 0

    def known_to(self, copy):
        """Return the functions that `copy` can undo: what is imported now, and what it has changed itself."""
        return [f for f in self.functions if f in self.current.values() or f.changed_by is copy]

    def hold(self, copy, holder):
        for function in self.current.values():
            if not function.holders:
                function.changed_by = copy
            function.holders.add(holder)

    def go_on(self, gates):
        """Let each request that is under way pass some gates, and check those that have ended."""
        for _ in range(gates):
            for flight in self.flights:
                flight.go_on()
        landed = [flight for flight in self.flights if flight.task.done()]
        self.flights = [flight for flight in self.flights if not flight.task.done()]
        for flight in landed:
            flight.check()

    def ask(self, case, again, gates):
        """Make a request to a new application, or to one that was built before, and let requests pass some gates."""
        if again >= len(self.apps):
            self.apps.append((case, case.app()))
        if len(self.flights) < 3:
            self.requests += 1
            self.flights.append(Flight(self, *self.apps[min(again, len(self.apps) - 1)], self.requests))
        self.go_on(gates)

    # Hypothesis leaves some rules out of each run. So there are few, and each begins with a request.
    @rule(
        request=requests,
        what=st.sampled_from(["apply", "enter", "apply", "revert", "leave"]),
        copy=copies,
        which=indices,
    )
    def change(self, request, what, copy, which):
        self.ask(*request)
        copy = self.copies[copy]
        if what == "apply":
            assert copy.apply().state == "applied"
            self.hold(copy, "apply")
        elif what == "revert":
            copy.revert()
            for function in self.known_to(copy):
                function.holders.clear()
        elif what == "enter":
            context = copy.applied()
            assert context.__enter__().state == "applied"
            self.contexts.append((copy, context))
            self.hold(copy, context)
        elif what == "leave" and self.contexts:
            copy, context = self.contexts.pop(which % len(self.contexts))
            context.__exit__(None, None, None)
            for function in self.known_to(copy):
                function.holders.discard(context)

    @rule(request=requests, copy=copies, changes=st.lists(changes_in_threads, min_size=2, max_size=4))
    def change_in_threads(self, request, copy, changes):
        self.ask(*request)
        copy = self.copies[copy]

        def applied():
            with copy.applied():
                pass

        at_once([{"apply": copy.apply, "revert": copy.revert, "applied": applied}[change] for change in changes])
        if "revert" in changes:
            for function in self.known_to(copy):
                function.holders.clear()
        if "apply" in changes and copy.status().state == "applied":  # Else a revert was the last one.
            self.hold(copy, "apply")

    @rule(request=requests, kind=kinds, how=st.sampled_from(["functools.wraps", "closure", "unwrap"]))
    def wrap(self, request, kind, how):
        """Another tool wraps a function, or takes the last wrapper off."""
        self.ask(*request)
        if how == "unwrap":
            if self.wrapped:
                setattr(*self.wrapped.pop())
            return
        cls, name = owner(kind), CHANGED[kind][2]
        function = vars(cls)[name]

        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        setattr(cls, name, functools.wraps(function)(wrapper) if how == "functools.wraps" else wrapper)
        self.wrapped.append((cls, name, function))

    @rule(request=requests, kind=kinds)
    def import_anew(self, request, kind):
        self.ask(*request)
        module = CHANGED[kind][0]
        del sys.modules[module]
        importlib.import_module(module)
        self.current[kind] = Function(kind)
        self.functions.append(self.current[kind])

    @invariant()
    def what_is_changed_is_what_is_wanted(self):
        for function in self.functions:
            function.check()
        applied = all(function.holders for function in self.current.values())
        for copy in self.copies:
            assert copy.status().state == ("applied" if applied else "not applied")
        push = {"type": PUSH, "path": "/style.css"}
        steps = [push, {"type": START, "status": 200, "headers": []}, {"type": BODY, "body": b""}]
        messages, errors, _ = Case(steps, ["passes"], Client({"extensions": {PUSH: {}}})).serve()
        if self.current["base"].holders:
            assert errors == []
            assert messages[0] == dict(push, tag=0)
        else:
            assert errors == ["AssertionError"]

    def teardown(self):
        try:
            while self.flights:
                self.go_on(1)
        finally:
            for _, context in self.contexts:
                context.__exit__(None, None, None)
            while self.wrapped:
                setattr(*self.wrapped.pop())
            for copy in self.copies:
                copy.revert()
            for name, module in self.modules.items():
                sys.modules[name] = module
                parent, _, attribute = name.rpartition(".")
                setattr(sys.modules[parent], attribute, module)
            close(self.loop)
        for function in self.functions:
            function.holders.clear()
            function.check()
            assert vars(function.owner)[function.name] is function.function


TestAnyOrder = support.needs_unpatched(AnyOrder.TestCase)
# Each example has many steps, and the invariant is checked after each of them.
TestAnyOrder.settings = settings(max_examples=settings().max_examples * 3 // 10)
