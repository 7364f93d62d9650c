"""The units: systemd takes every line of them, and they stay as closed as they were made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from uploadd.config import Config

UNITS = Path(__file__).parents[1] / "systemd"
UNIT = UNITS / "uploadd.service"
PROGRAM = "/usr/bin/uploadd"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd here: apt install systemd"
)


def analyze(verb: str, unit: Path, *options: str) -> tuple[int, str]:
    """Exit status and all words of systemd-analyze about a *unit*."""
    return said("systemd-analyze", verb, *options, str(unit))


def said(*command: str) -> tuple[int, str]:
    """Exit status and all words of a command."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return run.returncode, run.stdout.decode()


def written(folder: Path, text: str, *drop_ins: str) -> Path:
    """The service with this *text*, beside the socket, with drop-ins of ours."""
    unit = folder / UNIT.name
    unit.write_text(text)
    shutil.copy(UNITS / "uploadd.socket", folder)
    for name in drop_ins:
        (folder / "uploadd.service.d").mkdir(exist_ok=True)
        shutil.copy(UNITS / name, folder / "uploadd.service.d")
    return unit


def installed() -> str:
    """The unit as if uploadd were installed: systemd looks whether the program can be run."""
    program = shutil.which("true")
    assert program is not None
    return UNIT.read_text().replace(PROGRAM, program)


def settings() -> list[tuple[str, str]]:
    """Every ``Name=value`` of the unit, in order."""
    lines = [line for line in UNIT.read_text().splitlines() if line and line[0] not in "#["]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


@needs_systemd
@pytest.mark.parametrize("drop_ins", [(), ("sealed.conf",)])
def test_systemd_has_nothing_to_say_about_the_units(
    tmp_path: Path, drop_ins: tuple[str, ...]
) -> None:
    """No unknown name, no wrong value, no warning."""
    service = written(tmp_path, installed(), *drop_ins)
    assert analyze("verify", service) == (0, "")
    assert analyze("verify", tmp_path / "uploadd.socket") == (0, "")


@needs_systemd
def test_the_program_is_all_that_is_missing_where_uploadd_is_not_installed(tmp_path: Path) -> None:
    """Unchanged, the unit gets one complaint at most: that there is no /usr/bin/uploadd."""
    _, words = analyze("verify", written(tmp_path, UNIT.read_text()))
    complaint = f"Command {PROGRAM} is not executable: No such file or directory"
    missing = set() if Path(PROGRAM).exists() else {f"uploadd.service: {complaint}"}
    assert set(words.splitlines()) == missing


@needs_systemd
@pytest.mark.parametrize("line", ["KillSignl=SIGTERM", "Restart=on-a-whim", "UMask=0999"])
def test_the_check_finds_a_wrong_line(tmp_path: Path, line: str) -> None:
    """An unknown name and wrong values are found, so the silence above means something."""
    text = installed().replace("Type=notify\n", f"{line}\n")
    _, words = analyze("verify", written(tmp_path, text))
    assert f"uploadd.service:{text.splitlines().index(line) + 1}: " in words


@needs_systemd
@pytest.mark.parametrize(("drop_ins", "most"), [((), 12), (("sealed.conf",), 3)])
def test_the_unit_stays_closed(tmp_path: Path, drop_ins: tuple[str, ...], most: int) -> None:
    """The exposure that systemd computes, in tenths; it was 11 and 2 when written."""
    options = ("--offline=true", f"--threshold={most}")
    status, words = analyze("security", written(tmp_path, installed(), *drop_ins), *options)
    assert status == 0, words
    opened = installed().replace("CapabilityBoundingSet=\n", "").replace("NoNewPrivileges=yes", "")
    assert analyze("security", written(tmp_path, opened, *drop_ins), *options)[0] == 1


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_user_and_folders_are_made_as_the_unit_needs_them(tmp_path: Path) -> None:
    """By systemd itself, into a root of its own."""
    (tmp_path / "etc").mkdir()
    root = f"--root={tmp_path}"
    assert said("systemd-sysusers", root, str(UNITS / "sysusers.conf"))[0] == 0
    entry = re.search("^uploadd:.*", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert entry is not None
    _, _, uid, gid, _, home, shell = entry[0].split(":")
    assert (home, shell) == ("/var/lib/uploadd", "/usr/sbin/nologin")
    status, words = said("systemd-tmpfiles", root, "--create", str(UNITS / "tmpfiles.conf"))
    assert status == 0, words
    found = {
        str(path.relative_to(tmp_path)): (f"{path.stat().st_mode & 0o777:o}", path.stat().st_uid)
        for path in (*tmp_path.glob("etc/uploadd/**"), tmp_path / "var/lib/uploadd")
    }
    assert found == {
        "etc/uploadd": ("755", 0),
        "etc/uploadd/conf.d": ("755", 0),
        "etc/uploadd/keys": ("750", 0),
        "var/lib/uploadd": ("750", int(uid)),
    }
    assert (tmp_path / "etc/uploadd/keys").stat().st_gid == int(gid)


def test_the_unit_gives_the_daemon_more_time_to_stop_than_it_takes() -> None:
    """Otherwise systemd would kill it while it flushes."""
    assert int(dict(settings())["TimeoutStopSec"]) > Config().timeouts.stop


def test_the_unit_gives_the_daemon_enough_file_descriptors() -> None:
    """Every session may move an upload, and others are being fetched."""
    assert int(dict(settings())["LimitNOFILE"]) > 4 * Config().limits.max_sessions


def test_the_unit_reads_the_configuration_that_check_reads() -> None:
    """Otherwise a reload would be refused for another file, or not be refused."""
    commands = [value.split() for name, value in settings() if name in ("ExecStart", "ExecReload")]
    start, check, kill = commands
    assert start == [PROGRAM, "serve"]
    assert check == [PROGRAM, "check", "--quiet"]
    assert kill == ["/bin/kill", "-HUP", "$MAINPID"]
