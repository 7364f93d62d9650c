"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("words", [["doctor"], ["config", "default"], ["version"]])
def test_who_has_read_enough_is_no_error(tmp_path: Path, words: list[str]) -> None:
    """As with ``uploadd doctor | head -1``: a pipe that nobody reads from any more."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "uploadd", *words]
    run = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(writing)
    assert (run.returncode, run.stderr) == (0, "")
