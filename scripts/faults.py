"""Plant faults in copies of the package, and see the test that must notice each fail.

Each file in tests/faults is a small diff. Its first lines say what a user would see,
and name the test and the release. Without a name all faults run.
"""

import argparse
import concurrent.futures
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "faults"
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "ecosystem", "dist")

# Hypothesis is to find a failing example, and not to go on until it has the smallest.
PLUGIN = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure():
    from hypothesis import Phase, settings
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("faults", settings(), phases=phases)
    settings.load_profile("faults")
"""


def field(path, name):
    """Return what the first lines of the diff `path` say of the test or the release."""
    return re.search(f"^{name}: (.+)$", path.read_text(encoding="utf-8"), re.M).group(1)


def run_test(test, python, fault=None):
    """Run `test` on a copy of all this, with or without `fault`; return the process."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = pathlib.Path(temporary, "copy")
        shutil.copytree(ROOT, copy, ignore=IGNORED)
        (copy / "unshrunk.py").write_text(PLUGIN, encoding="utf-8")
        command = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += ["-p", "unshrunk", test]
        # Above the copy, git would look for a repository, and leave its files alone.
        variables = {"PYTHONPATH": str(copy), "GIT_CEILING_DIRECTORIES": temporary}
        options = {"cwd": copy, "env": {**os.environ, **variables}, "text": True}
        if fault is None:
            return subprocess.run(command, capture_output=True, check=False, **options)
        git = ["git", "apply", "-C1", str(fault)]
        done = subprocess.run(git, capture_output=True, check=False, **options)
        if done.returncode:
            return done
        # A property may miss a fault in one run, but it runs in many cells.
        for seed in range(3):
            seeded = [*command, f"--hypothesis-seed={seed}"]
            done = subprocess.run(seeded, capture_output=True, check=False, **options)
            if done.returncode:
                break
    return done


@functools.lru_cache(maxsize=None)
def sound(test, python):
    return run_test(test, python)


def verdict(fault, pythons):
    """Return what becomes of the diff `fault`."""
    test, python = field(fault, "Test"), pythons.format(release=field(fault, "Release"))
    without = sound(test, python)
    if without.returncode or " passed" not in without.stdout:
        return "FAILS WITHOUT THE FAULT:\n" + without.stdout[-2000:]
    done = run_test(test, python, fault)
    if done.returncode == 0:
        return "MISSED"
    if " failed" not in done.stdout:
        return "DOES NOT APPLY, OR BREAKS ALL:\n" + done.stdout[-2000:] + done.stderr
    return "caught"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a file without .diff")
    parser.add_argument("--python", required=True, help="a path, with {release} in it")
    arguments = parser.parse_args()
    names = arguments.names or sorted(path.stem for path in FOLDER.glob("*.diff"))
    faults = [FOLDER / f"{name}.diff" for name in names]
    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pythons = [arguments.python] * len(faults)
        for fault, result in zip(faults, pool.map(verdict, faults, pythons)):
            verdicts.append(result)
            print(f"{fault.stem:32} {field(fault, 'Test')}\n    {result}", flush=True)
    caught = verdicts.count("caught")
    print(f"{caught} of {len(faults)} faults were caught by the test that is named")
    if caught < len(faults):
        sys.exit(1)


if __name__ == "__main__":
    main()
