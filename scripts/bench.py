"""Measure what a request costs with the backport, as a ratio to the unpatched release.

Each folder is an environment that `nox -s bench` has made, called
bench-RELEASE-PYTHON. All variants take turns in one process. A ratio is the median over
several processes. Its interval is the lowest and the highest of their medians. Of six
processes, it contains the true median with a probability of 97 percent.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import typing

from bench_worker import OFFERS

ROOT = pathlib.Path(__file__).resolve().parents[1]
WORKER = ROOT / "scripts" / "bench_worker.py"

HEAD = """\
# What a request costs

Written by `nox -s bench`: the cost of a request as a ratio to the unpatched release,
and in brackets the lowest and the highest ratio of {processes} processes. *again* is
the unpatched release once more, which shows how exact the ratios are. *0.24.0* is that
release of Starlette.
"""


class Cost(typing.NamedTuple):
    microseconds: float
    ratio: float  # To the unpatched release.
    low: float
    high: float


def measure(environment, arguments):
    """Return the costs by scenario and variant."""
    (shipped,) = environment.glob("lib/python*/site-packages")
    variants = {
        "unpatched": {"folder": shipped},
        "again": {"folder": shipped},
        "patched": {"folder": shipped, "backport": shipped},
        "0.24.0": {"folder": environment / "0.24.0"},
    }
    order = {"variants": variants, "seconds": arguments.seconds}
    python = environment / "bin" / "python"
    command = [python, "-B", WORKER, "--order", json.dumps(order, default=str)]
    costs, found = {}, []
    for _ in range(arguments.processes):
        found.append(json.loads(subprocess.check_output(command)))
    for scenario in found[0]:
        costs[scenario] = {}
        for name in variants:
            costs[scenario][name] = cost_of([one[scenario][name] for one in found])
    return costs


def cost_of(medians):
    """Return the cost, from the time and the ratio that each process has measured."""
    times, ratios = zip(*medians)
    microseconds = statistics.median(times) * 1e6
    return Cost(microseconds, statistics.median(ratios), min(ratios), max(ratios))


def table(release, python, costs):
    """Return the costs as a table in Markdown."""
    names = [name for name in next(iter(costs.values())) if name != "unpatched"]
    lines = [f"## Starlette {release} on Python {python}", ""]
    lines.append(f"| request | unpatched | {' | '.join(names)} |")
    lines.append("|---|--:|" + "--:|" * len(names))
    for scenario, row in costs.items():
        cells = [scenario, f"{row['unpatched'].microseconds:.0f} µs"]
        for name in names:
            cells.append("{0.ratio:.2f} ({0.low:.2f}-{0.high:.2f})".format(row[name]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def draw(results, path):
    """Draw how many microseconds a middleware adds with the backport."""
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "-", "font.size": 12})
    options = {"sharey": True, "figsize": (9, 3.4), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(OFFERS), **options)
    for axis, offer in zip(axes, OFFERS):
        for (release, python), costs in results.items():
            cost = costs[f"1 middleware, {offer}"]["patched"]
            unpatched = cost.microseconds / cost.ratio
            ratios = (cost.low, cost.ratio, cost.high)
            low, added, high = (unpatched * (ratio - 1) for ratio in ratios)
            name = f"{release}, Python {python}"
            axis.plot([low, high], [name, name], "C0-", linewidth=2)
            axis.plot([added], [name], "C0o")
        axis.axvline(0, color="black", linewidth=1)
        axis.grid(axis="x")
        axis.set_title(offer)
    axes[0].invert_yaxis()
    figure.supxlabel("microseconds that a middleware adds to a request")
    figure.savefig(path, metadata={"Date": None})


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("environments", nargs="+", type=pathlib.Path, metavar="FOLDER")
    add(
        "--seconds",
        type=float,
        default=0.25,
        help="for a variant; default: %(default)s",
    )
    add("--processes", type=int, default=6, help="default: %(default)s")
    add("--write", action="store_true", help="write docs/bench.md and docs/bench.svg")
    return parser.parse_args()


def main():
    arguments = parse()
    results, page = {}, [HEAD.format(processes=arguments.processes)]
    for environment in arguments.environments:
        _, release, python = environment.name.split("-")
        results[release, python] = measure(environment, arguments)
        page.append(table(release, python, results[release, python]))
        print(page[-1], flush=True)
    if arguments.write:
        (ROOT / "docs" / "bench.md").write_text("\n".join(page), encoding="utf-8")
        draw(results, ROOT / "docs" / "bench.svg")


if __name__ == "__main__":
    main()
