"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from uploadd import cli


@pytest.mark.parametrize("words", [["doctor"], ["config", "default"], ["version"]])
def test_who_has_read_enough_is_no_error(tmp_path: Path, words: list[str]) -> None:
    """As with ``uploadd doctor | head -1``: a pipe that nobody reads from any more."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "uploadd", *words]
    run = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_where_it_is_looked_for(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """By itself as beside all others, which is how help has it."""
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: uploadd {name} ")
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert f"\n    {name} " in capsys.readouterr().out


def test_a_daemon_starts_without_what_only_clients_need() -> None:
    """Each import costs every start, and memory for as long as it runs."""
    code = "import sys; from uploadd import cli; cli._parser(['serve']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "uploadd.daemon" in run.stdout.split()
    assert not {"rich", "uploadd.client.put", "uploadd.doctor.here"} & set(run.stdout.split())
