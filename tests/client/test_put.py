"""``uploadd put`` against the real daemon: what it prints where, and how it exits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.client.daemon import daemon
from uploadd.client import command, errors, exits, put, session
from uploadd.client.asked import order_of
from uploadd.client.batch import Batch
from uploadd.client.order import Order
from uploadd.client.output import output
from uploadd.client.state import Known, States, directory

LARGE = 3 << 20


def parse(*words: str) -> argparse.Namespace:
    """What argparse makes of the command line."""
    parser = argparse.ArgumentParser(prog="uploadd")
    put.add_parser(parser.add_subparsers())
    return parser.parse_args(["put", *words])


def order(*words: str) -> Order:
    """What the command line asks for."""
    return order_of(parse(*words))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for every test, with nothing in the environment."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("UPLOADD_URL", raising=False)
    monkeypatch.delenv("UPLOADD_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def run(*words: str) -> int:
    """The exit code of a command line."""
    asked = order(*words)
    with command.screen(parse(*words)) as screen:
        return await Batch(asked, screen, output(screen, as_json=asked.json)).run()


def write(name: str, data: bytes = b"data") -> str:
    """A file here."""
    Path(name).write_bytes(data)
    return name


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "files", "url"),
    [
        (["a"], ["a"], "http://127.0.0.1:8080/"),
        (["a", "b", "https://host"], ["a", "b"], "https://host/"),
        (["-", "--name", "x", "http://host"], ["-"], "http://host/"),
        (["--jobs", "2", "a", "b", "--quiet", "c"], ["a", "b", "c"], "http://127.0.0.1:8080/"),
    ],
)
def test_the_last_word_is_the_server_if_it_is_a_url(
    words: Sequence[str], files: list[str], url: str
) -> None:
    """Options may stand anywhere."""
    assert (order(*words).files, order(*words).url) == (files, url)


def test_the_server_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the command line is stronger."""
    monkeypatch.setenv("UPLOADD_URL", "http://env:1")
    assert order("a").url == "http://env:1/"
    assert order("a", "http://arg:2").url == "http://arg:2/"


def test_a_token_never_stands_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """But in the environment or in a file, which is stronger."""
    assert order("a").token is None
    monkeypatch.setenv("UPLOADD_TOKEN", "from-env")
    assert order("a").token == "from-env"
    write("token", b"from-file\n")
    assert order("a", "--token-file", "token").token == "from-file"


@pytest.mark.parametrize(
    "words",
    [
        ["http://host"],
        ["a", "b", "--name", "x"],
        ["-", "-"],
        ["a", "--jobs", "0"],
        ["a", "ftp://host"],
        ["a", "--token-file", "nothing"],
        ["a", "--token-file", "/dev/null"],
    ],
)
def test_a_mistake_of_usage_exits_with_2(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what to type."""
    assert put.main(parse(*words)) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("uploadd put: ")
    assert err.splitlines()[-1].startswith("→ ")


def test_a_token_that_is_no_word_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be half of one, or another secret."""
    monkeypatch.setenv("UPLOADD_TOKEN", "s3cret\r\nHost: evil")
    assert put.main(parse("a")) == exits.USAGE
    assert "s3cret" not in capsys.readouterr().err


def test_an_unknown_option_is_one_too(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse finds it; it is said as all other errors are, with the same code."""
    with pytest.raises(SystemExit) as caught:
        parse("a", "--nothing")
    assert caught.value.code == exits.USAGE
    assert capsys.readouterr().err == (
        "uploadd put: there is no option --nothing\n→ uploadd put --help\n"
    )


# --- what comes out -----------------------------------------------------------------------------


async def test_standard_output_has_one_url_a_file_in_the_order_given(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever is stored first; all the rest is on standard error."""
    names = [
        write("large", bytes(LARGE)),
        *(write(f"small{n}") for n in range(5)),
        write("empty", b""),
    ]
    (home / "in").mkdir()
    async with daemon(home / "in") as url:
        assert await run(*names, url) == exits.OK
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.rpartition("/")[2] for line in lines] == names
    assert all(line.startswith(f"{url}/f/") for line in lines)
    for name in names:
        assert (home / "in" / name).read_bytes() == Path(name).read_bytes()
    assert err.splitlines()[-1].startswith("✓ 7 files, 3.0 MiB in ")
    assert err.splitlines()[-1].endswith("/s), 0 resumed, 0 failed")


async def test_a_file_that_fails_takes_no_other_with_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its line is missing, its error is told, and the exit code says that some failed."""
    (home / "in").mkdir()
    write("a")
    write("b")
    async with daemon(home / "in") as url:
        assert await run("a", "missing", "b", url) == exits.FAILED
    out, err = capsys.readouterr()
    assert [line.rpartition("/")[2] for line in out.splitlines()] == ["a", "b"]
    assert "missing: cannot read it: no such file or directory\n" in err
    assert err.splitlines()[-1].startswith("✗ 2 files, 8 B in ")
    assert err.splitlines()[-1].endswith(", 1 failed")


async def test_the_exit_code_says_why_all_failed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One reason, one code; several, and it is 1."""
    (home / "in").mkdir()
    write("large", bytes(1000))
    async with daemon(home / "in", limits__max_length=999) as url:
        assert await run("large", url) == exits.REJECTED
        assert await run("missing", "missing too", url) == exits.LOCAL
        assert await run("missing", "large", url) == exits.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert "large: the file is 1000 B, the limit here is 999 B\n" in err


async def test_a_server_that_is_not_there_is_said_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten files would not fare better one after the other."""
    monkeypatch.setattr(session, "FIRST_PATIENCE", 0.0)
    for n in range(10):
        write(f"f{n}")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    code = await run(*(f"f{n}" for n in range(10)), "--jobs", "1", f"http://127.0.0.1:{port}")
    assert code == exits.UNREACHABLE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count(f"cannot reach 127.0.0.1:{port}: connection refused") == 1
    assert "→ check the URL" in err
    assert err.endswith(", 10 failed\n")


async def test_what_comes_through_a_pipe_is_stored_under_its_name(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input, which is a descriptor like any other; its length is not known before."""
    (home / "in").mkdir()
    fd, other = os.pipe()
    standard_input = os.dup(0)
    os.dup2(fd, 0)
    os.close(fd)
    data = os.urandom(LARGE)
    try:
        async with daemon(home / "in") as url, trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, feed, other, data)
            assert await run("-", "--name", "dump.sql", url) == exits.OK
    finally:
        os.dup2(standard_input, 0)
        os.close(standard_input)
    assert (home / "in" / "dump.sql").read_bytes() == data
    assert capsys.readouterr().out.endswith("/dump.sql\n")
    assert not directory().exists()  # there is nothing to remember of a pipe


def feed(fd: int, data: bytes) -> None:
    """Write it all, and close."""
    with open(fd, "wb") as file:
        file.write(data)


async def test_names_are_what_people_see_and_no_more(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any bytes are a name here; the terminal obeys none of them."""
    (home / "in").mkdir()
    ugly = os.fsdecode(b"\xff\x1b[2J.txt")
    write(ugly)
    async with daemon(home / "in") as url:
        assert await run(ugly, f"{ugly}-missing", url) == exits.FAILED
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert len(out.splitlines()) == 1


# --- going on -----------------------------------------------------------------------------------


def known(path: str, url: str) -> Known:
    """As the command knows it."""
    status = os.stat(path)
    return Known(os.path.abspath(path), status.st_size, status.st_mtime_ns, f"{url}/")


async def half(path: str, url: str) -> str:
    """Begin to upload *path*, which is all zeros, and stop in the middle; its id."""
    begun: list[str] = []

    class Half:
        left = 2

        def __aiter__(self) -> Half:
            return self

        async def __anext__(self) -> bytes:
            self.left -= 1
            if self.left < 0:
                await trio.sleep_forever()
            return bytes(100_000)

    with trio.CancelScope() as scope:

        def stop(progress: Any) -> None:
            if progress.stored == 200_000:
                scope.cancel()

        async with session.open_client(url) as client:
            await client.upload(Half(), name=path, length=LARGE, begun=begun.append, progress=stop)
    States(directory()).save(known(path, url), begun[0])
    return begun[0]


async def test_the_same_command_again_resumes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same upload, which is then forgotten."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        id = await half("file", url)
        assert await run("file", url) == exits.OK
    out, err = capsys.readouterr()
    assert out == f"{url}/f/{id}/file\n"
    assert err.splitlines()[-1].endswith(", 1 resumed, 0 failed")
    assert list(directory().iterdir()) == []
    assert (home / "in" / "file").read_bytes() == bytes(LARGE)


async def test_no_resume_starts_anew(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is remembered."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        id = await half("file", url)
        assert await run("--no-resume", "file", url) == exits.OK
    out, err = capsys.readouterr()
    assert id not in out
    assert err.splitlines()[-1].endswith(", 0 resumed, 0 failed")


async def test_an_upload_that_the_server_forgot_starts_anew_and_says_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have been too long ago."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        States(directory()).save(known("file", url), "forgotten")
        assert await run("file", url) == exits.OK
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "file: there is no upload forgotten; starting anew\n" in err
    assert err.splitlines()[-1].endswith(", 0 resumed, 0 failed")
    assert list(directory().iterdir()) == []


async def test_a_file_given_twice_is_stored_twice(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second does not take the upload of the first for one to go on with."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        assert await run("file", "file", url) == exits.OK
    assert len(set(capsys.readouterr().out.splitlines())) == 2


async def test_a_checksum_is_compared_by_the_server(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what arrived; that a wrong one is found is tested where the session is."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        assert await run("--checksum", "file", url) == exits.OK
    assert (home / "in" / "file").read_bytes() == bytes(LARGE)


# --- small things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ServerUnavailable(""), exits.UNREACHABLE),
        (errors.NotAuthorised(""), exits.NOT_AUTHORISED),
        (errors.Rejected("too-large", ""), exits.REJECTED),
        (errors.UploadGone("", "expired"), exits.REJECTED),
        (errors.LocalReadError(""), exits.LOCAL),
        (errors.LocalWriteError(""), exits.LOCAL),
        (errors.LocalFileChanged(""), exits.LOCAL),
        (errors.DigestMismatch(""), exits.MISMATCH),
        (errors.TakenOver(""), exits.FAILED),
    ],
)
def test_every_reason_has_its_exit_code(error: errors.UploadFailed, code: int) -> None:
    """As the manual lists them."""
    assert exits.of(error) == code
