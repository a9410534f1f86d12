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

    options = {"traces_sample_rate": 1.0, "transport": Recorder}
    try:
        from sentry_sdk.integrations.starlette import StarletteIntegration
    except ImportError:  # It came with sentry-sdk 1.9.
        StarletteIntegration = None
    if sentry_sdk.VERSION.startswith("2."):  # From 2.0 on spans for middleware are made on demand.
        options["integrations"] = [StarletteIntegration(middleware_spans=True)]
    if built == "before":
        app = stack.build()
    sentry_sdk.init("http://key@localhost/1", **options)
    if built == "after":
        app = stack.build()
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

    def page():
        response, errors, (transaction,) = told(client, "/page")
        stack.check_page(response, outer="seen")
        assert not errors
        assert transaction["transaction"].endswith(("/page", "page_endpoint"))

    def rest():
        response, errors, (transaction,) = told(client, "/plain")
        assert (response.text, response.headers["x-outer"], errors) == ("plain", "seen", [])
        # Of middleware, and of its `receive` and `send`: the same ones with and without the backport.
        spans = [(span["op"], span["description"]) for span in transaction["spans"] if "starlette" in span["op"]]
        spans_seen.add(tuple(sorted(spans)))
        assert len(spans_seen) == 1
        if StarletteIntegration is not None and built == "after":
            assert ("middleware.starlette", "BaseHTTPMiddleware") in spans
            assert "middleware.starlette.send" in dict(spans)
        response, errors, _ = told(quiet, "/error")
        assert (response.status_code, errors) == (500, [("RuntimeError", "error")])

    order.check(page, rest)
