"""What ``status`` tells of an environment: releases, what keeps Starlette where it is, whether the backport applies."""

import importlib
import platform
import re
import sys
import typing

from ._application import wrappers
from ._api import applied, status
from ._early_messages import BackportError
from ._inspection import Status
from ._releases import FIXED, FREED_BY, HTTPX, parse

Facts = typing.Dict[str, typing.Any]


def facts() -> typing.Tuple[Facts, Status]:
    """Return the facts and what `status()` found. Raises BackportError."""
    found = status()
    starlette: typing.Any = importlib.import_module("starlette")
    client = "httpx" if parse(found.starlette) >= HTTPX else "requests"
    distributions = _distributions()
    told: Facts = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "starlette": found.starlette,
        "location": ", ".join(starlette.__path__),
        "test_client": {
            "package": client,
            "version": distributions.get(client, (None, ()))[0],
        },
        "affected": found.affected,
        "state": found.state,
        "reason": found.reason,
        "has_fix": found.has_fix,
        "problem": _problem() if found.state == "not applied" else None,
        "functions": [
            {"name": name, "wrapped_by": wrappers(name)} for name in found.functions
        ],
        "notes": list(found.notes),
        "held_by": []
        if parse(found.starlette) >= FIXED
        else list(_held_by(distributions)),
    }
    return told, found


def _problem() -> typing.Optional[str]:
    """Return why the backport cannot be applied, if so."""
    try:
        with applied():
            return None
    except BackportError as exc:
        return str(exc)


def _distributions() -> typing.Dict[str, typing.Tuple[str, typing.Sequence[str]]]:
    """Return version and requirements of what is installed, by name; nothing where Python < 3.8 has no way to tell."""
    for name in ("importlib.metadata", "importlib_metadata"):
        try:
            metadata: typing.Any = importlib.import_module(name)
        except ImportError:
            continue
        found = [
            (d.metadata["Name"], (d.version, d.requires or ()))
            for d in metadata.distributions()
        ]
        return {name.lower(): value for name, value in reversed(found) if name}
    return {}


def _held_by(
    distributions: typing.Mapping[str, typing.Tuple[str, typing.Sequence[str]]],
) -> typing.Iterator[typing.Dict[str, typing.Optional[str]]]:
    """Yield the distributions whose requirements keep Starlette below the release with the fix."""
    for name, (version, requirements) in sorted(distributions.items()):
        for requirement in requirements:
            wanted, _, marker = requirement.partition(";")
            match = re.match(
                r"\s*starlette\s*(?:\[.*?\])?\s*\(?([^)]*)\)?\s*$", wanted, re.I
            )
            if (
                match
                and "extra" not in marker
                and not all(map(_allows_fix, match.group(1).split(",")))
            ):
                specifier = "starlette" + match.group(1).replace(" ", "")
                yield {
                    "name": name,
                    "version": version,
                    "requires": specifier,
                    "freed_by": FREED_BY.get(name),
                }


def _allows_fix(clause: str) -> bool:
    """Return whether one clause of a specifier, such as ``<0.23``, allows the release with the fix or a later one."""
    match = re.match(r"\s*(===?|<=?|~=)\s*(\d+(?:\.\d+)*)", clause)
    if match is None:  # A lower bound, an exclusion, or nothing at all.
        return True
    operator, numbers = (
        match.group(1),
        tuple(int(number) for number in match.group(2).split(".")),
    )
    if operator == "~=":  # As ``==1.2.*`` for ``~=1.2.3``.
        return numbers[:-1] >= FIXED[: len(numbers) - 1]
    return numbers > FIXED if operator == "<" else numbers >= FIXED[: len(numbers)]
