"""Draw docs/grid.svg: a column for each release and a row for each Python.

Green are the cells in which the reproduction fails without the backport and works with
it. `nox -s grid` runs the reproduction, and this.
"""

import argparse
import pathlib

from patches import RELEASES, ROOT

# In pixels: the picture, the place of its first cell, and a cell with what is between.
WIDTH, LEFT, TOP = 900, 50, 70
COLUMN, ROW, GAP = 13.8, 20, 2
GREEN, GREY, BLACK = "#2da44e", "#d0d7de", "#24292f"
LEGEND = [
    (GREEN, "fails without the backport, works with it"),
    (GREY, "Starlette 0.20.0 and later do not support Python 3.6"),
    (
        GREY,
        "0.13.3 to 0.13.8 fail by themselves on Python 3.11 and later; not run on PyPy",
    ),
]


def rectangle(x, y, width, height, colour):
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {size} fill="{colour}"/>'


def text(x, y, content, more=""):
    return f'<text x="{x:g}" y="{y:g}" fill="{BLACK}"{more}>{content}</text>'


def draw(cells):
    """Return the picture; `cells` are of the form RELEASE-PYTHON."""
    pythons = list(dict.fromkeys(cell.split("-")[1] for cell in cells))
    bottom = TOP + ROW * len(pythons)
    height = bottom + ROW * (len(LEGEND) + 1)
    # For pages that are dark.
    parts = [rectangle(0, 0, WIDTH, height, "white")]
    for row, python in enumerate(pythons):
        parts.append(text(5, TOP + ROW * row + 14, python))
    for column, release in enumerate(RELEASES):
        x = LEFT + COLUMN * column
        turned = f' transform="rotate(-90 {x + 10:g} {TOP - 5})"'
        parts.append(text(x + 10, TOP - 5, release, turned))
        for row, python in enumerate(pythons):
            colour = GREEN if f"{release}-{python}" in cells else GREY
            parts.append(rectangle(x, TOP + ROW * row, COLUMN - GAP, ROW - GAP, colour))
    for number, (colour, meaning) in enumerate(LEGEND):
        y = bottom + ROW * (number + 0.5)
        parts.append(rectangle(LEFT, y, COLUMN - GAP, COLUMN - GAP, colour))
        parts.append(text(LEFT + ROW, y + 10, meaning))
    begin = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"'
    begin += ' style="font: 12px sans-serif">'
    return "\n".join([begin, *parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cells", nargs="+", metavar="RELEASE-PYTHON")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "grid.svg")
    arguments = parser.parse_args()
    arguments.out.write_text(draw(arguments.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
