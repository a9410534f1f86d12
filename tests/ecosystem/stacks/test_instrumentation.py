"""OpenTelemetry, ddtrace and wrapt itself, put in before and after the backport, and taken out again."""

import pytest
import stack

import starlette_backport


def opentelemetry(app=None):
    """Put OpenTelemetry into `app`, or all. Return what gives the traced paths anew, and what takes it out again."""
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
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

    if app is None:
        FastAPIInstrumentor().instrument(tracer_provider=provider)
        return traced, FastAPIInstrumentor().uninstrument
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    take_out = getattr(FastAPIInstrumentor, "uninstrument_app", None)  # Older ones cannot be taken out of one.
    return traced, take_out and (lambda: take_out(app))


def ddtrace():
    """Put ddtrace in; return the same."""
    import ddtrace
    from ddtrace.contrib import fastapi, starlette
    from ddtrace.filters import TraceFilter

    paths = []

    class Recorder(TraceFilter):
        def process_trace(self, trace):
            paths.extend(span.get_tag("http.url") for span in trace if span.get_tag("http.url"))
            # None: nothing is sent to anybody.

    ddtrace.tracer.configure(settings={"FILTERS": [Recorder()]})
    ddtrace.patch(starlette=True, fastapi=True)

    def take_out():
        fastapi.unpatch()
        starlette.unpatch()

    return lambda: [paths.pop(0).split("testserver")[-1] for _ in paths[:]], take_out


def wrapt():
    """Put wrapt around what the backport changes; return the same."""
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

    def take_out():
        for cls, name, _ in places:
            setattr(cls, name, vars(cls)[name].__wrapped__)

    return lambda: [paths.pop(0) for _ in paths[:]], take_out


@pytest.mark.parametrize("tool", ["opentelemetry", "opentelemetry-app", "ddtrace", "wrapt", "wrapt-late"])
def test_instrumentation(order, monkeypatch, tool):
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
    if tool in ("opentelemetry-app", "wrapt-late"):
        app = stack.build()
        assert stack.client(app).get("/plain").text == "plain"
        traced, take_out = opentelemetry(app) if tool == "opentelemetry-app" else wrapt()
    else:
        traced, take_out = {"opentelemetry": opentelemetry, "ddtrace": ddtrace, "wrapt": wrapt}[tool]()
        app = stack.build()
    client = stack.client(app)
    check_page, check_rest = stack.checks(client)

    def page():
        traced()
        check_page()
        assert traced() == ["/page"]

    def rest():
        traced()
        check_rest()
        assert traced() == ["/plain", "/error"]

    order.check(page, rest)

    # Once it is taken out, the backport stays in charge. Whether `app` is traced still is up to the tool: some leave
    # their middleware in it.
    if not take_out:
        return
    starlette_backport.apply()
    page()
    take_out()
    later = stack.client(stack.build())
    check_page()
    traced()
    stack.check_page(later.get("/page"))
    assert traced() == []
    starlette_backport.revert()
    for one in client, later:
        order.fails(one.get, "/page")
        assert one.get("/plain").text == "plain"
    starlette_backport.apply()
    check_page()
    stack.check_page(later.get("/page"))
