"""Builds with the diffs in patches/. The other tests show what they do."""

import pathlib
import re

import starlette
from support import RELEASE, REPOSITORY, check_not_needed

import starlette_backport

INSTALLED = pathlib.Path(starlette.__file__).parent
REASON = "it is a patched build, with the diffs of starlette-backport"


def test_apply_changes_nothing():
    check_not_needed(REASON)


def test_it_has_the_module_of_the_package():
    ours = pathlib.Path(starlette_backport.__file__).parent / "_early_messages.py"
    assert (INSTALLED / "_early_messages.py").read_bytes() == ours.read_bytes()


def test_its_version_is_the_one_with_a_recorded_hash():
    hashes = pathlib.Path(REPOSITORY, "patches", "hashes.txt").read_text(
        encoding="utf-8"
    )
    release = re.sub(r"\.b(\d)$", r"b\1", RELEASE)
    (version,) = re.findall(
        r"^starlette==(%s\+backport\.\d+) " % re.escape(release), hashes, re.M
    )
    metadata = INSTALLED.parent / ("starlette-%s.dist-info" % version) / "METADATA"
    assert "\nVersion: %s\n" % version in metadata.read_text(encoding="utf-8")
