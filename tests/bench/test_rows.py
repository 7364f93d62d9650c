"""Result files: what was written is what is read, and what is none is told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import rows
from tests.bench.results import result, row


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    """With everything a row can hold, and with rows that only say why there is nothing."""
    whole = row(
        "nginx", 1.5, 2.25, ratios=(1.25,), durability="page cache", flushes=False, better="less",
        cpu_per_gb=0.5, peak_rss=4096, load_share=0.25, server_share=1.5, bound="server", at=8.0,
    )  # fmt: skip
    run = result(whole, row("copyparty", note="could not be installed"))
    path = tmp_path / "deep" / "result.json"
    rows.save(run, path)
    assert rows.load(path) == run


def test_the_file_is_for_diff_too(tmp_path: Path) -> None:
    """A line for each value, and none for what a row does not have."""
    path = tmp_path / "result.json"
    rows.save(result(row("uploadd", 1.0)), path)
    text = path.read_text()
    assert text.endswith("}\n")
    assert '\n   "contender": "uploadd",\n' in text
    assert "peak_rss" not in text


@pytest.mark.parametrize("text", ["", "{}", '{"format": "x"}', "[1]"])
def test_what_is_no_result_is_unreadable(tmp_path: Path, text: str) -> None:
    """The message names the file."""
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(rows.Unreadable, match=str(path)):
        rows.load(path)


def test_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    """A newer harness may mean something else by the same names."""
    path = tmp_path / "result.json"
    rows.save(result(format=rows.FORMAT + 1), path)
    with pytest.raises(rows.Unreadable, match="format"):
        rows.load(path)


def test_a_run_of_some_scenarios_is_put_into_a_whole_one() -> None:
    """What was measured anew takes the place of the old; the rest stays where it was."""
    older = result(
        row("uploadd", 1, scenario="a"),
        row("uploadd", 2, scenario="b"),
        row("nginx", 3, scenario="b"),
        versions={"nginx": "1"},
    )
    newer = result(row("uploadd", 4, scenario="b"), row("uploadd", 5, scenario="c"), began="later")
    whole = rows.merged(older, newer)
    assert [(one.scenario, one.values) for one in whole.rows] == [
        *(("a", (1,)), ("b", (4,)), ("c", (5,))),
    ]
    assert whole.began == "later"
    assert whole.seconds == older.seconds + newer.seconds
    assert whole.versions == {"nginx": "1", "trio": "0.35"}


def test_what_is_kept_of_another_commit_says_so() -> None:
    """Also when it was kept before already."""
    runs = [
        result(row("uploadd", 1, scenario=name), machine={"commit": commit})
        for name, commit in (("a", "1st"), ("b", "2nd"), ("c", "2nd"), ("a", "3rd"))
    ]
    whole = rows.merged(rows.merged(runs[0], runs[1]), runs[2])
    assert whole.machine == {"commit": "2nd", "commit of a": "1st"}
    whole = rows.merged(whole, runs[3])
    assert whole.machine == {"commit": "3rd", "commit of b": "2nd", "commit of c": "2nd"}


def test_whose_row_it_is_is_told_by_the_name() -> None:
    """Every mode of uploadd is ours."""
    assert row("uploadd written").ours
    assert not row("@tus/server").ours
