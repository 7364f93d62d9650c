"""uploadd.js as others embed it: a library on an empty page, against the real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

from tests.browser.conftest import Opener, Server
from tests.browser.road import Road

MIB = 1 << 20
EMPTY = "/-/info"
PRELUDE = """async () => {
    Object.assign(window, await import('/-/uploadd.js'));
    window.seen = [];
    window.uploader = (options) => window.up = new Uploader(undefined, options);
    window.watch = (upload) => {
        window.upload = upload;
        upload.on('progress', ({detail}) => seen.push(told(detail)));
        return upload;
    };
    window.told = ({reason, ...rest}) => ({...rest, code: reason?.code, hint: reason?.hint});
    window.send = (options = {}, file = input.files[0]) =>
        { watch((window.up ?? uploader()).upload(file, options)) };
    window.state = () => JSON.stringify(told(upload.progress));
    window.late = (reject) => setTimeout(() => reject(new Error(state())), 30000);
    window.outcome = () => Promise.race([new Promise((_, reject) => late(reject)),
        upload.then((stored) => stored, ({code, hint, message}) => ({code, hint, message}))]);
    window.bytes = (size) => Uint8Array.from({length: size}, (_, at) => at * 7 + (at >> 8));
    window.made = (name, size) => new File([bytes(size)], name, {lastModified: 1});
    document.body.innerHTML = '<input type=file multiple id=input>';
    window.input = document.querySelector('#input');
}"""
NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"

Enter = Callable[..., Page]


@pytest.fixture
def enter(open_page: Opener) -> Enter:
    """Opens an empty page of *url*'s origin, with the library in it."""

    def enter(url: str, *files: Path, **options: Any) -> Page:
        page = open_page(url + EMPTY, **options)
        prepare(page, *files)
        return page

    return enter


def prepare(page: Page, *files: Path) -> None:
    """Load the library, and choose *files*."""
    page.evaluate(PRELUDE)
    if files:
        page.set_input_files("#input", files)


def big(folder: Path, size: int, name: str = "big.bin") -> Path:
    """A file of random bytes."""
    path = folder / name
    path.write_bytes(os.urandom(MIB) * (size // MIB))
    return path


def until(page: Page, condition: str) -> None:
    """Wait until *condition* holds of ``upload`` and its progress ``p``."""
    page.wait_for_function(f"() => {{ const p = told(upload.progress); return {condition} }}")


def stored_half(page: Page, at: int) -> None:
    """Wait until *at* bytes are stored; it must not be over yet."""
    until(page, f"p.stored >= {at}")
    assert page.evaluate("upload.progress.phase") != "done"


def phases(page: Page) -> list[str]:
    """The phases that were told, in order, each once in a row."""
    told = [one["phase"] for one in page.evaluate("seen")]
    return [one for one, before in zip(told, [None, *told], strict=False) if one != before]


# --- files --------------------------------------------------------------------------------------


def test_files_of_all_sizes_arrive_as_they_were(daemon: Server, enter: Enter) -> None:
    """Also none at all, one byte, and what fits or does not fit into a chunk."""
    page = enter(daemon.url)
    sizes = [0, 1, 65535, 65536, 65537, MIB, 5 * MIB + 3]
    page.evaluate(
        """(sizes) => { uploader();
        return Promise.all(sizes.map((size) => up.upload(made(`${size}`, size)))) }""",
        sizes,
    )
    period = bytes((at * 7 + (at >> 8)) & 255 for at in range(1 << 16))
    for size in sizes:
        assert (daemon.dir / str(size)).read_bytes() == (period * (size // len(period) + 1))[:size]


def test_the_end_of_an_upload_is_told_in_every_way(daemon: Server, enter: Enter) -> None:
    """Awaited, iterated and listened to; the last progress is never swallowed."""
    page = enter(daemon.url)
    found = page.evaluate(
        """async () => {
        send({}, made('a.txt', 300000));
        let event; upload.on('done', ({detail}) => event = detail);
        const iterated = []; for await (const p of upload) iterated.push(p);
        return {stored: await upload, event, last: told(iterated.at(-1)),
            totals: told(up.progress), seen}
    }"""
    )
    assert found["stored"] == found["event"]
    assert found["stored"]["url"].startswith(daemon.url + "/f/")
    assert found["last"]["phase"] == found["seen"][-1]["phase"] == "done"
    assert found["last"]["stored"] == found["last"]["sent"] == 300_000
    assert found["totals"]["finished"] == found["totals"]["files"] == 1


def test_twenty_files_go_in_one_session(daemon: Server, enter: Enter, tmp_path: Path) -> None:
    """Three at a time, each as it was, and the totals add up."""
    files = [big(tmp_path, MIB, f"{number}.bin") for number in range(20)]
    page = enter(daemon.url, *files)
    urls: list[str] = []
    page.on("websocket", lambda socket: urls.append(socket.url))
    totals = page.evaluate(
        """async () => {
        uploader(); const all = [...input.files].map((file) => up.upload(file)); window.most = 0;
        up.on('progress', () => most = Math.max(most,
            all.filter(({progress: p}) => p.phase === 'uploading' && p.sent < p.total).length));
        await Promise.all(all); return {...told(up.progress), most}
    }"""
    )
    assert len(urls) == 1
    assert 1 <= totals["most"] <= 3
    assert (totals["finished"], totals["stored"]) == (20, 20 * MIB)
    for file in files:
        assert (daemon.dir / file.name).read_bytes() == file.read_bytes()


def test_small_files_do_not_wait_for_each_other(daemon: Server, enter: Enter) -> None:
    """Many are on their way at once, beside a large one; each is whole."""
    page = enter(daemon.url)
    most = page.evaluate(
        """async () => {
        uploader({jobs: 1}); let most = 0;
        const count = () => up.uploads.filter(({progress: p}) =>
            p.phase === 'uploading' || p.phase === 'storing').length;
        up.on('progress', () => most = Math.max(most, count()));
        const names = Array.from({length: 120}, (_, at) => `${at}.txt`);
        await Promise.all([up.upload(made('big.bin', 9e6)),
            ...names.map((name) => up.upload(new File([name], name, {lastModified: 1})))]);
        return most }"""
    )
    assert 8 < most <= 64
    assert all((daemon.dir / f"{at}.txt").read_text() == f"{at}.txt" for at in range(120))
    assert daemon.sizes()["big.bin"] == 9_000_000
    assert page.evaluate("new Uploader().restore()") == []


# --- restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [48, pytest.param(200, marks=pytest.mark.long)])
def test_so_many_mib_survive_kill_9_half_way(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path, size: int
) -> None:
    """It goes on by itself, from where the daemon had it."""
    road.limit = size // 2 * MIB
    file = big(tmp_path, size * MIB)
    page = enter(road.url, file)
    page.evaluate("send()")
    stored_half(page, size * 2 // 5 * MIB)
    daemon.kill()
    until(page, "p.phase === 'retrying'")
    road.limit = None
    daemon.start()
    assert page.evaluate("outcome()")["length"] == size * MIB
    assert (daemon.dir / file.name).read_bytes() == file.read_bytes()
    stored = [one["stored"] for one in page.evaluate("seen")]
    assert stored == sorted(stored)


def test_a_restart_is_a_pause(daemon: Server, road: Road, enter: Enter, tmp_path: Path) -> None:
    """The daemon says that it restarts, and so does the upload."""
    road.limit = 4 * MIB
    file = big(tmp_path, 24 * MIB)
    page = enter(road.url, file)
    with page.expect_websocket() as opened:
        page.evaluate("send()")
    stored_half(page, 2 * MIB)
    with opened.value.expect_event("framereceived", lambda said: '"drain"' in str(said)):
        daemon.signal(signal.SIGTERM)
    road.limit = None
    daemon.wait()
    until(page, "p.phase === 'retrying'")
    daemon.start()
    assert page.evaluate("outcome()")["length"] == 24 * MIB
    assert "restarting" in [one.get("code") for one in page.evaluate("seen")]
    assert (daemon.dir / file.name).read_bytes() == file.read_bytes()


# --- reload --------------------------------------------------------------------------------------


def test_after_a_reload_it_goes_on_with_the_same_file(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path
) -> None:
    """What is stored is not sent again; another file is refused."""
    road.each = 12 * MIB
    file, other = big(tmp_path, 24 * MIB), big(tmp_path, MIB, "other.bin")
    page = enter(road.url, file)
    page.evaluate("send()")
    stored_half(page, 8 * MIB)
    seen = page.evaluate("upload.progress.stored")
    page.reload()
    road.each = None  # nothing is sent without the file
    prepare(page, file, other)
    found = page.evaluate(
        """async () => {
        const all = await uploader().restore(); watch(all[0]);
        return [all.length, told(upload.progress)]
    }"""
    )
    assert found[0] == 1
    assert found[1]["phase"] == "needs-file"
    assert found[1]["stored"] >= seen  # written down when the page went
    refused = page.evaluate("upload.provide(input.files[1]).catch(({code}) => code)")
    assert refused == "other-file"
    page.evaluate("upload.provide(input.files[0])")
    assert page.evaluate("outcome()")["length"] == 24 * MIB
    assert (daemon.dir / file.name).read_bytes() == file.read_bytes()
    assert 24 * MIB < road.up < 32 * MIB
    assert page.evaluate("new Uploader().restore()") == []


def test_a_file_chosen_again_goes_on_without_being_asked_for(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path
) -> None:
    """Whether it was restored before or not."""
    road.each = 8 * MIB
    file = big(tmp_path, 32 * MIB)
    page = enter(road.url, file)
    page.evaluate("send()")
    stored_half(page, 4 * MIB)
    page.reload()
    prepare(page, file)
    page.evaluate("send()")
    stored_half(page, 10 * MIB)
    page.reload()
    road.each = None
    prepare(page, file)
    same = page.evaluate(
        "async () => { [window.one] = await uploader().restore(); send(); return one === upload }"
    )
    assert same
    assert page.evaluate("outcome()")["length"] == 32 * MIB
    assert daemon.sizes() == {"big.bin": 32 * MIB}
    assert road.up < 48 * MIB


def test_what_is_restored_comes_in_the_order_in_which_it_was_added(
    road: Road, enter: Enter
) -> None:
    """Whatever their random keys are."""
    road.rate = MIB
    page = enter(road.url)
    names = [f"{number}.bin" for number in (4, 1, 5, 2, 3)]
    page.evaluate(
        """async (names) => {
        uploader({jobs: 5}); for (const name of names) watch(up.upload(made(name, 2e6))) }""",
        names,
    )
    until(page, "p.stored > 0")
    page.reload()
    prepare(page)
    restored = "uploader().restore().then((all) => all.map(({name, reopens}) => [name, reopens]))"
    assert page.evaluate(restored) == [[name, False] for name in names]


def test_with_a_handle_nobody_is_asked(daemon: Server, road: Road, enter: Enter) -> None:
    """The browser remembers where the file is, and may read it."""
    road.each = 12 * MIB
    page = enter(road.url)
    page.evaluate(
        """async () => {
        const root = await navigator.storage.getDirectory();
        const handle = await root.getFileHandle('h.bin', {create: true});
        const file = await handle.createWritable();
        await file.write(new Uint8Array(30 << 20));
        await file.close();
        send({handle}, await handle.getFile());
    }"""
    )
    stored_half(page, 8 * MIB)
    page.reload()
    road.each = None
    prepare(page)
    page.evaluate("async () => { watch((await uploader().restore())[0]) }")
    assert page.evaluate("upload.reopens")
    assert page.evaluate("outcome()")["length"] == 30 * MIB
    assert daemon.sizes() == {"h.bin": 30 * MIB}


# --- tabs ----------------------------------------------------------------------------------------


def test_what_another_tab_carries_is_not_restored(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path
) -> None:
    """Only when that tab is gone."""
    road.each = 4 * MIB
    file = big(tmp_path, 8 * MIB)
    first = enter(road.url, file)
    first.evaluate("send()")
    stored_half(first, MIB // 2)
    second = enter(daemon.url, file, context=first.context)
    second.goto(road.url + EMPTY)
    prepare(second, file)
    assert second.evaluate("uploader().restore()") == []
    first.close()
    second.evaluate("async () => { let one; while (!one) [one] = await up.restore(); watch(one) }")
    road.each = None
    second.evaluate("upload.provide(input.files[0])")
    assert second.evaluate("outcome()")["length"] == 8 * MIB


def test_the_newer_tab_has_it_and_the_older_does_not_fight(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path
) -> None:
    """Until its user says so: then it takes it back, once."""
    road.rate = 6 * MIB
    file = big(tmp_path, 64 * MIB)
    first = enter(road.url, file)
    first.evaluate(NO_LOCKS)
    first.evaluate("send()")
    stored_half(first, 2 * MIB)
    second = enter(road.url, file, context=first.context)
    second.evaluate(NO_LOCKS)
    second.evaluate(
        """async () => {
        watch((await uploader().restore())[0]); await upload.provide(input.files[0]) }"""
    )
    until(first, "p.code === 'taken-over' && p.phase === 'failed'")
    stored_half(second, 6 * MIB)
    assert first.evaluate("upload.progress.phase") == "failed"
    first.evaluate("upload.resume()")
    until(second, "p.code === 'taken-over'")
    second.evaluate("up.cancel()")  # of all that are its own
    road.rate = None
    assert first.evaluate("outcome()")["length"] == 64 * MIB
    assert second.evaluate("upload.progress.phase") == "failed"
    assert (daemon.dir / file.name).read_bytes() == file.read_bytes()


# --- networks ------------------------------------------------------------------------------------


def test_a_network_that_dies_in_silence_is_noticed_when_the_browser_knows(
    road: Road, enter: Enter, tmp_path: Path
) -> None:
    """The connection ends nowhere, and no answer comes: it is offline, then goes on."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 16 * MIB))
    page.clock.install()
    page.evaluate("send()")
    stored_half(page, 2 * MIB)
    road.silent = True
    page.context.set_offline(True)
    page.clock.run_for(12_000)
    until(page, "p.phase === 'offline' && up.connection.state === 'offline'")
    road.limit, road.silent = None, False
    page.clock.resume()
    page.context.set_offline(False)
    assert page.evaluate("outcome()")["length"] == 16 * MIB
    assert "offline" in phases(page)


def test_a_connection_that_died_is_noticed(road: Road, enter: Enter, tmp_path: Path) -> None:
    """Nobody says so: no answer comes where one is owed."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 16 * MIB))
    page.clock.install()
    page.evaluate("send()")
    stored_half(page, 2 * MIB)
    road.silent = True
    page.clock.run_for(20_000)
    assert page.evaluate("upload.progress.phase") == "uploading"
    page.clock.run_for(40_000)
    assert page.evaluate("[upload.progress.phase, upload.progress.reason.code]") == [
        "retrying",
        "connection-lost",
    ]
    road.limit, road.silent = None, False
    page.clock.resume()
    assert page.evaluate("outcome()")["length"] == 16 * MIB


def test_a_narrow_road_gets_small_chunks(road: Road, enter: Enter, tmp_path: Path) -> None:
    """What takes a quarter of a second, about; speed and time left are told as they are."""
    road.rate = MIB
    page = enter(road.url, big(tmp_path, 2 * MIB))
    sizes: list[int] = []
    page.on(
        "websocket",
        lambda ws: ws.on(
            "framesent", lambda sent: sizes.append(len(sent)) if isinstance(sent, bytes) else None
        ),
    )
    page.evaluate("send()")
    assert page.evaluate("outcome()")["length"] == 2 * MIB
    assert max(sizes) <= 700 * 1024
    told = [one for one in page.evaluate("seen") if one["stored"] > MIB and one["eta"]]
    assert told
    assert all(0.4 * MIB < one["speed"] < 2 * MIB for one in told)
    assert all(one["sent"] >= one["stored"] for one in told)


def test_it_is_not_called_storing_before_the_server_has_all(road: Road, enter: Enter) -> None:
    """What waits in buffers on the way is still being uploaded."""
    road.rate = MIB
    page = enter(road.url)
    page.evaluate("send({}, made('a.bin', 1 << 20))")
    until(page, "p.sent === p.total")
    assert page.evaluate("upload.progress.phase") == "uploading"
    road.rate = None
    assert page.evaluate("outcome()")["length"] == MIB


def test_a_server_that_takes_nothing_fills_no_memory(
    road: Road, enter: Enter, tmp_path: Path
) -> None:
    """Two slices are read, and little waits in the browser's buffer."""
    page = enter(road.url, big(tmp_path, 64 * MIB))
    road.limit = 32 * MIB
    page.evaluate(
        """() => {
        window.read = window.handed = window.most = 0;
        const {arrayBuffer} = Blob.prototype, {send: pass} = WebSocket.prototype;
        Blob.prototype.arrayBuffer = function () {
            read += this.size; most = Math.max(most, read - handed);
            return arrayBuffer.call(this) };
        WebSocket.prototype.send = function (what) {
            window.socket = this; if (typeof what !== 'string') handed += what.byteLength - 16;
            pass.call(this, what) };
        send();
    }"""
    )
    stored_half(page, 24 * MIB)
    road.silent = True
    page.wait_for_function(
        "() => { const was = window.was; window.was = read; return was === read }", polling=700
    )
    assert page.evaluate("socket.bufferedAmount") <= 5 * MIB
    assert page.evaluate("read - handed") <= 16 * MIB
    road.limit, road.silent = None, False
    assert page.evaluate("outcome()")["length"] == 64 * MIB
    assert page.evaluate("most") <= 24 * MIB  # two, and one that was just used up


def test_where_upgrade_is_stripped_it_says_so(road: Road, enter: Enter) -> None:
    """And what the operator has to do; when it is mended, it goes on."""
    road.strips = True
    page = enter(road.url)
    page.evaluate("uploader({fallback: null}); send({}, made('a.txt', 10))")
    until(page, "p.code === 'upgrade-stripped' && p.phase === 'retrying'")
    assert "proxy_set_header Upgrade" in page.evaluate("upload.progress.reason.hint")
    road.strips = False
    page.evaluate("upload.resume()")
    assert page.evaluate("outcome()")["length"] == 10


def test_where_upgrade_is_stripped_plain_http_carries_it(road: Road, enter: Enter) -> None:
    """Without a word from whoever uses it; and what was begun there goes on after a reload."""
    road.strips = True
    page = enter(road.url)
    same = page.evaluate(
        """async () => {
        const file = made('a.bin', 40 * 2 ** 20);
        send({path: 'b/a.bin'}, file);
        const done = await outcome();
        const bytes = async (one) => new Uint8Array(await one.arrayBuffer());
        const [own, stored] = [await bytes(file), await bytes(await fetch(done.url))];
        return done.length === own.length && stored.length === own.length
            && own.every((byte, at) => byte === stored[at]);
    }"""
    )
    assert same
    assert phases(page)[-1] == "done"


def test_where_upgrade_is_stripped_another_way_is_taken_if_there_is_one(
    road: Road, enter: Enter
) -> None:
    """It is given all it needs."""
    road.strips = True
    page = enter(road.url)
    page.evaluate(
        """() => {
        uploader({token: 'secret', fallback: async (attempt) => {
            window.attempt = {...attempt, base: attempt.base.href, size: attempt.file.size,
                asked: await attempt.token()};
            attempt.begun('id', '/f/id/a.txt', 0); attempt.sent(10); attempt.stored(10);
            const url = new URL('/f/id/a.txt', attempt.base).href;
            return {id: 'id', url, length: 10, name: attempt.name};
        }});
        send({path: 'b/a.txt'}, made('a.txt', 10));
    }"""
    )
    assert page.evaluate("outcome()") == {
        "id": "id",
        "url": road.url + "/f/id/a.txt",
        "length": 10,
        "name": "a.txt",
    }
    attempt = page.evaluate(
        "(({name, path, asked, size, key}) => ({name, path, asked, size, key}))(attempt)"
    )
    assert len(attempt.pop("key")) >= 22
    assert attempt == {"name": "a.txt", "path": "b/a.txt", "asked": "secret", "size": 10}
    assert phases(page)[-1] == "done"


def test_where_upgrade_is_stripped_the_other_way_deletes_what_is_cancelled(
    road: Road, enter: Enter
) -> None:
    """When the attempt that was under way is over, with the id that this has told last."""
    road.strips = True
    page = enter(road.url)
    page.evaluate(
        """() => {
        window.calls = [];
        uploader({fallback: async ({id, remove, signal, begun}) => {
            calls.push([id, remove]);
            if (remove && calls.length < 3) throw new UploadError('busy', '', {retryable: true});
            if (remove) return null;
            await new Promise((resolve) => signal.addEventListener('abort', resolve));
            begun('id', '/f/id', 0);
            calls.push('over');
        }});
        send({}, made('a.txt', 10));
    }"""
    )
    page.wait_for_function("calls.length")
    assert page.evaluate("() => { upload.cancel(); return upload.progress.phase }") == "cancelling"
    assert page.evaluate("outcome()")["code"] == "cancelled"
    assert page.evaluate("calls") == [[None, False], "over", ["id", True]]
    assert page.evaluate("new Uploader().restore()") == []


def test_a_server_that_is_not_there_is_unreachable(daemon: Server, enter: Enter) -> None:
    """It is tried again until it is there."""
    page = enter(daemon.url)
    daemon.kill()
    page.evaluate("send({}, made('a.txt', 10))")
    until(page, "p.code === 'unreachable' && p.phase === 'retrying'")
    daemon.start()
    assert page.evaluate("outcome()")["length"] == 10


# --- refusals ------------------------------------------------------------------------------------

REFUSAL = {
    "type": "error",
    "code": "token",
    "message": "expired",
    "hint": "ask for one",
    "final": True,
}
WELCOME = {
    "type": "welcome",
    "session": "s",
    "version": "0",
    "can": [],
    "limits": {"max_chunk": MIB, "max_length": None, "initial": MIB, "max_refs": 256},
    "durability": "durable",
}


def play(page: Page, right: str, heard: list[str]) -> None:
    """A server that takes the token *right* only."""

    def serve(ws: WebSocketRoute) -> None:
        def hear(message: str | bytes) -> None:
            if isinstance(message, bytes):
                done = {"type": "done", "ref": 1, "upload": "u", "url": "/f/u", "length": 10}
                return ws.send(json.dumps(done))
            said = json.loads(message)
            if said["type"] == "hello":
                heard.append(said.get("token"))
                ws.send(json.dumps(WELCOME if said["token"] == right else REFUSAL))
                if said["token"] != right:
                    ws.close(code=4401, reason="token")
            return None

        ws.on_message(hear)

    page.route_web_socket("**/-/ws", serve)


def test_a_refused_token_is_asked_for_again(daemon: Server, enter: Enter) -> None:
    """Once for every refusal."""
    page = enter(daemon.url)
    heard: list[str] = []
    play(page, "new", heard)
    page.evaluate(
        """() => { window.asked = [];
        const token = async ({refused}) => { asked.push(refused); return refused ? 'new' : 'old' };
        uploader({token});
        send({}, made('a.txt', 10)) }"""
    )
    assert page.evaluate("outcome()")["length"] == 10
    assert page.evaluate("asked") == [False, True]
    assert heard == ["old", "new"]


def test_a_token_refused_twice_fails_in_words(daemon: Server, enter: Enter) -> None:
    """Nothing is tried again until the user wants it."""
    page = enter(daemon.url)
    heard: list[str] = []
    play(page, "right", heard)
    page.evaluate("() => { uploader({token: () => 'wrong'}); send({}, made('a.txt', 10)) }")
    assert page.evaluate("outcome()") == {
        "code": "token",
        "message": "expired",
        "hint": "ask for one",
    }
    assert page.evaluate("up.connection.state") == "refused"
    assert heard == ["wrong", "wrong"]


@pytest.mark.parametrize("asked", [False, True])
def test_a_file_over_the_limit_fails_before_a_byte_is_sent(
    enter: Enter, tmp_path: Path, asked: bool
) -> None:
    """Whether the limit was asked for before, or came with the session."""
    with Server(tmp_path, "--set", "limits.max_length=1 MB") as daemon:
        page = enter(daemon.start() and daemon.url)
        sent: list[int] = []
        page.on("websocket", lambda ws: ws.on("framesent", lambda said: sent.append(len(said))))
        page.evaluate(f"async () => {{ uploader(); if ({str(asked).lower()}) await up.check() }}")
        assert page.evaluate("up.connection.maxLength") == (1_000_000 if asked else None)
        page.evaluate("send({}, made('a.bin', 1000001))")
        assert page.evaluate("outcome()")["code"] == "too-large"
        assert sum(sent) < 1000
        page.evaluate("send({}, made('b.bin', 1000000))")
        assert page.evaluate("outcome()")["length"] == 1_000_000
        assert daemon.sizes() == {"b.bin": 1_000_000}
        assert page.evaluate("new Uploader().restore()") == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="uploadd-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "uploadd", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_is_waited_for(small_disk: Path, enter: Enter, tmp_path: Path) -> None:
    """With the reason; it goes on when there is room."""
    (store := small_disk / "store").mkdir()
    with Server(store, "--set", "storage.min_free=0") as daemon:
        page = enter(daemon.start() and daemon.url, big(tmp_path, 9 * MIB))
        other = small_disk / "somebody else's"
        other.write_bytes(bytes(8 * MIB))
        page.evaluate("() => { uploader({jobs: 1}); send() }")
        until(page, "p.code === 'no-space' && p.phase === 'retrying'")
        other.unlink()
        page.evaluate("up.resume()")  # and at once, when somebody says so
        assert page.evaluate("outcome()")["length"] == 9 * MIB
        page.evaluate("up.close()")


def test_a_file_that_changes_is_not_sent_on(
    road: Road, daemon: Server, enter: Enter, tmp_path: Path
) -> None:
    """It would be neither the old one nor the new."""
    road.limit = 8 * MIB
    file = big(tmp_path, 64 * MIB)
    page = enter(road.url, file)
    with page.expect_websocket() as opened:
        page.evaluate("send()")
    stored_half(page, MIB)
    with file.open("r+b") as changed:
        changed.write(b"changed")
    road.limit = None
    assert page.evaluate("outcome()")["code"] == "file-changed"
    opened.value.wait_for_event("framereceived")  # what was on its way is still acknowledged
    assert page.evaluate("upload.progress.reason.code") == "file-changed"
    assert daemon.sizes() == {}
    page.evaluate("upload.resume()")
    assert page.evaluate("upload.progress.phase") == "needs-file"


# --- verbs ---------------------------------------------------------------------------------------


def test_paused_nothing_moves(road: Road, enter: Enter, tmp_path: Path) -> None:
    """And another file has its turn meanwhile."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 32 * MIB))
    page.evaluate("() => { uploader({jobs: 1}); send() }")
    stored_half(page, 4 * MIB)
    page.evaluate("upload.pause()")
    road.limit = None
    page.evaluate("up.upload(made('b.txt', 10)).then(({length}) => length)")
    page.wait_for_function(
        """() => { const was = window.was; window.was = upload.progress.stored;
            return was === window.was }""",
        polling=500,
    )
    at = page.evaluate("told(upload.progress)")
    assert (at["phase"], at["speed"]) == ("paused", 0)
    assert at["stored"] < 32 * MIB
    page.evaluate("upload.resume()")
    assert page.evaluate("outcome()")["length"] == 32 * MIB
    assert phases(page)[-1] == "done"


def test_cancelled_it_is_deleted_over_there(
    road: Road, daemon: Server, enter: Enter, tmp_path: Path
) -> None:
    """The promise keeps until the server has said so."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 64 * MIB))
    page.evaluate("send()")
    stored_half(page, 2 * MIB)
    assert len(daemon.unfinished()) == 1
    assert page.evaluate("() => { upload.cancel(); return upload.progress.phase }") == "cancelling"
    road.limit = None
    assert page.evaluate("outcome()")["code"] == "cancelled"
    assert page.evaluate("upload.progress.phase") == "cancelled"
    assert daemon.settles(lambda: daemon.unfinished() == [], 5)
    assert page.evaluate("new Uploader().restore()") == []


def test_cancelled_without_a_connection_it_is_deleted_later(
    daemon: Server, road: Road, enter: Enter, tmp_path: Path
) -> None:
    """Also when the page was closed in between."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 24 * MIB))
    page.evaluate("send()")
    stored_half(page, MIB)
    daemon.kill()
    until(page, "p.phase === 'retrying'")
    road.limit = None
    page.evaluate(
        "async () => { upload.cancel(); await new Promise((r) => setTimeout(r, 200)); up.close() }"
    )
    daemon.start()
    assert len(daemon.unfinished()) == 1
    assert page.evaluate("uploader().restore()") == []
    assert daemon.settles(lambda: daemon.unfinished() == [], 10)


def test_an_aborted_upload_is_let_go_and_kept(
    road: Road, daemon: Server, enter: Enter, tmp_path: Path
) -> None:
    """Its signal is not a cancel: it can be resumed."""
    road.limit = 8 * MIB
    page = enter(road.url, big(tmp_path, 24 * MIB))
    page.evaluate(
        "() => { window.control = new AbortController(); send({signal: control.signal}) }"
    )
    stored_half(page, 4 * MIB)
    page.evaluate("control.abort()")
    assert page.evaluate("outcome()")["code"] == "aborted"
    assert len(daemon.unfinished()) == 1
    road.limit = None
    page.evaluate("upload.resume()")
    assert page.evaluate("outcome()")["length"] == 24 * MIB
    assert daemon.settles(lambda: daemon.unfinished() == [], 10)
