"""OpenTelemetry, ddtrace and wrapt itself, put in before and after the backport, and taken out again."""

import pytest
import stack

import starlette_backport


def build():
    return stack.add_outer(stack.build())


def check_tracing(order, app, traced):
    """Check `app`, of whose requests ``traced()`` gives the paths that were traced since it was called last."""
    client = stack.client(app)
    quiet = stack.client(app, raise_server_exceptions=False)

    def page():
        traced()
        response = client.get("/page")
        stack.check_page(response)
        assert response.headers["x-outer"] == "seen"
        assert traced() == ["/page"]

    def rest():
        traced()
        response = client.get("/plain")
        assert (response.text, response.headers["x-outer"]) == ("plain", "seen")
        assert quiet.get("/error").status_code == 500
        assert traced() == ["/plain", "/error"]

    order.check(page, rest)


def check_taken_out(order, app, traced, take_out):
    """Check that `take_out` leaves the backport in charge, and ``revert()`` what is taken out.

    What becomes of `app`, which was built before, is up to the tool: some leave their middleware in it.
    """
    client = stack.client(app)
    if order.name == "late":
        starlette_backport.apply()
    stack.check_page(client.get("/page"))
    assert traced() == ["/page"]
    take_out()
    later = stack.client(build())
    stack.check_page(client.get("/page"))
    traced()
    stack.check_page(later.get("/page"))
    assert traced() == []
    starlette_backport.revert()
    for one in client, later:
        order.fails(lambda one=one: one.get("/page"))
        assert one.get("/plain").text == "plain"
    starlette_backport.apply()
    stack.check_page(client.get("/page"))
    stack.check_page(later.get("/page"))


def opentelemetry():
    """Return a tracer provider, and ``traced()`` for it."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def traced():
        spans = exporter.get_finished_spans()
        exporter.clear()
        return [span.attributes["http.target"] for span in spans if span.kind.name == "SERVER"]

    return provider, traced


def test_opentelemetry_for_all_applications(order):
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    provider, traced = opentelemetry()
    FastAPIInstrumentor().instrument(tracer_provider=provider)
    check_tracing(order, build(), traced)


def test_opentelemetry_for_one_application(order):
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    provider, traced = opentelemetry()
    app = build()
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    check_tracing(order, app, traced)


def test_opentelemetry_taken_out(order):
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    provider, traced = opentelemetry()
    FastAPIInstrumentor().instrument(tracer_provider=provider)
    check_taken_out(order, build(), traced, FastAPIInstrumentor().uninstrument)


def test_opentelemetry_taken_out_of_one_application(order):
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    if not hasattr(FastAPIInstrumentor, "uninstrument_app"):
        pytest.skip("this OpenTelemetry cannot be taken out of one application yet")
    provider, traced = opentelemetry()
    app = build()
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    check_taken_out(order, app, traced, lambda: FastAPIInstrumentor.uninstrument_app(app))


def ddtrace(monkeypatch):
    """Put ddtrace in; return ``traced()`` for it."""
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
    import ddtrace
    from ddtrace.filters import TraceFilter

    paths = []

    class Recorder(TraceFilter):
        def process_trace(self, trace):
            paths.extend(span.get_tag("http.url") for span in trace if span.get_tag("http.url"))
            # None: nothing is sent to anybody.

    ddtrace.tracer.configure(settings={"FILTERS": [Recorder()]})
    ddtrace.patch(starlette=True, fastapi=True)

    def traced():
        found = [path.split("testserver")[-1] for path in paths]
        del paths[:]
        return found

    return traced


def test_ddtrace(order, monkeypatch):
    traced = ddtrace(monkeypatch)
    check_tracing(order, build(), traced)


def test_ddtrace_taken_out(order, monkeypatch):
    from ddtrace import contrib

    traced = ddtrace(monkeypatch)

    def take_out():
        contrib.fastapi.unpatch()
        contrib.starlette.unpatch()

    check_taken_out(order, build(), traced, take_out)


def wrapped_functions():
    """Put wrapt around what the backport changes; return ``traced()``, and what takes it out."""
    import wrapt
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.templating import _TemplateResponse

    paths = []

    def around_middleware(wrapped, instance, args, kwargs):
        assert isinstance(instance, BaseHTTPMiddleware)
        scope = args[0]  # Where it is a method, call_next is called with a request, which is a mapping as well.
        if scope["type"] == "http":
            paths.append(scope["path"])
        return wrapped(*args, **kwargs)

    def around_response(wrapped, instance, args, kwargs):
        assert isinstance(instance, _TemplateResponse)
        return wrapped(*args, **kwargs)

    carrier = "call_next" if hasattr(BaseHTTPMiddleware, "call_next") else "__call__"
    places = [(BaseHTTPMiddleware, carrier, around_middleware), (_TemplateResponse, "__call__", around_response)]
    for cls, name, wrapper in places:
        wrapt.wrap_function_wrapper(cls, name, wrapper)

    def traced():
        found = paths[:]
        del paths[:]
        return found

    def take_out():
        for cls, name, _ in places:
            setattr(cls, name, vars(cls)[name].__wrapped__)

    return traced, take_out


def test_wrapt(order):
    traced, _ = wrapped_functions()
    check_tracing(order, build(), traced)


def test_wrapt_taken_out(order):
    traced, take_out = wrapped_functions()
    check_taken_out(order, build(), traced, take_out)


def test_wrapt_within_an_application(order):
    """It is put in when the application is built and has served already."""
    app = build()
    assert stack.client(app).get("/plain").text == "plain"
    traced, _ = wrapped_functions()
    check_tracing(order, app, traced)
