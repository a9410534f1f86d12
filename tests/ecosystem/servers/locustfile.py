"""What the clients do of which scripts/servers --load has many at once; see scripts/lib/load.py."""

from locust import FastHttpUser, task

BODY = b"x" * 1024


class Client(FastHttpUser):
    def expect(self, method, path, expected, **kwargs):
        """Locust takes a status from 400 on for a failure; the wrong content is one, too."""
        with self.client.request(method, path, catch_response=True, **kwargs) as response:
            if response.status_code == 200 and expected not in response.content:
                response.failure("expected %r, received %r" % (expected, response.content))

    @task
    def page(self):
        self.expect("GET", "/", b"Hello, World!")

    @task
    def post(self):
        self.expect("POST", "/echo", BODY, data=BODY)

    @task
    def stream(self):
        self.expect("GET", "/upper", b"TEXT")
