import os

import pytest
import support

import starlette_backport

pytest_plugins = ["pytester"]

HERE = os.path.dirname(os.path.abspath(__file__))


def modules(folder):
    return {
        os.path.join(folder, name)
        for name in os.listdir(os.path.join(HERE, folder))
        if name.startswith("test_")
    }


CHANGING = {
    os.path.join("process", name)
    for name in ("test_apply.py", "test_refusal.py", "test_stress.py")
}

# These have environments of their own: see `nox -l`.
left_out = {"ecosystem"}
if not support.AFFECTED:
    # There is nothing to apply. Only these have something to say.
    left_out |= modules("release") - {os.path.join("release", "test_faithful.py")}
    left_out |= CHANGING
if support.FORK:
    # There is nothing to change.
    left_out |= CHANGING - {os.path.join("process", "test_stress.py")}
else:
    left_out |= {os.path.join("process", "test_fork.py")}
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
        # Timings vary with the machine.
        deadline=None,
        print_blob=True,
        # Fixtures that apply the backport do so for all examples of a test.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
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
