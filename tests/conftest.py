import os

import pytest
import support

import starlette_backport

# These tests have environments of their own: scripts/stacks and scripts/servers run them.
collect_ignore = ["ecosystem"]

# These modules say something about any Starlette. All others need an affected release.
ANY_STARLETTE = {"test_cli.py", "test_docs.py", "test_package.py", "test_pytest_plugin.py"}
if not support.AFFECTED:
    here = os.path.dirname(os.path.abspath(__file__))
    collect_ignore += sorted(n for n in os.listdir(here) if n.startswith("test_") and n not in ANY_STARLETTE)

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
    header = "starlette %s, starlette_backport %s" % (support.RELEASE, starlette_backport.__version__)
    if not support.AFFECTED:
        header += "; not affected: only %s run" % ", ".join(sorted(ANY_STARLETTE))
    return header


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if not support.AFFECTED and item.fspath.basename not in ANY_STARLETTE:  # Named on the command line.
        pytest.skip("Starlette %s is not affected: there is nothing to apply" % support.RELEASE)
    if support.FORK and item.fspath.basename in NOT_FOR_FORKS:
        pytest.skip("this is a patched build: there is nothing to apply")
    everywhere = support.RELEASE in support.LAST_OF_FORM or "STARLETTE_BACKPORT_WHOLE" in os.environ
    if support.AFFECTED and not everywhere and item.get_closest_marker("three_releases"):
        where = ", ".join(support.LAST_OF_FORM)
        pytest.skip("hardly depends on the release: runs on %s, and with scripts/test --all on all" % where)


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
