"""Run the reproduction without the backport and with it, on every affected release and every Python found.

It has to fail without it and work with it in each cell. If so, draws docs/grid.svg.
"""

import argparse
import re
import sys
import xml.etree.ElementTree as ET

import environments
import interpreters
from environments import RELEASES, key, supports, write
from runner import Job, run_all, say_left_out

PICTURE = "docs/grid.svg"
# What `verify` prints, or tests/interpreters/program.py.
GOOD = re.compile(r"(?m)^without the backport: +fails.*\nwith the backport: +works|^ok +unpatched: the template")

# The size of a cell and of what is around the grid, in pixels.
CELL, LEFT, TOP, BOTTOM = 16, 50, 60, 30
RED, GREEN, GREY = "#cf222e", "#2da44e", "#d0d7de"


class Cell(Job):
    def read(self, report):
        if GOOD.search(self.output):
            super().read(report)
            self.counts["passed"] += 1


def cell(release, python, start):
    """Return what runs one cell."""

    def prepare(job):
        if isinstance(start, list):
            return interpreters.prepare(start, release, python, job.folder)
        executable = environments.make(job.folder, start)
        environments.install(executable, python, release)
        return [executable, "-m", "starlette_backport", "verify"]

    return Cell("grid-%s-%s" % (release, python), (release, python), "", prepare)


def draw(reasons, releases):
    """Return the picture: a column a release, a row a Python. `reasons` tells why a cell did not run, or has None."""
    pythons = interpreters.ALL
    width, height = LEFT + CELL * len(releases) + 10, TOP + CELL * len(pythons) + BOTTOM
    about = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": "0 0 %d %d" % (width, height)}
    svg = ET.Element("svg", style="font: 9px sans-serif; background: white", **about)

    def text(x, y, content, **more):
        ET.SubElement(svg, "text", x=str(x), y=str(y), fill="#24292f", **more).text = content

    def bar(x, y, height, colour, title):
        size = {"width": str(CELL - 2), "height": str(height)}
        rect = ET.SubElement(svg, "rect", x=str(x), y=str(y), fill=colour, **size)
        ET.SubElement(rect, "title").text = title

    for row, python in enumerate(pythons):
        text(LEFT - 5, TOP + CELL * row + 11, python, **{"text-anchor": "end"})
    for column, release in enumerate(releases):
        x = LEFT + CELL * column
        text(x + 11, TOP - 5, release, transform="rotate(-90 %d %d)" % (x + 11, TOP - 5))
        for row, python in enumerate(pythons):
            y, name = TOP + CELL * row, "Starlette %s, Python %s: " % (release, python)
            why = reasons[release, python]
            if why:
                bar(x, y, CELL - 2, GREY, name + "did not run. " + why)
            else:
                bar(x, y, 7, RED, name + "fails without the backport")
                bar(x, y + 7, 7, GREEN, name + "works with the backport")
    meanings = ("upper half: fails without the backport", "lower half: works with it")
    for number, meaning in enumerate([*meanings, "did not run: point at it to see why"]):
        bar(LEFT + 220 * number, height - 21, CELL - 4, (RED, GREEN, GREY)[number], meaning)
        text(LEFT + 220 * number + CELL + 4, height - 12, meaning)
    return ET.tostring(svg, encoding="unicode") + "\n"


def main(argv):
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scripts/grid", description=__doc__, formatter_class=style)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="only these; then nothing is drawn")
    parser.add_argument(
        "--python", action="append", metavar="X.Y", choices=interpreters.ALL, help="only on this Python; the same"
    )
    arguments = parser.parse_args(argv)
    if not set(arguments.releases) <= set(RELEASES):
        parser.error("expected affected releases: %s" % " ".join(RELEASES))
    releases, pythons = arguments.releases or sorted(RELEASES, key=key), arguments.python or interpreters.ALL
    starts, left_out = interpreters.find(pythons)
    reasons, cells = {}, []
    for release in releases:
        for python in pythons:
            why = supports(release, python) or (None if python in starts else environments.not_found([python]))
            reasons[release, python] = why
            if why is None:
                cells.append(cell(release, python, starts[python]))
            elif python in starts:
                left_out.setdefault(why, []).append("on Python " + python)
    environments.build()
    run_all(cells)
    good = sum(cell.good for cell in cells)
    say_left_out(left_out)
    print("\n%d cells fail without the backport and work with it, %d do not" % (good, len(cells) - good))
    if cells and good == len(cells) and not (arguments.releases or arguments.python):
        write(PICTURE, draw(reasons, releases))
        print("drawn: " + PICTURE)
    return 0 if cells and good == len(cells) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
