"""Run the reproduction without the backport and with it, on every affected release and every Python found.

Writes what came of it to scripts/lib/grid.json and draws scripts/lib/grid.svg, which README shows. What was done
is kept as it goes, and for as long as the package stays as it is: run it again to go on where it stopped.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import matrix
from environments import DATA, LIB, RELEASES, ROOT, key, supports, write
from tqdm import tqdm

RESULTS = os.path.join(LIB, "grid.json")
PICTURE = os.path.join(LIB, "grid.svg")
KEPT = os.path.join(ROOT, ".envs", "grid.json")

# The size of a cell and of what is around the grid, in pixels.
CELL, LEFT, TOP, BOTTOM = 16, 40, 60, 30
COLOURS = {"works": "#2da44e", "fails": "#cf222e", "did not run": "#d0d7de"}


def package_digest():
    """Return what tells whether the package is the one that earlier results are about."""
    digest = hashlib.sha256()
    folder = os.path.join(ROOT, "starlette_backport")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as file:
                digest.update(name.encode() + b"\0" + file.read())
    return digest.hexdigest()


class Kept:
    """The results so far, in a file."""

    def __init__(self):
        self.package = package_digest()
        self.cells = {}
        if os.path.exists(KEPT):
            with open(KEPT) as file:
                before = json.load(file)
            if before["package"] == self.package:
                self.cells = before["cells"]

    def add(self, release, python, result):
        self.cells["%s %s" % (release, python)] = result
        # What could not be set up may be another time.
        cells = {name: result for name, result in self.cells.items() if "why" not in result}
        write(KEPT, json.dumps({"package": self.package, "cells": cells}))

    def get(self, release, python):
        return self.cells.get("%s %s" % (release, python))


def run(release, python, environment):
    """Return what came of the reproduction: ``without`` and ``with``, or why it did not run."""
    with tempfile.TemporaryDirectory() as directory:
        executable = os.path.join(directory, "env", "bin", "python")
        commands = [
            [os.environ["UV"], "venv", "--quiet", "--python", python, os.path.join(directory, "env")],
            [executable, os.path.join(LIB, "environments.py"), release],
            [executable, "-m", "starlette_backport", "verify", "--json"],
        ]
        for command in commands:
            process = subprocess.run(
                command,
                cwd=directory,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            # The last one tells of a failure in another way.
            if process.returncode and not process.stdout:
                return {"why": process.stderr.strip().splitlines()[-1]}
        facts = json.loads(process.stdout)
        return {which: "works" if facts[which]["works"] else facts[which]["error"] for which in ("without", "with")}


def run_all(cells, kept):
    """Run those of `cells` that are not kept yet, some at once."""
    environment = dict(os.environ, STARLETTE_BACKPORT_WHEEL=matrix.build())
    missing = [cell for cell in cells if kept.get(*cell) is None]
    if len(missing) < len(cells):
        print("%d of %d are done already" % (len(cells) - len(missing), len(cells)))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(run, *cell, environment): cell for cell in missing}
        try:
            progress = tqdm(concurrent.futures.as_completed(futures), total=len(missing), unit="cell", mininterval=1)
            for future in progress:
                kept.add(*futures[future], future.result())
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            sys.exit("Stopped. Run this again to go on from here.")


def reason(release, python, found):
    """Return why the cell cannot run, or None."""
    if python not in found:
        return "Python %s was not found on this machine" % python
    return supports(release, python)


def collect(releases, pythons, found, kept):
    """Return the result of each cell, also of those that could not run."""
    results = collections.OrderedDict()
    for release in releases:
        for python in pythons:
            why = reason(release, python, found)
            results[release, python] = {"why": why} if why else kept.get(release, python)
    return results


def is_good(result):
    return "why" in result or (result["without"] != "works" and result["with"] == "works")


def draw(results, releases, pythons):
    """Return the picture: a column a release, a row a Python; in each cell, without the backport above."""
    width = LEFT + CELL * len(releases) + 10
    height = TOP + CELL * len(pythons) + BOTTOM
    svg = ET.Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox="0 0 %d %d" % (width, height),
        style="font: 9px sans-serif; background: white",
    )

    def text(x, y, content, **more):
        ET.SubElement(svg, "text", x=str(x), y=str(y), fill="#24292f", **more).text = content

    def box(x, y, height, colour, title):
        rect = ET.SubElement(
            svg, "rect", x=str(x), y=str(y), width=str(CELL - 2), height=str(height), fill=COLOURS[colour]
        )
        ET.SubElement(rect, "title").text = title

    for row, python in enumerate(pythons):
        text(LEFT - 5, TOP + CELL * row + 11, python, **{"text-anchor": "end"})
    for column, release in enumerate(releases):
        x = LEFT + CELL * column
        text(x + 11, TOP - 5, release, transform="rotate(-90 %d %d)" % (x + 11, TOP - 5))
        for row, python in enumerate(pythons):
            result, y = results[release, python], TOP + CELL * row
            name = "Starlette %s, Python %s" % (release, python)
            if "why" in result:
                box(x, y, CELL - 2, "did not run", "%s: did not run. %s" % (name, result["why"]))
                continue
            for number, which in enumerate(("without", "with")):
                outcome = "works" if result[which] == "works" else "fails"
                what = outcome if outcome == "works" else "fails with " + result[which]
                box(x, y + number * 7, 7, outcome, "%s: %s %s the backport" % (name, what, which))
    x, y = LEFT, height - 12
    for colour, meaning in (
        ("fails", "upper half: fails without the backport"),
        ("works", "lower half: works with it"),
        ("did not run", "did not run: point at it to see why"),
    ):
        box(x, y - 9, CELL - 4, colour, meaning)
        text(x + CELL + 4, y, meaning)
        x += 220
    return ET.tostring(svg, encoding="unicode") + "\n"


def summary(results):
    """Print how many ran and what came of them; return whether all is as it should be."""
    ran = {cell: result for cell, result in results.items() if "why" not in result}
    without = sum(result["without"] != "works" for result in ran.values())
    patched = sum(result["with"] == "works" for result in ran.values())
    print("%d cells: %d fail without the backport, %d work with it" % (len(ran), without, patched))
    # One line for all cells that it is the same for.
    reasons = collections.Counter(
        re.sub(r"^Starlette \S+ (needs|is broken on Python \S+:)", r"Starlette \1", result["why"])
        for result in results.values()
        if "why" in result
    )
    for why, number in reasons.items():
        print("%5d did not run: %s" % (number, why))
    bad = [cell for cell, result in ran.items() if not is_good(result)]
    for release, python in bad:
        print("not as expected: Starlette %s on Python %s: %s" % (release, python, results[release, python]))
    return not bad


def main(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/grid", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="only these; then nothing is written or drawn")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this Python; the same")
    arguments = parser.parse_args(argv)
    releases, pythons = sorted(RELEASES, key=key), DATA["pythons"]
    for name, chosen, known in (("releases", arguments.releases, releases), ("Pythons", arguments.python, pythons)):
        if not set(chosen or []) <= set(known):
            parser.error("expected some of these %s: %s; found %s" % (name, " ".join(known), " ".join(chosen)))
    whole = not (arguments.releases or arguments.python)
    releases, pythons = arguments.releases or releases, arguments.python or pythons
    found, kept = matrix.pythons_found(), Kept()
    run_all([(r, p) for r in releases for p in pythons if reason(r, p, found) is None], kept)
    results = collect(releases, pythons, found, kept)
    good = summary(results)
    if whole:
        rows = [dict(result, starlette=r, python=p) for (r, p), result in results.items()]
        write(RESULTS, "[\n%s\n]\n" % ",\n".join(json.dumps(row, sort_keys=True) for row in rows))
        write(PICTURE, draw(results, releases, pythons))
        print("written: %s and %s" % (os.path.relpath(RESULTS, ROOT), os.path.relpath(PICTURE, ROOT)))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
