"""``web/put.py`` as hosts run it that have nothing: alone, isolated, against the real daemon."""

from __future__ import annotations

import ast
import os
import pty
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket
from trio.testing import wait_all_tasks_blocked

from tests.e2e.daemon import Daemon
from tests.e2e.proxy import Proxy, proxied
from uploadd.client import exits

ROOT = Path(__file__).parents[2]
PUT = ROOT / "uploadd" / "web" / "put.py"
ALONE = [sys.executable, "-I", "-S"]
MIB = 1 << 20
SIZE = 100 * MIB
HELD = 50 * MIB
TWICE = 32 * MIB
STARTED: list[trio.Process] = []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, in which it runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("UPLOADD_URL", raising=False)
    monkeypatch.delenv("UPLOADD_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for process in STARTED:
        process.kill()
    STARTED.clear()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a while, of which no two places are the same."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that nobody hurts."""
    with Daemon(tmp_path_factory.mktemp("store")) as one:
        one.start()
        yield one


def run(
    *words: object, stdin: bytes = b"", env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Run it to its end; its exit code and what it said."""
    done = subprocess.run(
        [*ALONE, str(PUT), *map(str, words)],
        input=stdin,
        capture_output=True,
        timeout=100,
        env=os.environ | (env or {}),
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def start(*words: object, stdin: int | None = None) -> trio.Process:
    """It, running."""
    command = [*ALONE, str(PUT), *map(str, words)]
    process = await trio.lowlevel.open_process(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    STARTED.append(process)
    return process


async def finish(process: trio.Process) -> tuple[int, str, str]:
    """Its exit code and what it said."""
    said: dict[str, bytes] = {}

    async def read(name: str, stream: trio.abc.ReceiveStream | None) -> None:
        assert stream is not None
        said[name] = b"".join([part async for part in stream])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, "out", process.stdout)
        nursery.start_soon(read, "err", process.stderr)
    return await process.wait(), said["out"].decode(), said["err"].decode()


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Daemon, Proxy]]:
    """A daemon, and a proxy in front of it that counts."""
    with Daemon(home / "store") as daemon, trio.fail_after(120):
        daemon.start()
        async with proxied(daemon.address[1]) as proxy:
            yield daemon, proxy
            daemon.kill()
            await wait_all_tasks_blocked(0.1)  # the connections of the proxy end, held or not


def remembered(home: Path) -> list[Path]:
    """The state files."""
    return list((home / "state" / "uploadd" / "put.py").iterdir())


# --- what it is ---------------------------------------------------------------------------------


def test_it_needs_nothing_but_python_3_9() -> None:
    """Its syntax and its imports; an old interpreter runs it where there is one."""
    tree = ast.parse(PUT.read_text(), feature_version=(3, 9))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - {"__future__"} <= sys.stdlib_module_names


def oldest() -> str | None:
    """A Python 3.9, if one is installed."""
    found = [*Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"), shutil.which("python3.9")]
    return next((str(path) for path in found if path), None)


@pytest.mark.skipif(oldest() is None, reason="no Python 3.9 is installed")
def test_python_3_9_runs_it(daemon: Daemon, home: Path) -> None:
    """From standard input, as the page says."""
    (home / "old").write_bytes(b"old" * 100_000)
    done = subprocess.run(
        [str(oldest()), "-I", "-S", "-", "old", daemon.url],
        input=PUT.read_bytes(),
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (exits.OK, b"")
    assert (daemon.folder / "old").read_bytes() == b"old" * 100_000


# --- what it stores -----------------------------------------------------------------------------


def test_files_arrive_as_they_are(daemon: Daemon, home: Path, film: Path) -> None:
    """One URL for each in their order, also of the empty one; nothing else is said or kept."""
    (home / "empty").touch()
    (home / "small \udcff.txt").write_bytes(b"hello")
    code, out, err = run(film, "empty", "small \udcff.txt", daemon.url)
    assert (code, err) == (exits.OK, "")
    assert [url.rsplit("/", 1)[1][:5] for url in out.split()] == ["film.", "empty", "small"]
    assert all(url.startswith(f"{daemon.url}/f/") for url in out.split())
    assert (daemon.folder / "film.mp4").read_bytes() == film.read_bytes()
    assert (daemon.folder / "empty").read_bytes() == b""
    assert next(daemon.folder.glob("small *.txt")).read_bytes() == b"hello"
    assert remembered(home) == []


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 5 * MIB + 1])
def test_a_pipe_is_stored_under_its_name(daemon: Daemon, size: int) -> None:
    """However much comes out of it."""
    data = os.urandom(size)
    code, _, err = run("-", "--name", f"piped-{size}", daemon.url, stdin=data)
    assert (code, err) == (exits.OK, ""), err
    assert (daemon.folder / f"piped-{size}").read_bytes() == data


def test_a_terminal_sees_how_far_it_is(daemon: Daemon, film: Path) -> None:
    """In one line, which is gone at the end."""
    ours, theirs = pty.openpty()
    command = [*ALONE, str(PUT), str(film), daemon.url]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while more := os.read(ours, 4096):
                said += more
        except OSError:  # the end of a terminal
            pass
    os.close(ours)
    assert process.returncode == exits.OK
    assert re.search(rb"\r\x1b\[K[^\r]* of 100\.0 MiB", said)
    assert said.endswith(b"\r\x1b[K")
    assert b"\n" not in said


# --- what is killed -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_daemon_that_is_restarted_loses_no_upload(
    home: Path, film: Path, number: signal.Signals
) -> None:
    """Killed or asked to stop: it waits, and sends what was not durable and the rest."""
    async with running(home) as (daemon, proxy):
        proxy.hold_at = HELD
        put = await start(film, proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        acknowledged = proxy.offset
        if number == signal.SIGTERM:
            proxy.hold_at = None
        daemon.signal(number)
        daemon.wait()
        daemon.start()
        proxy.target = daemon.address[1]
        proxy.go_on()
        code, out, err = await finish(put)
        assert code == exits.OK, err
        assert proxy.up <= SIZE - acknowledged + MIB
        assert (home / "store" / "film.mp4").read_bytes() == film.read_bytes()
    assert re.fullmatch(rf"{proxy.url}/f/[^/]+/film\.mp4\n", out)
    assert "; trying again " in err  # now, or in so many seconds: that is chance


async def test_the_same_command_goes_on_after_it_was_killed(home: Path, film: Path) -> None:
    """Less than 32 MiB go twice, and nothing that was acknowledged."""
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        put = await start(film, proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        put.kill()
        await finish(put)
        assert len(remembered(home)) == 1
        acknowledged, before = proxy.offset, proxy.up
        proxy.go_on()
        code, _, err = await finish(await start(film, proxy.url))
        assert (code, err) == (exits.OK, "")
        assert proxy.up <= SIZE - acknowledged + MIB
        assert before + proxy.up < SIZE + TWICE
        assert (home / "store" / "film.mp4").read_bytes() == film.read_bytes()
    assert remembered(home) == []


async def test_ctrl_c_says_what_to_type_and_that_goes_on(home: Path, film: Path) -> None:
    """Without the files that are stored already."""
    (home / "first").write_bytes(b"first")
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        put = await start("first", film, proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        put.send_signal(signal.SIGINT)
        code, out, err = await finish(put)
        assert code == exits.SIGNALLED + signal.SIGINT
        assert out.count("\n") == 1
        assert err.startswith("interrupted: 1 of 2 stored")
        words = shlex.split(err.splitlines()[-1].removeprefix("→ "))
        assert words[:2] == ["python3", str(PUT)]
        acknowledged = proxy.offset
        proxy.go_on()
        code, _, err = await finish(await start(*words[2:]))
        assert (code, err) == (exits.OK, "")
        assert proxy.up <= SIZE - acknowledged + MIB
    assert remembered(home) == []


async def test_a_pipe_survives_the_daemon(home: Path, film: Path) -> None:
    """What is not durable is kept in memory, as nobody can send it through the pipe again."""
    async with running(home) as (daemon, proxy):
        proxy.hold_at = HELD
        with film.open("rb") as file:
            cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        assert cat.stdout is not None
        put = await start("-", "--name", "film", proxy.url, stdin=cat.stdout.fileno())
        cat.stdout.close()
        await proxy.reached(up=HELD, offset=HELD // 2)
        daemon.kill()
        daemon.start()
        proxy.target = daemon.address[1]
        proxy.go_on()
        code, _, err = await finish(put)
        assert code == exits.OK, err
        assert cat.wait() == 0
        assert (home / "store" / "film").read_bytes() == film.read_bytes()


async def test_two_for_one_file_do_not_fight(home: Path, film: Path) -> None:
    """The newer goes on, the older says why it does not."""
    async with running(home) as (_, proxy):
        proxy.hold_at = HELD
        older = await start(film, proxy.url)
        await proxy.reached(up=HELD, offset=HELD // 2)
        proxy.hold_at = None  # the older one is still held
        newer = await start(film, proxy.url)
        code, out, err = await finish(older)
        assert (code, out) == (exits.FAILED, "")
        assert "taken-over" in err or "somebody else" in err
        assert "let it" in err
        assert (await finish(newer))[0] == exits.OK


async def test_a_server_that_falls_silent_is_noticed(home: Path, film: Path) -> None:
    """Though no connection is closed; here after one second in place of sixty."""
    source = PUT.read_text().replace("10.0, 60.0, 5.0, 300.0", "10.0, 1.0, 5.0, 2.0")
    async with running(home) as (_, proxy):
        proxy.hold_at = MIB
        process = await trio.lowlevel.open_process(
            [*ALONE, "-c", source, str(film), proxy.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        STARTED.append(process)
        code, _, err = await finish(process)
    assert code == exits.UNREACHABLE
    assert "the server is silent; trying again" in err


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["FILE", "http://nothere.invalid"], exits.UNREACHABLE, "cannot reach nothere.invalid: "),
        (["FILE", "http://127.0.0.1:1"], exits.UNREACHABLE, "1: Connection refused\n→ check"),
        (["FILE", "URL/wrong"], exits.REJECTED, "/wrong: nothing lives at this path"),
        (["FILE", "ftp://host"], exits.USAGE, "http://host:8080"),
        (["FILE", "http://host:99999999"], exits.USAGE, "http://host:8080"),
        (["FILE", "127.0.0.1:8080"], exits.USAGE, "http://host:8080"),
        (["URL"], exits.USAGE, "http://host:8080"),
        (["nothere", "URL"], exits.LOCAL, "nothere: cannot read it: No such file"),
        (["/tmp", "URL"], exits.LOCAL, "/tmp: cannot read it: Is a directory"),
        (["nothere", "FILE", "URL"], exits.FAILED, "nothere: cannot read it: No such file"),
        (["FILE", "FILE", "--name", "x", "URL"], exits.USAGE, "--name is for one file"),
    ],
)
def test_what_is_wrong_is_said_with_the_code_for_it(
    daemon: Daemon, home: Path, words: list[str], code: int, told: str
) -> None:
    """The frozen exit codes of ``uploadd put``."""
    (home / "FILE").write_bytes(b"x")
    got, _, err = run(*(word.replace("URL", daemon.url) for word in words))
    assert got == code, err
    assert told in err
    assert "Traceback" not in err


def test_standard_input_that_is_the_program_is_no_file(daemon: Daemon) -> None:
    """It has been read to its end: an empty file would be stored."""
    done = subprocess.run(
        [*ALONE, "-", "-", daemon.url], input=PUT.read_bytes(), capture_output=True
    )
    assert done.returncode == exits.USAGE
    assert b"put.py" in done.stderr


def test_a_file_that_grows_meanwhile_is_not_stored(daemon: Daemon, home: Path) -> None:
    """No one state of it was read."""
    (home / "log").write_bytes(bytes(50 * MIB))
    command = [*ALONE, str(PUT), "log", daemon.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with (home / "log").open("ab") as file:
            while process.poll() is None:
                file.write(b"more")
                file.flush()
        assert process.stderr is not None
        assert "written to" in process.stderr.read()
    assert process.returncode == exits.LOCAL


async def refusing(status: str, head: str, body: str, stream: trio.SocketStream) -> None:
    """An HTTP server with one answer."""
    async with stream:
        await stream.receive_some()
        answer = f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
        await stream.send_all(answer.encode())


async def told_of(serve: object, *words: str) -> tuple[int, str]:
    """What it makes of a server of which *serve* is a connection."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        code, _, err = await finish(await start(*words, f"http://127.0.0.1:{port}"))
        nursery.cancel_scope.cancel()
    return code, err


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (
            ("401 x", "", '{"detail":"no such token"}'),
            exits.NOT_AUTHORISED,
            "no such token\n→ export",
        ),
        (
            ("401 x", "", '{"detail":"no","hint":"Authorization: Bearer <token>; ask"}'),
            exits.NOT_AUTHORISED,
            "no\n→ export UPLOADD_TOKEN=...; ask",
        ),
        (
            ("404 x", "", "<html>"),
            exits.REJECTED,
            "HTTP status 404, not uploadd.v1\n→ check the URL",
        ),
        (("301 x", "Location: https://there/\r\n", ""), exits.REJECTED, "https://there/"),
        (("426 x", "", '{"detail":"stripped","hint":"nginx: x"}'), exits.REJECTED, "→ nginx: x"),
    ],
)
async def test_a_refused_handshake_is_said_in_words(
    home: Path, answer: tuple[str, str, str], code: int, told: str
) -> None:
    """Those of the server where it has any."""
    (home / "file").write_bytes(b"x")
    got, err = await told_of(partial(refusing, *answer), "file")
    assert (got, told in err) == (code, True), err


async def test_a_token_that_is_refused_in_the_session(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 101, as browsers need it; the other files are not tried."""
    seen: list[str] = []

    async def refuse(request: trio_websocket.WebSocketRequest) -> None:
        seen.append(dict(request.headers)[b"authorization"].decode())
        socket = await request.accept(subprotocol="uploadd.v1")
        await socket.get_message()
        await socket.send_message(
            '{"type":"error","code":"token","message":"the token expired","final":true}'
        )
        await socket.aclose(4401, "token")

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            await refuse(request)

    monkeypatch.setenv("UPLOADD_TOKEN", "secret")
    for name in ("one", "two"):
        (home / name).write_bytes(b"x")
    code, err = await told_of(serve, "one", "two")
    assert code == exits.NOT_AUTHORISED
    assert err.startswith("one: the token expired\n→ export UPLOADD_TOKEN=")
    assert "secret" not in err
    assert seen == ["Bearer secret"]


# --- through TLS --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, which nobody believes by default."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -addext"
    subprocess.run(
        [
            openssl,
            *command.split(),
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            path,
            "-out",
            "c.pem",
        ],
        check=True,
        capture_output=True,
        cwd=path.parent,
    )
    path.write_text(path.read_text() + (path.parent / "c.pem").read_text())
    return path


async def test_it_speaks_tls(
    daemon: Daemon, home: Path, film: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In both directions at once; and believes only what it is told to believe."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    proxy = Proxy(daemon.address[1])
    (home / "by tls").write_bytes(film.read_bytes())
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, proxy.serve, 0, context, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        url = f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        code, _, err = await finish(await start("by tls", url))
        assert code == exits.REJECTED
        assert re.search("self.signed certificate\n→ check the URL; SSL_CERT_FILE", err)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        code, out, err = await finish(await start("by tls", url))
        assert (code, err) == (exits.OK, "")
        assert out.startswith(url)
        nursery.cancel_scope.cancel()
    assert (daemon.folder / "by tls").read_bytes() == film.read_bytes()
