"""docs/performance.md shows the accepted run, and nothing but it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import page, rows
from bench.scenarios import SCENARIOS
from tests.bench.results import result, row

TEXT = "before\n<!-- computed: results -->\nold\n<!-- end -->\nafter\n"


def test_the_page_is_fresh() -> None:
    """If not: python -m bench --accept, or page.refresh()."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.SECTION.search(text)
    assert page.computed(text) == text


def test_accepted_runs_can_be_read_and_have_their_tables() -> None:
    """By the harness of today."""
    for folder in page.ACCEPTED.iterdir() if page.ACCEPTED.is_dir() else ():
        run = rows.load(folder / "result.json")
        assert run.form == folder.name
        assert {one.scenario for one in run.rows} <= set(SCENARIOS)
        assert (folder / "result.md").exists()


@pytest.mark.parametrize("form", ["full", "short"])
def test_what_is_computed_replaces_what_was(tmp_path: Path, form: str) -> None:
    """The full run where there is one; what people wrote around it stays."""
    rows.save(result(row("uploadd durable", 70), form="short"), tmp_path / "short" / "result.json")
    run = result(
        row("uploadd written", 80, 90, 100, bound="server"),
        row("uploadd durable", 85),
        row("nginx", 30, ratios=(3.0,)),
        row("copyparty", note="not | here"),
        form=form,
    )
    rows.save(run, tmp_path / form / "result.json")
    (tmp_path / form / "memory-websocket.svg").write_text("")
    text = page.computed(TEXT, tmp_path)
    assert text.startswith("before\n<!-- computed: results -->\nThe " + form)
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    assert (
        "| tus PATCH, tmpfs, MB/s | written: 90, durable: 85 | server "
        "| nginx 30 (3.00×), copyparty – (not / here) |"
    ) in text
    assert f"![memory websocket](../bench/results/{form}/memory-websocket.svg)" in text


def test_without_a_run_the_page_stays(tmp_path: Path) -> None:
    """A new form of results must not empty it."""
    assert page.computed(TEXT, tmp_path) == TEXT
