"""``uploadd config``: the defaults, what counts, and mistakes on standard error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uploadd.cli import main
from uploadd.config import default_file
from uploadd.settings import SECTIONS


def test_the_defaults_are_printed_as_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """To begin with: uploadd config default >/etc/uploadd/uploadd.toml."""
    assert main(["config", "default"]) == os.EX_OK
    assert capsys.readouterr() == (default_file(SECTIONS), "")


def test_what_counts_is_printed_with_who_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting; and what is printed can be read again."""
    file = tmp_path / "u.toml"
    file.write_text("[limits]\nmax_refs = 3\n")
    monkeypatch.setenv("UPLOADD_LOG__LEVEL", "debug")
    sets = ["--set", "server.names=a.example,b.example", "--port", "81"]
    assert main(["config", "show", "/srv", "--config", str(file), *sets]) == os.EX_OK
    shown = capsys.readouterr().out
    lines = {line.split("  # ")[0].rstrip(): line.split("  # ")[-1] for line in shown.splitlines()}
    assert lines["max_refs = 3"] == f"{file}:2"
    assert lines['level = "debug"'] == "UPLOADD_LOG__LEVEL"
    assert lines['names = ["a.example", "b.example"]'] == "--set"
    assert (lines["port = 81"], lines['dir = "/srv"']) == ("--port", "DIR")
    assert lines['ack = "durable"'] == "default"
    file.write_text(shown)
    monkeypatch.delenv("UPLOADD_LOG__LEVEL")
    assert main(["config", "show", "--config", str(file)]) == os.EX_OK
    again = capsys.readouterr().out
    assert [line.split("  # ")[0].rstrip() for line in again.splitlines()] == [
        line.split("  # ")[0].rstrip() for line in shown.splitlines()
    ]


def test_mistakes_are_all_told_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code for a bad configuration."""
    file = tmp_path / "u.toml"
    file.write_text('[limits]\nmax_sise = "10 GiB"\nmax_chnk = "1 MiB"\n')
    assert main(["config", "show", "--config", str(file), "--port", "x"]) == os.EX_CONFIG
    out, said = capsys.readouterr()
    assert out == ""
    assert said == (
        f'{file}:2: unknown key "max_sise" in [limits]\n'
        '    2 │ max_sise = "10 GiB"\n'
        '      │ ^^^^^^^^ did you mean "max_refs"?\n'
        f'{file}:3: unknown key "max_chnk" in [limits]\n'
        '    3 │ max_chnk = "1 MiB"\n'
        '      │ ^^^^^^^^ did you mean "max_chunk"?\n'
        '--port: server.port: expected a whole number, not "x"\n'
        "→ for example: --set server.port=8080\n"
    )
