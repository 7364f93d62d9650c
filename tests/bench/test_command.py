"""The command line: scenarios by name, peers by URL, and what is kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import rows
from bench.__main__ import accept, comparison, main, parser
from bench.contenders.foreign import BadPeer, Peer, parse
from bench.scenarios import SCENARIOS
from tests.bench.results import result, row


def test_every_scenario_describes_itself_and_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    """--list shows the first words of each."""
    assert main(["--list"]) == 0
    told = capsys.readouterr().out
    for name, scenario in SCENARIOS.items():
        assert callable(scenario.run)
        assert scenario.__doc__
        assert f"{name} " in told


def test_every_scenario_that_there_is_is_listed() -> None:
    """A file that nobody runs would be forgotten."""
    folder = Path(rows.__file__).parent / "scenarios"
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(SCENARIOS)


def test_a_scenario_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is measured."""
    assert main(["large_ftp"]) != 0
    assert "large_ftp" in capsys.readouterr().err


def test_a_peer_is_a_kind_and_a_url() -> None:
    """The port and the path are taken from it."""
    assert parse("tus=http://127.0.0.1:1080/files/") == Peer("tus", "127.0.0.1", 1080, "/files/")
    assert parse("tus=http://localhost") == Peer("tus", "localhost", 80, "/")


@pytest.mark.parametrize(
    "text", ["tus", "ftp=http://x/", "tus=https://x/", "tus=", "tus=http:///x"]
)
def test_another_peer_is_refused(text: str) -> None:
    """With what would be right."""
    with pytest.raises(BadPeer, match="tus=http://HOST"):
        parse(text)
    with pytest.raises(SystemExit):
        parser().parse_args(["--peer", text])


def test_what_runs_left_is_removed_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is measured; where that cannot be, the exit code says so."""
    (tmp_path / "uploadd-bench").mkdir(mode=0o700)
    (tmp_path / "uploadd-bench" / "upload").write_text("x")
    (tmp_path / "uploadd-bench" / "README").touch()
    assert main(["--clear", "--disk", str(tmp_path), "limits"]) == os.EX_USAGE
    assert main(["--clear", "--disk", str(tmp_path)]) == 0
    assert list((tmp_path / "uploadd-bench").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    assert main(["--clear", "--disk", str(tmp_path / "file")]) == os.EX_TEMPFAIL
    assert "cannot write to" in capsys.readouterr().err


def test_a_run_is_accepted_whole_and_compared_with_later(tmp_path: Path) -> None:
    """What was accepted before is replaced; without a run nothing is."""
    folder, kept = tmp_path / "run", tmp_path / "results" / "short"
    assert accept(folder, kept) != 0
    rows.save(result(row("uploadd", 100)), folder / "result.json")
    kept.mkdir(parents=True)
    (kept / "old.png").write_text("old")
    assert accept(folder, kept) == 0
    assert not (kept / "old.png").exists()
    [line] = comparison(result(row("uploadd", 50)), kept / "result.json", ["large_tus"])
    assert "slower by 50%" in line


def test_without_an_accepted_run_that_is_said(tmp_path: Path) -> None:
    """And one that cannot be read is no reason to fail."""
    [line] = comparison(result(), tmp_path / "none.json", [])
    assert "no accepted run" in line
    (tmp_path / "bad.json").write_text("{")
    [line] = comparison(result(), tmp_path / "bad.json", [])
    assert "cannot compare" in line
