import pytest
from running import Server


def pytest_addoption(parser):
    parser.addoption(
        "--serve",
        metavar="COMMAND",
        required=True,
        help="a command that serves served:app on {port}; servers.json has them",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "http2: for servers that speak HTTP/2")
    config.addinivalue_line("markers", "long_response: it takes long")


@pytest.fixture(scope="session")
def unpatched(request):
    with Server(request.config.option.serve, patched=False) as server:
        yield server


@pytest.fixture(scope="session")
def patched(request):
    with Server(request.config.option.serve, patched=True) as server:
        yield server
