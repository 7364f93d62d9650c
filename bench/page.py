"""What docs/performance.md shows of the accepted run: computed, so never out of date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from bench.figures import spread
from bench.rows import Result, Row, load
from bench.table import number

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
ACCEPTED = HERE / "results"
FORMS = ("full", "short")
SECTION = re.compile(r"(<!-- computed: results -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = "| measured | uploadd | bound by | beside it |\n|---|---|---|---|"


def accepted(results: Path = ACCEPTED) -> Path | None:
    """The folder of the run to show: the full one, if there is one."""
    folders = (results / form for form in FORMS)
    return next((folder for folder in folders if (folder / "result.json").exists()), None)


def refresh(page: Path = PAGE, results: Path = ACCEPTED) -> None:
    """Write the computed section anew."""
    page.write_text(computed(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def computed(text: str, results: Path = ACCEPTED) -> str:
    """*text* with its computed section as it should be."""
    folder = accepted(results)
    if folder is None:
        return text
    found = load(folder / "result.json")
    plots = sorted(path.name for path in folder.glob("*.svg"))
    body = "\n".join(section(found, plots, f"../bench/results/{folder.name}"))
    return SECTION.sub(lambda match: f"{match[1]}{body}\n{match[2]}", text)


def section(result: Result, plots: Iterable[str], where: str) -> list[str]:
    """The run in short: one line for each thing that was measured."""
    about = ", ".join(f"{name}: {value}" for name, value in result.machine.items())
    lines = [f"The {result.form} run of {result.began[:10]}. {about}.", ""]
    lines += [f"All of it, with versions: [result.md]({where}/result.md).", ""]
    for scenario, rows in groupby(result.rows, key=lambda row: row.scenario):
        lines += [f"### {scenario.replace('_', ' ')}", "", HEAD]
        lines += [line(list(group)) for _, group in groupby(rows, key=lambda row: row.group)]
        lines.append("")
    for plot in plots:
        name = plot.removesuffix(".svg")
        lines += [f"![{name.replace('-', ' ')}]({where}/{plot})", ""]
    return lines


def line(group: Sequence[Row]) -> str:
    """One thing that was measured: ours, what bounded the first of them, and the others."""
    first = group[0]
    ours = [row for row in group if row.ours]
    others = [row for row in group if not row.ours]
    cells = [
        f"{first.what}, {first.place}, {first.unit}" if first.unit else first.what,
        ", ".join(_mode(row) for row in ours),
        (ours or others)[0].bound,
        ", ".join(_other(row) for row in others),
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _mode(row: Row) -> str:
    mode = row.contender.removeprefix("uploadd").strip(" ,") or row.durability
    return f"{mode}: {_figure(row)}"


def _other(row: Row) -> str:
    times = f" ({spread(row.ratios).median:.2f}×)" if row.ratios else ""
    name = "" if row.contender == "–" else f"{row.contender} "
    return f"{name}{_figure(row)}{times}"


def _figure(row: Row) -> str:
    figure = number(spread(row.values).median) if row.values else "–"
    return f"{figure} ({row.note[:80]})" if row.note else figure
