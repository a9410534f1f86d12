"""sentry-sdk, which replaces ``__call__`` of every middleware class when a middleware is added."""

import pytest
import stack


@pytest.mark.parametrize("built", ["before", "after"])
def test_sentry(order, built):
    """The application is built before or after sentry is initialised; the backport comes first or last of all."""
    import sentry_sdk
    from sentry_sdk.transport import Transport

    events = []

    class Recorder(Transport):
        def capture_event(self, event):
            events.append(event)

        def capture_envelope(self, envelope):
            events.extend(item.payload.json for item in envelope.items if item.payload.json is not None)

    try:
        from sentry_sdk.integrations.starlette import StarletteIntegration
    except ImportError:
        StarletteIntegration = None  # It came with sentry-sdk 1.9.

    def initialise():
        options = {"traces_sample_rate": 1.0, "transport": Recorder}
        if sentry_sdk.VERSION.startswith("2."):
            # From 2.0 on spans for middleware are made on demand.
            options["integrations"] = [StarletteIntegration(middleware_spans=True)]
        sentry_sdk.init("http://key@localhost/1", **options)

    def build():
        return stack.add_outer(stack.build())

    if built == "before":
        app = build()
        initialise()
    else:
        initialise()
        app = build()
    if StarletteIntegration is None:
        from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

        app = SentryAsgiMiddleware(app)
    client = stack.client(app)
    quiet = stack.client(app, raise_server_exceptions=False)
    spans_seen = set()

    def told(client, path):
        """Return the response for `path`, the errors that sentry is told of, and the transactions."""
        del events[:]
        response = client.get(path)
        sentry_sdk.flush()
        errors = [event["exception"]["values"][-1] for event in events if "exception" in event]
        transactions = [event for event in events if event.get("type") == "transaction"]
        return response, [(error["type"], error["value"]) for error in errors], transactions

    def middleware_spans(transaction):
        return tuple(span["description"] for span in transaction["spans"] if span["op"] == "middleware.starlette")

    def page():
        response, errors, (transaction,) = told(client, "/page")
        stack.check_page(response)
        assert response.headers["x-outer"] == "seen"
        assert not errors
        assert transaction["transaction"].endswith(("/page", "page_endpoint"))

    def rest():
        response, errors, (transaction,) = told(client, "/plain")
        assert (response.text, response.headers["x-outer"], errors) == ("plain", "seen", [])
        # The same ones with and without the backport.
        spans_seen.add(middleware_spans(transaction))
        assert len(spans_seen) == 1
        if StarletteIntegration is not None and built == "after":
            assert "BaseHTTPMiddleware" in middleware_spans(transaction)
        response, errors, _ = told(quiet, "/error")
        assert (response.status_code, errors) == (500, [("RuntimeError", "error")])

    order.check(page, rest)
