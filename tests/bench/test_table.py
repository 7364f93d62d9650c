"""The tables that people read."""

from __future__ import annotations

from bench.table import HEAD, line, markdown, number
from tests.bench.results import result, row


def cells(text: str) -> list[str]:
    """Of one line of a table."""
    return [cell.strip() for cell in text.strip("|").split("|")]


def test_every_row_names_durability_and_whether_it_flushes() -> None:
    """A reader must see at once that a fast server keeps nothing."""
    ours = cells(line(row("uploadd", 1.0, durability="durable", flushes=True)))
    theirs = cells(line(row("nginx", 1.0, durability="page cache", flushes=False)))
    unknown = cells(line(row("tusd", 1.0)))
    assert ours[:3] == ["uploadd", "durable", "yes"]
    assert theirs[:3] == ["nginx", "page cache", "no"]
    assert unknown[:3] == ["tusd", "", ""]


def test_median_range_and_ratio_are_there() -> None:
    """In the unit of the table."""
    told = cells(line(row("nginx", 3.0, 1.0, 2.0, ratios=(2.0, 4.0, 3.0))))
    assert told[3:5] == ["2 (1 – 3)", "3.00 (2.00 – 4.00)"]


def test_every_line_has_as_many_cells_as_the_head() -> None:
    """Also with a bar in what a program said when it failed."""
    rows = [row("a"), row("b", 1.0, note="x | y\nz"), row("c", 1.0, peak_rss=1, load_share=0.5)]
    assert {line(one).count("|") for one in rows} == {HEAD.splitlines()[0].count("|")}


def test_a_contender_without_figures_says_why() -> None:
    """Not a zero, and not nothing."""
    told = cells(line(row("nginx", note="nginx is not here: apt install nginx-light")))
    assert told[3] == "–"
    assert told[-1] == "nginx is not here: apt install nginx-light"


def test_numbers_are_as_exact_as_they_can_be() -> None:
    """Three digits; whole ones from a hundred on, in groups."""
    assert [number(n) for n in (0.01234, 1.5, 99.94, 123.4, 12345.6)] == [
        *("0.0123", "1.5", "99.9", "123", "12\u202f346"),
    ]


def test_a_run_is_told_with_machine_and_versions_and_one_table_for_each_group() -> None:
    """Rows of one group stand together under one heading."""
    text = markdown(
        result(row("uploadd", 1.0), row("nginx", 2.0), row("uploadd", 3.0, place="disk"))
    )
    assert "- processor: a fast one" in text
    assert "Versions: trio 0.35" in text
    assert text.count(HEAD) == 2
    assert text.index("| nginx") < text.index("**tus PATCH**, disk")
