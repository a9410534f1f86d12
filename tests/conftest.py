import peer
import pytest
import support

import starlette_backport

# They have environments of their own, and their own conftest.py: scripts/servers and scripts/stacks run them.
collect_ignore = ["servers", "stacks"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Set Hypothesis up, before it looks for its profile; without its plugin, do not even import it."""
    if not config.pluginmanager.hasplugin("hypothesispytest"):
        return
    from hypothesis import HealthCheck, settings

    # No examples are kept: a run is told by its seed alone. Timings vary with the machine.
    settings.register_profile(
        "quick",
        max_examples=25,
        stateful_step_count=20,
        database=None,
        deadline=None,
        print_blob=False,
        # A fixture that applies the backport does so for all examples: none of them changes that.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    settings.register_profile("thorough", settings.get_profile("quick"), max_examples=2000, stateful_step_count=40)
    settings.load_profile("quick")


def pytest_report_header():
    return "starlette %s, starlette_backport %s" % (support.RELEASE, starlette_backport.__version__)


# These say something about any Starlette; all others need one that is affected.
ANY_STARLETTE = {
    *("test_cli.py", "test_messages.py", "test_package.py", "test_pytest_plugin.py", "test_unaffected.py"),
}

# These are about how a release gets changed; all others, about what it does then, hold for patched builds, too.
HOW_IT_IS_APPLIED = {
    *("test_apply.py", "test_in_flight.py", "test_lean.py", "test_readme.py", "test_refusal.py", "test_revert.py"),
    "test_status.py",
}


def pytest_collection_modifyitems(items):
    for item in items:
        name = item.fspath.basename
        if support.FORK and name in HOW_IT_IS_APPLIED:
            item.add_marker(pytest.mark.skip(reason="this is a patched build: there is nothing to apply"))
        elif not support.AFFECTED and name not in ANY_STARLETTE:
            reason = "Starlette %s is not affected: there is nothing to apply" % support.RELEASE
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish():
    peer.write_record()


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("STARLETTE_BACKPORT_DISABLE", raising=False)
    yield
    # No test leaves anything behind for the next one.
    starlette_backport.revert()


@pytest.fixture
def patched():
    with starlette_backport.applied():
        yield


@pytest.fixture(params=["patched", "unpatched"])
def either(request):
    if request.param == "patched":
        request.getfixturevalue("patched")
    elif support.FORK:
        pytest.skip(support.NO_UNPATCHED)
    return request.param


@pytest.fixture(scope="session")
def release():
    """Return what serves cases on the release as shipped: ``serve(case, backend, applied=False)``."""
    if not support.FORK:
        yield peer.here
        return
    with peer.Peer() as other:
        yield other.serve
