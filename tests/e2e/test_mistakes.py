"""The mistakes that everybody makes once: what happened, why, and what to type."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.daemon import Daemon
from tests.e2e.manager import can_mount

AS_OTHERS: Final = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
"""To the file system a user as any other, whatever the name is."""


def said(daemon: Daemon, code: int) -> str:
    """What *daemon* says that does not start, and ends with *code*."""
    with daemon:
        daemon.launch()
        assert daemon.wait() == code, daemon.log
        return daemon.log


def test_a_port_in_use_tells_who_uses_it_and_another_one(tmp_path: Path) -> None:
    """And the line of the file that named it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        told = (
            f"cannot listen on 127.0.0.1:{port}: already used by pid {os.getpid()} ({name})\n"
            f"→ the same command with --port {port + 1}"
        )
        by_flag = Daemon(tmp_path / "store", "--port", str(port))
        assert said(by_flag, os.EX_UNAVAILABLE) == f"{told}\n"
        file = tmp_path / "u.toml"
        file.write_text(f"[server]\nport = {port}\n")
        by_file = Daemon(tmp_path / "store", "--config", str(file), port=None)
        assert said(by_file, os.EX_UNAVAILABLE) == f"{told}; or change port in {file}:2\n"
        as_json = Daemon(tmp_path / "store", "--port", str(port), "--set", "log.format=json")
        line = json.loads(said(as_json, os.EX_UNAVAILABLE))
        assert (line["message"], line["level"]) == (told, "error")


def test_an_address_of_another_computer_is_told(tmp_path: Path) -> None:
    """192.0.2.0/24 is nobody's."""
    daemon = Daemon(tmp_path / "store", "--host", "192.0.2.1")
    told = said(daemon, os.EX_UNAVAILABLE)
    assert told.startswith("cannot listen on 192.0.2.1:0: ")
    assert "\n→ --host with an address of this machine (ip address), or 127.0.0.1\n" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_is_not_ours_tells_whose_it_is_and_how_to_get_one(tmp_path: Path) -> None:
    """The folder itself, one that would have to be made, and one that has .uploadd in it."""
    folder = tmp_path / "srv uploads"
    (folder / ".uploadd").mkdir(parents=True)
    os.chown(folder, 12345, 12345)
    hint = (
        f"→ sudo install -d -o root -g root -m 0750 '{folder}'\n"
        f"(or the unit lacks ReadWritePaths='{folder}': systemctl edit uploadd)\n"
    )
    assert said(Daemon(folder, under=AS_OTHERS), os.EX_NOPERM) == (
        f"cannot write to {folder}: owned by 12345, mode 0755, running as root\n{hint}"
    )
    assert not list(folder.glob("*probe*"))
    below = folder / "below"
    assert said(Daemon(below, under=AS_OTHERS), os.EX_NOPERM).startswith(
        f"cannot write to {below}: {folder} is owned by 12345, mode 0755, running as root\n"
    )


def test_a_disk_that_is_read_only_is_told_as_such(tmp_path: Path) -> None:
    """The rights would be good, and the hint is the unit's."""
    if reason := can_mount():
        pytest.skip(reason)
    folder = tmp_path / "store"
    folder.mkdir()
    mounted = f'mount -t tmpfs -o ro none "{folder}" && exec "$@"'
    under = ("unshare", "--mount", "sh", "-c", mounted, "sh")
    told = said(Daemon(folder, under=under), os.EX_NOPERM)
    assert told.startswith(f"cannot write to {folder}: the file system is read-only, running as")
    assert f"ReadWritePaths={folder}" in told


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    """No rights would help."""
    (tmp_path / "store").write_text("")
    told = said(Daemon(tmp_path / "store"), os.EX_NOPERM)
    assert told == (
        f"cannot write to {tmp_path}/store: Not a directory\n"
        f"→ name another folder, or move {tmp_path}/store away: it is no folder\n"
    )


def test_where_nothing_can_be_made_another_folder_is_asked_for(tmp_path: Path) -> None:
    """Of a file that is in the way it is told which; the kernel's own folders take none."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".uploadd").write_text("")
    told = said(Daemon(tmp_path / "store"), os.EX_NOPERM)
    assert f"→ name another folder, or move {tmp_path}/store/.uploadd away: it is no folder" in told
    told = said(Daemon(Path("/proc/foo")), os.EX_NOPERM)
    assert told.endswith("\n→ name another folder: nothing can be made in /proc\n")


def test_a_hook_that_cannot_be_run_is_told_of_at_the_start_and_at_a_reload(tmp_path: Path) -> None:
    """The daemon starts all the same: the program may come later."""
    program, file = tmp_path / "tell", tmp_path / "u.toml"
    file.write_text(f'[hook.app]\nrun = ["{program}"]\n')
    with Daemon(tmp_path / "store", "--config", str(file)) as daemon:
        daemon.start()
        assert f"hook app: {program} cannot be run: No such file or directory\n" in daemon.log
        program.write_text("#!/bin/sh\n")
        daemon.signal(signal.SIGHUP)
        told = f"hook app: {program} cannot be run: It is not executable\n"
        assert daemon.settles(lambda: told in daemon.log)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_ledger_that_others_may_not_read_is_not_called_missing(tmp_path: Path) -> None:
    """It is there, and the daemon's user can look."""
    unfinished(tmp_path / "store", killed=False)
    os.chown(tmp_path / "store/.uploadd", 12345, 12345)
    command = [*AS_OTHERS, sys.executable, "-m", "uploadd", "uploads", "ls", "store"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == os.EX_NOPERM
    assert run.stderr.endswith(
        "/ledger.db cannot be read: Permission denied\n"
        "→ as the user of the daemon: sudo -u uploadd …\n"
    )


def test_a_second_daemon_on_one_folder_refuses_and_names_the_first(tmp_path: Path) -> None:
    """Both would write one ledger."""
    with Daemon(tmp_path / "store") as first:
        first.start()
        for port in (0, first.address[1]):  # also where the port of the first is asked for
            told = said(Daemon(tmp_path / "store", port=port), os.EX_TEMPFAIL)
            assert told == (
                f"{tmp_path}/store is served by another uploadd (pid {first.pid})\n"
                "→ stop that one first, or serve another folder\n"
            )


def test_a_misspelt_key_is_shown_in_its_line_with_the_right_one(tmp_path: Path) -> None:
    """All mistakes at once; nothing is started."""
    file = tmp_path / "u.toml"
    file.write_text('[limits]\nmax_lenght = "10 GiB"\n[timeouts]\nhead = 15\n')
    assert said(Daemon(tmp_path / "store", "--config", str(file)), os.EX_CONFIG) == (
        f'{file}:2: unknown key "max_lenght" in [limits]\n'
        '    2 │ max_lenght = "10 GiB"\n'
        '      │ ^^^^^^^^^^ did you mean "max_length"?\n'
        f"{file}:4: timeouts.head: expected a duration with its unit, such as "
        '"200 ms", "5 s" or "2 m", not 15\n'
        "    4 │ head = 15\n"
        '      │ ^^^^ for example: head = "15 s"\n'
    )
    assert not (tmp_path / "store").exists()


def unfinished(folder: Path, *, killed: bool) -> None:
    """Leave an upload in *folder* that is not complete; by a daemon that was *killed*, or not."""
    with Daemon(folder) as daemon:
        daemon.start()
        connection = HTTPConnection(*daemon.address, timeout=60)
        kind = "application/offset+octet-stream"
        fields = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Content-Type": kind}
        connection.request("POST", "/files/", b"1234", fields)
        assert connection.getresponse().headers["Upload-Offset"] == "4"
        connection.close()
        assert killed or daemon.terminate() == 0


@pytest.mark.parametrize("damage", ["gone", "empty", "garbage", "newer", "log"])
def test_a_ledger_that_cannot_be_believed_keeps_everything_as_it_is(
    tmp_path: Path, damage: str
) -> None:
    """Never silently empty: without it every unfinished upload would be removed."""
    folder = tmp_path / "store"
    unfinished(folder, killed=damage == "log")
    ledger, [growing] = folder / ".uploadd/ledger.db", (folder / ".uploadd/growing").iterdir()
    if damage == "newer":
        db = sqlite3.connect(ledger)
        db.execute("PRAGMA user_version=99")
        db.close()
    elif damage == "log":
        Path(f"{ledger}-wal").unlink()
    else:
        ledger.unlink()
        for rest in folder.glob(".uploadd/ledger.db-*"):
            rest.unlink()
        if damage != "gone":
            ledger.write_bytes(b"" if damage == "empty" else b"garbage" * 1000)
    code = os.EX_DATAERR if damage in ("gone", "empty", "log") else os.EX_NOPERM
    told = said(Daemon(folder), code)
    lost = f"1 unfinished upload in {growing.parent}, and {ledger} is gone or empty\n→ restore"
    assert {
        "gone": lost,
        "empty": lost,
        "garbage": f"cannot open the ledger {ledger}: file is not a database\n→ restore it from",
        "log": f"{ledger}-wal is gone, and with it the newest of what was acknowledged\n→ restore",
        "newer": ")\n→ install the version that wrote it, or a later one",
    }[damage] in told
    assert growing.read_bytes() == b"1234"


# --- what peers meet ------------------------------------------------------------------------------


def refusal(daemon: Daemon, length: int) -> tuple[int, str]:
    """Status and detail of the answer to a new upload of *length*."""
    connection = HTTPConnection(*daemon.address, timeout=60)
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length)}
    connection.request("POST", "/files/", headers=fields)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert answer.status == int(said["status"])
    assert said["hint"]
    return answer.status, said["detail"]


def test_a_full_disk_and_a_file_too_large_are_told_in_sizes(tmp_path: Path) -> None:
    """Before the first byte, and never two that read the same."""
    sets = ("--set", "storage.min_free=8000 TB", "--set", "limits.max_length=10 GiB")
    with Daemon(tmp_path / "store", *sets) as daemon:
        daemon.start()
        room = "no room: the upload needs 9.0 GiB, 0 B free beyond the reserve"
        assert refusal(daemon, 9 << 30) == (507, room)
        assert refusal(daemon, 12 << 30) == (
            413,
            "the file is 12.0 GiB, the limit here is 10.0 GiB",
        )
        assert refusal(daemon, (10 << 30) + 1) == (
            413,
            "the file is 10737418241 bytes, the limit here is 10737418240 bytes",
        )
