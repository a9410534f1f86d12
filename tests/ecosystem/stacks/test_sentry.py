"""sentry-sdk, which replaces ``__call__`` of every middleware class that is added."""

import pytest
import stack


def initialise():
    """Initialise sentry-sdk. Return a list that gets the events that it sends."""
    import sentry_sdk
    from sentry_sdk.transport import Transport

    events = []

    class Recorder(Transport):
        def capture_event(self, event):
            events.append(event)

        def capture_envelope(self, envelope):
            events.extend(item.payload.json or {} for item in envelope.items)

    options = {"traces_sample_rate": 1.0, "transport": Recorder}
    if sentry_sdk.VERSION.startswith("2."):
        from sentry_sdk.integrations.starlette import StarletteIntegration

        # From 2.0 on spans for middleware are made on demand.
        options["integrations"] = [StarletteIntegration(middleware_spans=True)]
    sentry_sdk.init("http://key@localhost/1", **options)
    return events


@pytest.mark.parametrize("built", ["before", "after"])
def test_sentry(phase, built):
    """The application is built before or after sentry is initialised."""
    import sentry_sdk

    if built == "before":
        app = stack.build()
    events = initialise()
    if built == "after":
        app = stack.build()
    is_old = sentry_sdk.VERSION.startswith("1.1.")
    if is_old:
        from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

        app = SentryAsgiMiddleware(app)
    stack.client(app).get("/plain")
    spans = spans_of(events[-1])
    client = phase.client(app)
    events.clear()
    phase.check(client)

    page, plain, _ = [event for event in events if "spans" in event]
    errors = [event["exception"] for event in events if "exception" in event]
    if phase.patched:
        assert page["transaction"].endswith(("/page", "page_endpoint"))
        assert len(errors) == 1
    assert errors[-1]["values"][-1]["value"] == "error"
    assert spans_of(plain) == spans
    if built == "after" and not is_old:
        assert ("middleware.starlette", "BaseHTTPMiddleware") in spans
        assert "middleware.starlette.send" in dict(spans)


def spans_of(transaction):
    """Return the spans of middleware, and of its `receive` and `send`."""
    spans = [(span["op"], span["description"]) for span in transaction["spans"]]
    return sorted(span for span in spans if "starlette" in span[0])
