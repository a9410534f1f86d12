"""OpenTelemetry, ddtrace and wrapt, put in before an application is built, or after."""

import pytest
import release
import stack

import starlette_backport

# Of the requests that the tool has seen. Each test has a process of its own.
paths = []


class OpenTelemetry:
    """Puts a middleware into all applications that are built from now on."""

    def __init__(self):
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

        class Recorder(SpanProcessor):
            def on_end(self, span):
                if span.kind.name == "SERVER":
                    paths.append(span.attributes["http.target"])

        self.instrumentor = FastAPIInstrumentor()
        self.provider = TracerProvider()
        self.provider.add_span_processor(Recorder())

    def put_in(self, app):
        self.instrumentor.instrument(tracer_provider=self.provider)

    def take_out(self, app):
        self.instrumentor.uninstrument()


class OpenTelemetryInApplication(OpenTelemetry):
    """Puts a middleware into one application."""

    def put_in(self, app):
        self.instrumentor.instrument_app(app, tracer_provider=self.provider)

    def take_out(self, app):
        # Old versions cannot be taken out of an application.
        if hasattr(self.instrumentor, "uninstrument_app"):
            self.instrumentor.uninstrument_app(app)


class Ddtrace:
    """Puts a middleware into all applications that are built from now on."""

    def put_in(self, app):
        import ddtrace
        from ddtrace.filters import TraceFilter

        class Recorder(TraceFilter):
            def process_trace(self, trace):
                urls = [span.get_tag("http.url") for span in trace]
                paths.extend(url.split("testserver")[-1] for url in urls if url)
                # It returns None, so nothing is sent to anybody.

        ddtrace.tracer.configure(settings={"FILTERS": [Recorder()]})
        ddtrace.patch(starlette=True, fastapi=True)

    def take_out(self, app):
        from ddtrace.contrib import fastapi, starlette

        fastapi.unpatch()
        starlette.unpatch()


class Wrapt:
    """Puts a wrapper around the function of ``BaseHTTPMiddleware`` that is changed."""

    def __init__(self):
        from starlette.middleware.base import BaseHTTPMiddleware

        self.place = (BaseHTTPMiddleware, release.carrier())

    def put_in(self, app):
        import wrapt

        wrapt.wrap_function_wrapper(*self.place, self.wrapper)

    def wrapper(self, wrapped, instance, args, kwargs):
        scope = args[0]  # Or a request, which is a mapping as well.
        if scope["type"] == "http":
            paths.append(scope["path"])
        return wrapped(*args, **kwargs)

    def take_out(self, app):
        cls, name = self.place
        setattr(cls, name, vars(cls)[name].__wrapped__)


@pytest.mark.parametrize(
    ("built", "tool_class"),
    [
        ("before", OpenTelemetryInApplication),
        ("before", Wrapt),
        ("after", OpenTelemetry),
        ("after", Ddtrace),
        ("after", Wrapt),
    ],
)
def test_instrumentation(phase, monkeypatch, built, tool_class):
    """The application is built before or after the tool is put in."""
    monkeypatch.setenv("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false")
    tool = tool_class()
    if built == "before":
        app = stack.build()
        assert stack.client(app).get("/plain").text == "plain"
        tool.put_in(app)
    else:
        tool.put_in(None)
        app = stack.build()
    client = phase.client(app)
    paths.clear()
    phase.check(client)
    assert paths == ["/page", "/plain", "/error"]

    tool.take_out(app)
    later = stack.client(stack.build())
    paths.clear()
    phase.check(later)
    assert paths == []
    # Whether it still sees `app` is up to the tool: some leave their middleware in it.
    phase.check(client)
    starlette_backport.revert()
    phase.check(client)
    phase.check(later)
