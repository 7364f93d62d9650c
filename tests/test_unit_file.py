"""The systemd unit: systemd takes every line of it, and it stays as closed as it was made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from uploadd.config import Config

UNIT = Path(__file__).parents[1] / "systemd/uploadd.service"
PROGRAM = "/usr/bin/uploadd"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze here"
)


def analyze(verb: str, folder: Path, text: str, *options: str) -> tuple[int, str]:
    """Exit status and all words of systemd-analyze about a unit of this *text*."""
    unit = folder / "uploadd.service"
    unit.write_text(text)
    command = ["systemd-analyze", verb, *options, str(unit)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return run.returncode, run.stdout.decode()


def installed() -> str:
    """The unit as if uploadd were installed: systemd looks whether the program can be run."""
    text = UNIT.read_text()
    assert text.count(PROGRAM) == 1
    program = shutil.which("true")
    assert program is not None
    return text.replace(PROGRAM, program)


def settings() -> list[tuple[str, str]]:
    """Every ``Name=value`` of the unit, in order."""
    lines = [line for line in UNIT.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    """No unknown name, no wrong value, no warning."""
    assert analyze("verify", tmp_path, installed()) == (0, "")


@needs_systemd
def test_the_program_is_all_that_is_missing_where_uploadd_is_not_installed(tmp_path: Path) -> None:
    """Unchanged, the unit gets one complaint at most: that there is no /usr/bin/uploadd."""
    _, said = analyze("verify", tmp_path, UNIT.read_text())
    complaint = f"Command {PROGRAM} is not executable: No such file or directory"
    missing = [] if Path(PROGRAM).exists() else [f"uploadd.service: {complaint}"]
    assert said.splitlines() == missing


@needs_systemd
@pytest.mark.parametrize("line", ["KillSignl=SIGTERM", "Restart=on-a-whim", "UMask=0999"])
def test_the_check_finds_a_wrong_line(tmp_path: Path, line: str) -> None:
    """An unknown name and wrong values are found, so the silence above means something."""
    text = installed().replace("Type=exec", line)
    _, said = analyze("verify", tmp_path, text)
    assert f"uploadd.service:{text.splitlines().index(line) + 1}: " in said


@needs_systemd
def test_the_unit_stays_closed(tmp_path: Path) -> None:
    """The exposure that systemd computes, in tenths, is 15 at most; it was 11 when written."""
    options = ("--offline=true", "--threshold=15")
    status, said = analyze("security", tmp_path, installed(), *options)
    assert status == 0, said
    opened = installed().replace("CapabilityBoundingSet=\n", "").replace("NoNewPrivileges=yes", "")
    assert analyze("security", tmp_path, opened, *options)[0] == 1


def test_the_unit_gives_the_daemon_more_time_to_stop_than_it_takes() -> None:
    """Otherwise systemd would kill it while it flushes."""
    assert int(dict(settings())["TimeoutStopSec"]) > Config().timeouts.stop


def test_the_unit_gives_the_daemon_enough_file_descriptors() -> None:
    """Every session may move an upload, and others are being fetched."""
    assert int(dict(settings())["LimitNOFILE"]) > 4 * Config().limits.max_sessions
