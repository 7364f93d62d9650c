"""What commands have stored: each its own file, and others come and go beside it."""

from __future__ import annotations

from pathlib import Path

from uploadd.client.journal import SUFFIX, Journal
from uploadd.client.state import Known

SERVER = "http://localhost/"


def test_a_command_that_is_through_while_another_begins_takes_nothing_from_it(
    tmp_path: Path,
) -> None:
    """Its file may be gone after it was listed; what the others have left is found."""
    known = Known("/a", 1, 2, SERVER)
    Journal(tmp_path, SERVER).add(known, "upload")
    (tmp_path / f"gone{SUFFIX}").symlink_to(tmp_path / "nowhere")
    assert Journal(tmp_path, SERVER).find(known) == "upload"
