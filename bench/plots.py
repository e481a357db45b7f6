"""Draws what was measured, into docs/."""

from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from bench.load import Round  # noqa: E402
from bench.report import DOCS  # noqa: E402

COLORS = 10  # of matplotlib's cycle, which then begins again


def contest(results: Mapping[str, Mapping[str, Round]]) -> None:
    """Draw each contender's server CPU a request, by workload."""
    workloads = list(results)
    names = list(dict.fromkeys(name for each in results.values() for name in each))
    figure, axes = plt.subplots(figsize=(10, 1 + 0.9 * len(workloads)))
    height = 0.8 / len(names)
    for at, name in enumerate(names):
        measured = [place for place, each in enumerate(results.values()) if name in each]
        places = [place + at * height for place in measured]
        values = [results[workloads[place]][name].server for place in measured]
        axes.barh(places, values, height, label=name)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(workloads))], workloads)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("server CPU a request, µs (logarithmic; less is better)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "contest.svg")


def growth(sizes: Sequence[int], costs: Mapping[str, Sequence[float]]) -> None:
    """Draw what each read costs, server and database together, by the number of users."""
    figure, axes = plt.subplots(figsize=(8, 5))
    for at, (name, values) in enumerate(costs.items()):
        marker = "o" if at < COLORS else "s"
        axes.plot(sizes, values, marker=marker, label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("users")
    axes.set_ylabel("CPU a request, µs")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "growth.svg")


def save(figure: Figure, name: str) -> None:
    """Write a figure as SVG that is the same for the same numbers."""
    plt.rcParams["svg.hashsalt"] = name
    figure.savefig(DOCS / name, bbox_inches="tight", metadata={"Date": None})
