"""``uploadd get`` against servers that answer well, badly, and not to the end."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.client.daemon import daemon
from uploadd.client import command, exits, get, put, session
from uploadd.client.address import parse
from uploadd.client.screen import Screen

DATA = os.urandom(1 << 20)


class Web:
    """A server of one file.  It obeys Range and If-Range, and cuts what it is told to cut.

    *cuts* holds for each request after how many bytes of the body the connection breaks.
    """

    def __init__(self, data: bytes = DATA, etag: str | None = '"v1"') -> None:
        self.data, self.etag = data, etag
        self.disposition: str | None = None
        self.cuts: list[int] = []
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[dict[str, str]], bytes] = self.ordinary

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection with one request."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(10_000)
        lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        self.asked.append({"": lines[0]} | {name.lower(): fields[name] for name in fields})
        answer = self.answer(self.asked[-1])
        if self.cuts:
            answer = answer[: answer.index(b"\r\n\r\n") + 4 + self.cuts.pop(0)]
        try:
            await stream.send_all(answer)
            await stream.send_eof()
            await stream.receive_some(1)
        except trio.BrokenResourceError:
            pass

    def ordinary(self, fields: dict[str, str]) -> bytes:
        """What RFC 9110 wants."""
        start = 0
        said = re.fullmatch(r"bytes=(\d+)-", fields.get("range", ""))
        if said and fields.get("if-range") == self.etag:
            start = int(said[1])
        total = len(self.data)
        more = f"ETag: {self.etag}\r\n" if self.etag else ""
        if self.disposition:
            more += f"Content-Disposition: {self.disposition}\r\n"
        if start >= total > 0:
            head = f"416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n"
            return f"HTTP/1.1 {head}{more}\r\n".encode()
        if start:
            more += f"Content-Range: bytes {start}-{total - 1}/{total}\r\n"
        status = "206 Partial" if start else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {total - start}\r\n{more}\r\n"
        return head.encode() + self.data[start:]


@asynccontextmanager
async def serving(web: Web) -> AsyncIterator[str]:
    """The URL of *web*."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, web.serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where we are, with nobody's token; and nobody waits long between attempts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UPLOADD_TOKEN", raising=False)
    monkeypatch.setattr("uploadd.client.pace.BASE_SECONDS", 0.001)
    return tmp_path


def arguments(*words: str) -> argparse.Namespace:
    """What argparse makes of the command line."""
    parser = argparse.ArgumentParser()
    get.add_parser(parser.add_subparsers())
    return parser.parse_args(["get", *words])


async def run(*words: str) -> int:
    """The exit code of a command line."""
    args = arguments(*words)
    with Screen(bars=False, quiet=False) as screen:
        where, token = get.file_at(args.url), command.token(args)
        return await get.Download(where, token, args, screen).run()


def names(folder: Path) -> list[str]:
    """What is here."""
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_comes_under_the_name_in_its_url(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is all that standard output says."""
    async with serving(Web()) as url:
        assert await run(f"{url}/f/id/my%20file.bin?x=y") == exits.OK
    out, err = capsys.readouterr()
    assert out == "my file.bin\n"
    assert err.startswith("✓ my file.bin, 1.0 MiB in ")
    assert (folder / "my file.bin").read_bytes() == DATA
    assert names(folder) == ["my file.bin"]


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ('attachment; filename="plain.txt"', "plain.txt"),
        ("inline; filename=token.txt", "token.txt"),
        ("attachment; filename=\"a.txt\"; filename*=UTF-8''%c3%a4.txt", "ä.txt"),
        (r'attachment; filename="a\"b.txt"', 'a"b.txt'),
        ('attachment; filename="../../etc/passwd"', "_.._etc_passwd"),
        ("attachment; filename*=UTF-8''%2Fetc%2Fpasswd", "_etc_passwd"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ("attachment", "name"),
        ('attachment; filename=""', "name"),
    ],
)
async def test_the_server_may_give_it_another_name(
    folder: Path, disposition: str, expected: str
) -> None:
    """Which is one name in this folder, whatever the server says."""
    web = Web()
    web.disposition = disposition
    async with serving(web) as url:
        assert await run(f"{url}/f/id/name") == exits.OK
    assert names(folder) == [expected]


async def test_the_output_is_what_we_ask_for(folder: Path) -> None:
    """A file, or a folder to put it into."""
    (folder / "sub").mkdir()
    web = Web()
    web.disposition = 'attachment; filename="told"'
    async with serving(web) as url:
        assert await run(f"{url}/f/id/x", "-o", "mine") == exits.OK
        assert await run(f"{url}/f/id/x", "-o", "sub") == exits.OK
    assert names(folder) == ["mine", "sub"]
    assert names(folder / "sub") == ["told"]


async def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless we insist; nothing is asked for when it is clear before."""
    (folder / "file").write_bytes(b"old")
    web = Web()
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == exits.LOCAL
        assert web.asked == []
        web.disposition = 'attachment; filename="file"'
        assert await run(f"{url}/f/id/other") == exits.LOCAL
        assert (folder / "file").read_bytes() == b"old"
        assert "file is there already\n→ --force overwrites it" in capsys.readouterr().err
        assert await run(f"{url}/f/id/file", "--force") == exits.OK
    assert (folder / "file").read_bytes() == DATA


async def test_a_lost_connection_goes_on_where_it_was(folder: Path) -> None:
    """By itself, as often as it takes, with what the first answer was a part of."""
    web = Web()
    web.cuts = [400_000, 0, 300_000]
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == exits.OK
    assert [fields.get("range") for fields in web.asked] == [
        None,
        "bytes=400000-",
        "bytes=400000-",
        "bytes=700000-",
    ]
    assert {fields.get("if-range") for fields in web.asked[1:]} == {'"v1"'}
    assert (folder / "file").read_bytes() == DATA
    assert names(folder) == ["file"]


async def half(url: str, web: Web) -> None:
    """Leave a part behind, as kill -9 would."""
    web.cuts = [500_000]
    with trio.CancelScope() as scope:
        answer = web.answer

        def second(fields: dict[str, str]) -> bytes:
            scope.cancel()
            return b""

        def first(fields: dict[str, str]) -> bytes:
            web.answer = second
            return answer(fields)

        web.answer = first
        await run(url)
    assert scope.cancelled_caught
    web.answer = answer
    web.asked.clear()


async def test_the_same_command_again_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the part that lies there."""
    web = Web()
    async with serving(web) as url:
        await half(f"{url}/f/id/file", web)
        assert names(folder) == ["file.part", "file.part.etag"]
        assert await run(f"{url}/f/id/file") == exits.OK
    assert [fields.get("range") for fields in web.asked] == ["bytes=500000-"]
    assert (folder / "file").read_bytes() == DATA
    assert "resumed at 488.3 KiB" in capsys.readouterr().err


async def test_a_part_is_found_by_the_name_that_the_server_gives(folder: Path) -> None:
    """The URL may say nothing."""
    web = Web()
    web.disposition = 'attachment; filename="told"'
    async with serving(web) as url:
        await half(f"{url}/f/id", web)
        assert names(folder) == ["told.part", "told.part.etag"]
        assert await run(f"{url}/f/id") == exits.OK
    assert [fields.get("range") for fields in web.asked] == [None, "bytes=500000-"]
    assert (folder / "told").read_bytes() == DATA
    assert names(folder) == ["told"]


async def test_a_part_of_something_else_is_thrown_away(folder: Path) -> None:
    """The file behind the URL is another one now; nothing of the old one is in the new."""
    web = Web()
    async with serving(web) as url:
        await half(f"{url}/f/id/file", web)
        web.data, web.etag = DATA[::-1], '"v2"'
        assert await run(f"{url}/f/id/file") == exits.OK
    assert (folder / "file").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
async def test_without_a_strong_validator_nothing_is_resumed(
    folder: Path, etag: str | None
) -> None:
    """Nobody could say that it is still the same."""
    web = Web(etag=etag)
    web.cuts = [400_000]
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == exits.OK
    assert [fields.get("range") for fields in web.asked] == [None, None]
    assert (folder / "file").read_bytes() == DATA


async def test_a_part_that_is_whole_needs_only_its_name(folder: Path) -> None:
    """Killed between the last byte and the rename: 416 says how long it should be."""
    web = Web()
    async with serving(web) as url:
        await half(f"{url}/f/id/file", web)
        (folder / "file.part").write_bytes(DATA)
        assert await run(f"{url}/f/id/file") == exits.OK
        assert len(web.asked) == 1
        assert (folder / "file").read_bytes() == DATA
        os.unlink("file")
        await half(f"{url}/f/id/file", web)
        (folder / "file.part").write_bytes(DATA + b"more")
        assert await run(f"{url}/f/id/file") == exits.OK
    assert (folder / "file").read_bytes() == DATA


async def test_an_empty_file_is_a_file(folder: Path) -> None:
    """Of no bytes."""
    async with serving(Web(b"")) as url:
        assert await run(f"{url}/f/id/file") == exits.OK
    assert (folder / "file").read_bytes() == b""


async def test_a_body_in_chunks_ends_where_it_says(folder: Path) -> None:
    """Its length is not known before."""
    web = Web()
    web.answer = lambda fields: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == exits.OK
    assert (folder / "file").read_bytes() == b"abcde"


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (404, b'{"code":"not-found","detail":"no such upload"}', exits.REJECTED, "no such upload"),
        (410, b'{"code":"gone","detail":"it expired"}', exits.REJECTED, "it expired"),
        (401, b'{"detail":"no token"}', exits.NOT_AUTHORISED, "UPLOADD_TOKEN"),
        (302, b"", exits.REJECTED, "HTTP status 302"),
        (503, b"", exits.UNREACHABLE, "HTTP status 503"),
    ],
)
async def test_an_answer_without_the_file_says_why(
    status: int,
    body: bytes,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the words of the server, with an exit code for scripts; what passes is tried again."""
    monkeypatch.setattr(get, "PATIENCE", 0.05)
    web = Web()
    web.answer = lambda fields: (
        b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    )
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == code
    assert said in capsys.readouterr().err
    assert (len(web.asked) > 1) == (code == exits.UNREACHABLE)
    assert names(folder) == []


async def test_a_token_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for uploads."""
    monkeypatch.setenv("UPLOADD_TOKEN", "s3cret")
    web = Web()
    async with serving(web) as url:
        assert await run(f"{url}/f/id/file") == exits.OK
    assert web.asked[0]["authorization"] == "Bearer s3cret"


async def test_a_disk_that_cannot_be_written_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the system says."""
    async with serving(Web()) as url:
        assert await run(f"{url}/f/id/file", "-o", "nowhere/file") == exits.LOCAL
    assert "cannot write nowhere/file.part: no such file or directory" in capsys.readouterr().err


async def test_what_was_put_is_what_is_got(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the daemon between; half a file too."""
    (folder / "in").mkdir()
    (folder / "file name").write_bytes(DATA)
    async with daemon(folder / "in") as url:
        async with session.open_client(url) as client:
            stored = await client.upload(folder / "file name", name="file name")
        assert await run(stored.url, "-o", "back") == exits.OK
        assert (folder / "back").read_bytes() == DATA
        os.rename("back", "back.part")
        os.truncate("back.part", 1000)
        (folder / "back.part.etag").write_text(f'"{stored.id}"')
        assert await run(stored.url, "-o", "back") == exits.OK
        assert (folder / "back").read_bytes() == DATA
    assert "resumed at 1000 B" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["/", "", "/f/", "/files/x", "/x", "/f/id/name/more", "/?/f/id"])
def test_what_is_not_the_url_of_a_file_is_refused(
    path: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page of the server would be stored as a file; nothing is asked for."""
    assert get.main(arguments(f"http://127.0.0.1:1{path}")) == exits.USAGE
    err = capsys.readouterr().err
    assert "is not the URL of a stored file, which has /f/<id> in it\n→ " in err
    assert names(folder) == []


@pytest.mark.parametrize("path", ["/f/id", "/f/id/", "/f/id/na%20me?x=y", "/up/here/f/id/name"])
def test_a_file_may_lie_behind_a_proxy(path: str) -> None:
    """The id is enough, and the server need not live at the root."""
    assert get.file_at(f"http://host{path}").path == path


def test_a_mistake_of_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """And says what to type."""
    assert get.main(arguments("nonsense")) == exits.USAGE
    assert "→ uploadd get URL [-o FILE]" in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """So that it can be pasted."""
    with Screen(bars=False, quiet=True) as screen:
        args = arguments("http://host/f/id/name", "--force", "-o", "my file")
        get.Download(parse(args.url), None, args, screen).interrupted(130)
    assert capsys.readouterr().err.splitlines() == [
        "interrupted",
        "→ uploadd get --force -o 'my file' http://host/f/id/name",
    ]


def test_both_commands_have_the_same_words() -> None:
    """For what they have in common."""
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    put.add_parser(subparsers)
    get.add_parser(subparsers)
    for words in (["put", "a"], ["get", "http://h"]):
        args = parser.parse_args([*words, "-q", "--no-progress", "--token-file", "t"])
        assert (args.quiet, args.progress, args.token_file) == (True, "none", "t")
