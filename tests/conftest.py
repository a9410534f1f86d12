import os

import pytest
import support

import starlette_backport

# These tests have environments of their own: scripts/stacks and scripts/servers run them.
collect_ignore = ["ecosystem"]

# These modules say something about any Starlette. All others need an affected release.
ANY_STARLETTE = {"test_cli.py", "test_docs.py", "test_package.py", "test_pytest_plugin.py"}

# These modules say how a release is changed. In a patched build there is nothing to change.
NOT_FOR_FORKS = {"test_apply.py", "test_refusal.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Set Hypothesis up before it looks for its profile. Without its plugin, do not import it."""
    if not config.pluginmanager.hasplugin("hypothesispytest"):
        return
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "quick",
        max_examples=100 if support.RELEASE in support.LAST_OF_FORM else 25,
        stateful_step_count=20,
        # The seed alone decides what is drawn, and timings vary with the machine.
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


def pytest_collection_modifyitems(items):
    for item in items:
        reason = why_not(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def why_not(item):
    """Return why `item` is not to be run here, or None."""
    name = item.fspath.basename
    if not support.AFFECTED:
        if name in ANY_STARLETTE:
            return None
        return "Starlette %s is not affected: there is nothing to apply" % support.RELEASE
    if support.FORK and name in NOT_FOR_FORKS:
        return "this is a patched build: there is nothing to apply"
    everywhere = support.RELEASE in support.LAST_OF_FORM or "STARLETTE_BACKPORT_WHOLE" in os.environ
    if item.get_closest_marker("three_releases") and not everywhere:
        return "hardly depends on the release: runs on %s, and on all releases with scripts/test --all" % (
            ", ".join(support.LAST_OF_FORM)
        )
    return None


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
