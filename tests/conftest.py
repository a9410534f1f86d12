import os

import pytest
import support

import starlette_backport

pytest_plugins = ["pytester"]

HERE = os.path.dirname(os.path.abspath(__file__))


def modules(folder, *names):
    names = names or os.listdir(os.path.join(HERE, folder))
    return {os.path.join(folder, name) for name in names if name.startswith("test_")}


# These have environments of their own: see `nox -l`.
left_out = {"ecosystem"}
if support.FORK or not support.AFFECTED:
    # There is nothing to change.
    left_out |= modules("process", "test_apply.py", "test_docs.py", "test_refusal.py")
if not support.AFFECTED:
    left_out |= modules("process", "test_stress.py")
    left_out |= modules("release")
if support.RELEASE == "0.24.0":
    # The model is held against this one.
    left_out -= modules("release", "test_faithful.py")
if support.NUMBERS < (0, 9, 9):
    # There are no template responses to leave with.
    left_out |= modules("process", "test_leaving.py")
if not support.FORK:
    left_out |= modules("process", "test_fork.py")
collect_ignore = sorted(left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Set Hypothesis up before it looks for its profile, if its plugin is active."""
    if not config.pluginmanager.hasplugin("hypothesispytest"):
        return
    from hypothesis import HealthCheck, settings

    whole = support.RELEASE in support.LAST_OF_FORM
    settings.register_profile(
        "quick",
        max_examples=100 if whole else 25,
        stateful_step_count=20,
        # In CI, a commit is tested with the same examples each time.
        derandomize="CI" in os.environ,
        # Timings vary with the machine.
        deadline=None,
        print_blob=True,
        # Fixtures that apply the backport do so for all examples of a test.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            # Requests are large examples.
            HealthCheck.data_too_large,
        ],
    )
    settings.register_profile(
        "thorough",
        settings.get_profile("quick"),
        max_examples=2000,
        stateful_step_count=40,
    )
    settings.load_profile("quick")


def pytest_report_header():
    return "starlette %s, starlette_backport %s" % (
        support.RELEASE,
        starlette_backport.__version__,
    )


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


@pytest.fixture(params=["patched"] if support.FORK else ["patched", "unpatched"])
def either(request):
    if request.param == "patched":
        request.getfixturevalue("patched")
    return request.param
