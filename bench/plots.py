"""Throughput and memory against sessions, as PNG and SVG, by matplotlib (the extra ``bench``)."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.figures import spread
from bench.places import TMPFS
from bench.rows import Result, Row

Series = Mapping[str, list[Row]]
Title = tuple[str, str, str]
"""Table, place and unit."""


def curves(rows: Iterable[Row]) -> dict[Title, dict[str, list[Row]]]:
    """By title, then by contender: the rows with a place on the axis, in its order."""
    found: dict[Title, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.at is not None and row.values:
            found[_stem(row), row.place, row.unit][row.contender].append(row)
    for series in found.values():
        for line in series.values():
            line.sort(key=lambda row: row.at or 0)
    return {key: dict(series) for key, series in found.items()}


def _stem(row: Row) -> str:
    """What is the same in all points of a curve: the text before the number of sessions."""
    return row.what.partition(",")[0]


def draw(result: Result, folder: Path) -> list[Path]:
    """One plot for each set of curves; none without matplotlib."""
    found = curves(result.rows)
    if not found:
        return []
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plots: pip install -e .[bench]", file=sys.stderr)
        return []
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "uploadd"  # the same curves give the same file
    drawn = []
    for title, series in found.items():
        drawn += _draw(title, series, folder / file_name(*title))
    return drawn


def file_name(stem: str, place: str, unit: str) -> str:
    """For people to link to."""
    stem += "" if place == TMPFS else f" {place}"
    kind = {"MB/s": "throughput", "MiB": "memory"}.get(unit, unit.strip("/").replace("/", "-"))
    words = "".join(c if c.isalnum() else " " for c in stem.lower()).split()
    return "-".join([kind, *words])


def _draw(title: Title, series: Series, path: Path) -> list[Path]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for contender, line in series.items():
        spreads = [spread(row.values) for row in line]
        at = [row.at or 0 for row in line]
        middles = [one.median for one in spreads]
        below = [one.median - one.low for one in spreads]
        above = [one.high - one.median for one in spreads]
        style = "-" if contender.startswith("uploadd") else "--"
        axes.errorbar(
            at, middles, (below, above), label=contender, marker="o", linestyle=style, capsize=3
        )
    axes.set(
        title=", ".join(title), xlabel="sessions", ylabel=title[2], xscale="log", ylim=(0, None)
    )
    ticks = sorted({row.at or 0 for line in series.values() for row in line})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    paths = [path.with_suffix(".png"), path.with_suffix(".svg")]
    for one in paths:
        figure.savefig(one, metadata={"Date": None} if one.suffix == ".svg" else None, dpi=110)
    return paths
