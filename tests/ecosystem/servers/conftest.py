import pytest
from running import Server


def pytest_addoption(parser):
    parser.addoption("--serve", metavar="COMMAND", help="serves application:app on {port}; scripts/servers has them")
    parser.addoption("--http2", action="store_true", help="it speaks HTTP/2, too")


def pytest_report_header(config):
    return "server: %s" % config.option.serve


def pytest_configure(config):
    if not config.option.serve:
        raise pytest.UsageError("expected the command of a server with --serve: run scripts/servers")


@pytest.fixture(scope="session")
def unpatched(request):
    with Server(request.config.option.serve, patched=False) as server:
        yield server


@pytest.fixture(scope="session")
def patched(request):
    with Server(request.config.option.serve, patched=True) as server:
        yield server


@pytest.fixture(autouse=True)
def servers(unpatched, patched):
    """Note where the logs of both stand, for a failure to show what this test has added."""
    return [(server, len(server.logged())) for server in (unpatched, patched)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and "servers" in item.funcargs:
        for server, begin in item.funcargs["servers"]:
            name = "patched" if server.patched else "unpatched"
            report.sections.append(("log of the %s server" % name, server.logged()[begin:]))
