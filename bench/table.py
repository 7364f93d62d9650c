"""The tables of a run in Markdown; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bench.figures import spread
from bench.rows import Result, Row

HEAD = (
    "| contender | durability | flushes | median (min – max) | first is … times better"
    " | server CPU | CPU s/GB | peak RSS MiB | generator CPU | bound by | |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def markdown(result: Result) -> str:
    """Everything that a run found."""
    lines = [f"# {result.form} run of {result.began}", ""]
    lines += [f"- {name}: {value}" for name, value in result.machine.items()]
    lines += [f"- took: {result.seconds:.0f} s", ""]
    lines += ["Versions: " + ", ".join(f"{k} {v}" for k, v in result.versions.items()), ""]
    for scenario, rows in groupby(result.rows, key=lambda row: row.scenario):
        lines += [f"## {scenario}", ""]
        for _, group in groupby(rows, key=lambda row: row.group):
            lines += [*table(list(group)), ""]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> list[str]:
    """One group, with its heading."""
    first = rows[0]
    return [f"**{first.what}**, {first.place}, {first.unit}", "", HEAD, *map(line, rows)]


def line(row: Row) -> str:
    """One contender."""
    cells = [
        row.contender,
        row.durability,
        {True: "yes", False: "no", None: ""}[row.flushes],
        _values(row),
        _ratio(row),
        _number(row.server_share, ".0%"),
        _number(row.cpu_per_gb, ".2f"),
        _number(None if row.peak_rss is None else row.peak_rss / (1 << 20), ".0f"),
        _number(row.load_share, ".0%"),
        row.bound,
        row.note.replace("|", "/").replace("\n", " "),
    ]
    return f"| {' | '.join(cells)} |"


def _values(row: Row) -> str:
    if not row.values:
        return "–"
    found = spread(row.values)
    if len(row.values) == 1:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)} – {number(found.high)})"


def _ratio(row: Row) -> str:
    if not row.ratios:
        return ""
    found = spread(row.ratios)
    return f"{found.median:.2f} ({found.low:.2f} – {found.high:.2f})"


def number(value: float) -> str:
    """Three digits are more than any figure here is good for; thousands are kept whole."""
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 100 else f"{value:.3g}"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)
