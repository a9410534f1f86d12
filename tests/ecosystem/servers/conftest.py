import pytest
from running import Server


def pytest_addoption(parser):
    parser.addoption("--serve", metavar="COMMAND", help="serves application:app on {port}; scripts/servers has them")
    parser.addoption("--http2", action="store_true", help="it speaks HTTP/2, too")


def pytest_configure(config):
    config.addinivalue_line("markers", "http2: for servers that speak HTTP/2")
    if not config.option.serve:
        raise pytest.UsageError("expected the command of a server with --serve: run scripts/servers")


def pytest_collection_modifyitems(config, items):
    others = [item for item in items if item.get_closest_marker("http2") and not config.option.http2]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def unpatched(request):
    with Server(request.config.option.serve, patched=False) as server:
        yield server


@pytest.fixture(scope="session")
def patched(request):
    with Server(request.config.option.serve, patched=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _logs(unpatched, patched):
    """Print what both servers log meanwhile: pytest shows it where a test fails."""
    begin = {server: len(server.logged()) for server in (unpatched, patched)}
    yield
    for server in begin:
        print("patched:" if server.patched else "unpatched:", server.logged()[begin[server] :], sep="\n")
