"""The commands for a folder: beside a daemon that runs, and without one."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import wire
from tests.e2e.daemon import Daemon
from tests.e2e.rights import CHUNK, TUS, Asker
from uploadd.cli import main


class Ran(NamedTuple):
    """What a command has said."""

    returncode: int
    stdout: str
    stderr: str


def run(*args: str) -> Ran:
    """``uploadd …``, in this process: starting one takes longer than all it does."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(args)
    return Ran(code, out.getvalue(), err.getvalue())


def put(daemon: Daemon, name: str, body: bytes) -> str:
    """Upload; the id."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=30)
    connection.request("PUT", f"/{name}", body)
    url = connection.getresponse().read().decode()
    connection.close()
    return url.split("/f/")[1].split("/")[0]


def begin(daemon: Daemon) -> str:
    """An upload that nobody goes on with; the id."""
    connection = http.client.HTTPConnection(*daemon.address, timeout=30)
    connection.request("POST", "/files/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
    place = connection.getresponse().headers["Location"]
    connection.close()
    return place.rpartition("/")[2]


@pytest.mark.parametrize("runs", [True, False])
def test_uploads_are_listed_shown_and_removed(tmp_path: Path, runs: bool) -> None:
    """The same with a daemon and without; it serves on meanwhile."""
    folder = tmp_path / "served"
    with Daemon(folder) as daemon:
        daemon.start()
        first, second, begun = (
            put(daemon, "a.txt", b"a"),
            put(daemon, "b.txt", b"bb"),
            begin(daemon),
        )
        if not runs:
            assert daemon.terminate() == 0
        listed = run("uploads", "ls", str(folder))
        assert [line.split()[0] for line in listed.stdout.splitlines()] == [first, second, begun]
        assert "b.txt" in listed.stdout
        shown = json.loads(run("uploads", "show", second, str(folder)).stdout)
        assert (shown["state"], shown["length"], shown["path"]) == ("published", 2, "b.txt")
        for id in (second, begun):
            assert run("uploads", "rm", id, str(folder)).returncode == 0
        again = run("uploads", "rm", second, str(folder))
        assert again.returncode == 1
        assert "was deleted" in again.stderr
        left = run("uploads", "ls", "--json", str(folder)).stdout.splitlines()
        assert [json.loads(line)["id"] for line in left] == [first]
        assert [file.name for file in folder.glob("*.txt")] == ["a.txt"]
        if runs:
            put(daemon, "c.txt", b"c")


@pytest.mark.parametrize("runs", [True, False])
def test_damage_is_found(tmp_path: Path, runs: bool) -> None:
    """With an exit code that a timer can go by."""
    folder = tmp_path / "served"
    with Daemon(folder) as daemon:
        daemon.start()
        ids = [put(daemon, name, b"data") for name in ("a.txt", "b.txt")]
        if not runs:
            assert daemon.terminate() == 0
        published = ("uploads", "ls", "--state", "published", str(folder))  # is written down later
        assert daemon.settles(lambda: len(run(*published).stdout.splitlines()) == 2)
        assert run("verify", str(folder)).stderr == "2 noted\n"
        with (folder / "b.txt").open("r+b") as file:
            file.write(b"D")
        found = run("verify", "-q", str(folder))
        assert found.returncode == 1
        assert found.stdout.startswith(f"damaged   {ids[1]}  b.txt: ")
        assert len(found.stdout.splitlines()) == 1


def test_what_has_expired_is_told_before_it_is_removed(tmp_path: Path) -> None:
    """By the same terms as the daemon's."""
    folder = tmp_path / "served"
    terms = ("--set", "storage.keep_finished=1 s", "--set", "storage.keep_unfinished=1 s")
    with Daemon(folder) as daemon:
        daemon.start()
        ids = {put(daemon, "a.txt", b"data"), begin(daemon)}
        assert daemon.terminate() == 0

        def told() -> set[str]:
            found = run("gc", "--dry-run", "--json", str(folder), *terms)
            return {json.loads(line)["id"] for line in found.stdout.splitlines()}

        assert daemon.settles(lambda: told() == ids)
        assert (folder / "a.txt").exists()
        assert "2 uploads removed" in run("gc", str(folder), *terms).stderr
        assert not (folder / "a.txt").exists()


def test_the_daemon_does_it_by_itself(tmp_path: Path) -> None:
    """And whoever asks for it then hears that it is gone."""
    folder = tmp_path / "served"
    with Daemon(folder, "--set", "storage.keep_finished=1 s") as daemon:
        daemon.start()
        id = put(daemon, "a.txt", b"data")
        assert daemon.settles(lambda: not (folder / "a.txt").exists())

        def status() -> int:
            connection = http.client.HTTPConnection(*daemon.address, timeout=30)
            connection.request("GET", f"/f/{id}")
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status

        assert daemon.settles(lambda: status() == 410)  # the file goes first
        daemon.kill()
        daemon.start()
        assert status() == 410


def test_whoever_is_at_it_keeps_it_while_the_daemon_removes_others(tmp_path: Path) -> None:
    """A session that says nothing, and a body that stands still."""
    with Daemon(tmp_path / "served", "--set", "storage.keep_unfinished=1 s") as daemon:
        daemon.start()
        nobody, kept, abandoned = Asker(daemon, None), begin(daemon), begin(daemon)
        slow = http.client.HTTPConnection(*daemon.address, timeout=30)
        slow.putrequest("PATCH", f"/files/{kept}")
        for name, value in (CHUNK | {"Upload-Offset": "0", "Content-Length": "9"}).items():
            slow.putheader(name, value)
        slow.endheaders(b"half")
        with nobody.session() as ws:
            ws.recv()
            ws.send(json.dumps({"type": "begin", "ref": 1, "name": "b.txt"}))
            ws.send(wire.chunk(1, 0, b"ab", flush=True))
            while json.loads(ws.recv()).get("offset") != 2:
                pass
            gone = f"/files/{abandoned}"
            assert daemon.settles(lambda: nobody.status("HEAD", gone, TUS) == "410")
            ws.send(wire.chunk(1, 2, b"cd", last=True))
            while (told := json.loads(ws.recv()))["type"] == "ack":
                pass
            assert told["type"] == "done"
        slow.send(b"whole")
        assert slow.getresponse().status == 204
        slow.close()
        assert nobody.status("HEAD", gone, TUS) == "410"


def test_a_daemon_that_has_the_folder_and_does_not_answer_keeps_it(tmp_path: Path) -> None:
    """Nothing is changed beside it; looking is possible."""
    folder = tmp_path / "served"
    with Daemon(folder) as daemon:
        daemon.start()
        id = put(daemon, "a.txt", b"data")
        os.unlink(folder / ".uploadd/control")
        refused = run("uploads", "rm", id, str(folder))
        assert refused.returncode == os.EX_TEMPFAIL
        assert "is served by another uploadd" in refused.stderr
        daemon.signal(signal.SIGSTOP)
        assert id in run("uploads", "ls", str(folder)).stdout
        daemon.signal(signal.SIGCONT)


def test_dead_letters_are_looked_at_and_tried_again(tmp_path: Path) -> None:
    """By commands, with the daemon and without."""
    folder, told = tmp_path / "served", tmp_path / "told"
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\n[ -e {told} ] || {{ echo not yet >&2; exit 1; }}\ncat >>{told}\n")
    hook.chmod(0o755)
    sets = ("--set", f"hook.x.run={hook}", "--set", "hook.x.attempts=1")
    with Daemon(folder, *sets) as daemon:
        daemon.start()
        ids = [put(daemon, name, b"data") for name in ("a.txt", "b.txt")]

        def dead() -> list[str]:
            lines = run("hooks", "ls", "--dead", str(folder)).stdout.splitlines()
            assert all("not yet" in line for line in lines)
            return [line.split()[2] for line in lines]

        events = [f"{id}.post-finish" for id in ids]
        assert daemon.settles(lambda: dead() == events)
        told.touch()
        again = run("hooks", "retry", "--event", events[1], str(folder))
        assert again.stderr == "1 dead letter will be tried again\n"
        assert daemon.settles(lambda: dead() == events[:1])
        assert daemon.settles(lambda: ids[1] in told.read_text())
        assert daemon.terminate() == 0
        assert run("hooks", "retry", str(folder)).returncode == 0
        daemon.start()
        assert daemon.settles(lambda: ids[0] in told.read_text())


def test_hooks_are_asked_with_a_sample(tmp_path: Path) -> None:
    """What they answer is shown; who answers nothing that can be understood is named, with a code
    for scripts; and nothing is made.
    """
    good, bad = tmp_path / "good.sh", tmp_path / "bad.sh"
    no = '{"RejectUpload": true, "HTTPResponse": {"Body": "closed today"}}'
    good.write_text(f"#!/bin/sh\ncat >{tmp_path}/told\necho '{no}'\n")
    bad.write_text("#!/bin/sh\necho why not >&2\nexit 3\n")
    good.chmod(0o755)
    bad.chmod(0o755)
    folder = tmp_path / "served"
    sets = (f"good.run={good}", "good.events=pre-create", f"bad.run={bad}")
    args = [part for one in sets for part in ("--set", f"hook.{one}")]
    ran = run("hooks", "test", str(folder), *args)
    assert ran.returncode == 1
    first, second, third = ran.stdout.splitlines()
    assert first.startswith("✗ bad  post-finish  hook bad: ")
    assert first.endswith("ended with 3: why not")
    assert second.startswith("✓ good  pre-create  refuses: closed today  (")
    assert third == f"  {no}"
    assert json.loads((tmp_path / "told").read_text())["Type"] == "pre-create"
    assert run("hooks", "test", str(folder), *args, "--hook", "good").returncode == 0
    ran = run("hooks", "test", str(folder), *args, "--hook", "other")
    assert (ran.returncode, "there are: bad, good" in ran.stderr) == (os.EX_USAGE, True)
    assert not folder.exists()


def test_a_folder_without_a_ledger_is_told_and_left_alone(tmp_path: Path) -> None:
    """Nothing is made there by looking."""
    for command in (["uploads", "ls"], ["hooks", "ls"], ["verify"]):
        answer = run(*command, str(tmp_path))
        assert answer.returncode == os.EX_NOINPUT
        assert "there is no ledger" in answer.stderr
    assert not list(tmp_path.iterdir())
