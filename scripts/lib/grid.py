"""Run the reproduction without the backport and with it, on every affected release and every Python found.

Draws docs/grid.svg. What was done is kept in .tools for as long as the package stays as it is: run it again to go on
where it stopped.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import environments
import interpreters
from environments import DATA, RELEASES, ROOT, TOOLS, key, supports, write
from runner import LeftOutError
from tqdm import tqdm

PICTURE = os.path.join(ROOT, "docs", "grid.svg")
KEPT = os.path.join(TOOLS, "grid.json")
PYTHONS = DATA["pythons"] + list(DATA["interpreters"])

# The size of a cell and of what is around the grid, in pixels.
CELL, LEFT, TOP, BOTTOM = 16, 50, 60, 30
COLOURS = {"works": "#2da44e", "fails": "#cf222e", "did not run": "#d0d7de"}


def package_digest():
    """Return what tells whether the package is the one that earlier results are about."""
    digest = hashlib.sha256()
    folder = os.path.join(ROOT, "starlette_backport")
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".py")):
        with open(os.path.join(folder, name), "rb") as file:
            digest.update(name.encode() + b"\0" + file.read())
    return digest.hexdigest()


def run(release, python, start):
    """Return what came of the reproduction: whether it works ``without`` and ``with``, or ``why`` it did not run."""
    folder = os.path.join(TOOLS, "envs", "grid-%s-%s" % (release, python))
    try:
        if isinstance(start, list):
            command, _ = interpreters.prepare(start, release, python, folder)
        else:
            executable = environments.make(folder, start)
            environments.install(executable, python, release)
            command = [executable, "-m", "starlette_backport", "verify", "--json"]
    except SystemExit as error:
        return {"why": str(error)}
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    if isinstance(start, list):  # The same in the words of the program.
        lines = process.stdout.splitlines()
        failed = "ok      unpatched: the template message fails" in lines
        good = process.returncode == 0 and lines[-1].endswith(" 0 failed")
        return {"without": "fails" if failed else "works", "with": "works" if good else "fails"}
    try:
        facts = json.loads(process.stdout)
    except ValueError:
        return {"why": "The reproduction ended with:\n" + process.stderr}
    return {which: "works" if facts[which]["works"] else facts[which]["error"] for which in ("without", "with")}


def run_all(cells, starts):
    """Return the results of `cells`, of those that were done before, too. Keeps them as it goes."""
    package = package_digest()
    kept = {"package": package, "cells": {}}
    if os.path.exists(KEPT):
        with open(KEPT) as file:
            kept = json.load(file)
        kept = kept if kept["package"] == package else {"package": package, "cells": {}}
    missing = [cell for cell in cells if " ".join(cell) not in kept["cells"]]
    environments.build()
    results = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(run, *cell, starts[cell[1]]): cell for cell in missing}
        try:
            for future in tqdm(concurrent.futures.as_completed(futures), total=len(missing), unit="cell"):
                results[futures[future]] = future.result()
                if "why" not in future.result():
                    kept["cells"][" ".join(futures[future])] = future.result()
                    write(KEPT, json.dumps(kept))
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            sys.exit("Stopped. Run this again to go on from here.")
    return {cell: results.get(cell) or kept["cells"][" ".join(cell)] for cell in cells}


def draw(results, releases, pythons):
    """Return the picture: a column a release, a row a Python; in each cell, without the backport above."""
    width = LEFT + CELL * len(releases) + 10
    height = TOP + CELL * len(pythons) + BOTTOM
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": "0 0 %d %d" % (width, height)}
    svg = ET.Element("svg", style="font: 9px sans-serif; background: white", **box)

    def text(x, y, content, **more):
        ET.SubElement(svg, "text", x=str(x), y=str(y), fill="#24292f", **more).text = content

    def bar(x, y, height, colour, title):
        size = {"width": str(CELL - 2), "height": str(height)}
        rect = ET.SubElement(svg, "rect", x=str(x), y=str(y), fill=COLOURS[colour], **size)
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
                bar(x, y, CELL - 2, "did not run", "%s: did not run. %s" % (name, result["why"]))
                continue
            for number, which in enumerate(("without", "with")):
                colour = "works" if result[which] == "works" else "fails"
                bar(x, y + number * 7, 7, colour, "%s: %s %s the backport" % (name, colour, which))
    x, y = LEFT, height - 12
    meanings = ("upper half: fails without the backport", "lower half: works with it")
    for colour, meaning in zip(("fails", "works", "did not run"), (*meanings, "did not run: point at it to see why")):
        bar(x, y - 9, CELL - 4, colour, meaning)
        text(x + CELL + 4, y, meaning)
        x += 220
    return ET.tostring(svg, encoding="unicode") + "\n"


def summary(results):
    """Print how many ran and what came of them; return whether all is as it should be."""
    ran = {cell: result for cell, result in results.items() if "why" not in result}
    without = sum(result["without"] != "works" for result in ran.values())
    patched = sum(result["with"] == "works" for result in ran.values())
    print("%d cells: %d fail without the backport, %d work with it" % (len(ran), without, patched))
    for why, number in collections.Counter(result.get("why") for result in results.values()).items():
        if why:
            print("%5d did not run: %s" % (number, why))
    bad = {cell: result for cell, result in ran.items() if result["without"] == "works" or result["with"] != "works"}
    for (release, python), result in bad.items():
        print("not as expected: Starlette %s on Python %s: %s" % (release, python, result))
    return bool(ran) and not bad


def main(argv):
    parser = argparse.ArgumentParser(
        prog="scripts/grid", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="only these; then nothing is drawn")
    parser.add_argument("--python", action="append", metavar="X.Y", help="only on this Python; the same")
    arguments = parser.parse_args(argv)
    releases, pythons = arguments.releases or sorted(RELEASES, key=key), arguments.python or PYTHONS
    if not (set(releases) <= set(RELEASES) and set(pythons) <= set(PYTHONS)):
        parser.error("expected some of these: %s, and for --python: %s" % (" ".join(RELEASES), " ".join(PYTHONS)))
    starts, reasons = environments.pythons_found(), {}
    for python in pythons:
        try:
            if python in DATA["interpreters"]:
                starts[python] = interpreters.set_up(python, starts)
        except LeftOutError as error:
            reasons[python] = str(error)
        if python not in starts:
            reasons.setdefault(python, environments.not_found([python]))
    cells = {(release, python): supports(release, python) or reasons.get(python) for release in releases for python in pythons}
    done = run_all([cell for cell, reason in cells.items() if reason is None], starts)
    results = {cell: {"why": reason} if reason else done[cell] for cell, reason in cells.items()}
    good = summary(results)
    if good and not (arguments.releases or arguments.python):
        write(PICTURE, draw(results, releases, pythons))
        print("drawn: docs/grid.svg")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
