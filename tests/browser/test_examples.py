"""What docs/examples shows, as it stands there, on a page of another origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.conftest import PATIENCE, Server
from tests.browser.road import Road
from tests.browser.sender import LENGTH, Sender
from tests.browser.served import served
from tests.browser.test_client import MIB, WELCOME, big
from tests.peers.installing import bundle

EXAMPLES: Final = Path(__file__).parents[2] / "docs/examples"
ADDRESS: Final = "http://127.0.0.1:8080"
"""The server of the examples."""
ESBUILD: Final = "0.28.2"
REACT: Final = ("react@19.3.1", "react-dom@19.3.1")
UPPY: Final = ("@uppy/core@6.3.1", "@uppy/dashboard@6.0.3")
# What the page has handed to the network, whether it left or not.
COUNTING: Final = """(() => {
    window.handed = 0;
    const {send} = WebSocket.prototype;
    WebSocket.prototype.send = function (what) {
        if (typeof what !== 'string') handed += what.byteLength - 16;
        send.call(this, what);
    };
})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a site that has the examples, bundled as they say."""
    folder = tmp_path_factory.mktemp("site")
    for name, packages in (("react", REACT), ("uppy", UPPY)):
        source = EXAMPLES / f"{name}.js"
        made = bundle(f"{name}-example", source, *packages, esbuild=ESBUILD, format="esm")
        for kind in (".js", ".css"):
            if (file := made.with_suffix(kind)).exists():
                (folder / f"{name}.bundle{kind}").write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """Its origin."""
    with served(folder) as origin:
        yield origin


@pytest.fixture
def daemon(site: str, tmp_path: Path) -> Iterator[Server]:
    """A daemon at which pages of the site may upload."""
    (store := tmp_path / "store").mkdir()
    with Server(store, "--set", f'server.origins=["{site}"]') as server:
        server.start()
        yield server


Show = Callable[[str], Page]


@pytest.fixture
def show(browser: Browser, site: str, folder: Path, road: Road) -> Iterator[Show]:
    """Opens an example: ``show("watch.html?upload=…")``; it speaks with the daemon over the road.

    The test fails when the page throws; that connections fail is for the example to handle.
    """
    for path in EXAMPLES.glob("*.html"):
        text = path.read_text()
        assert ADDRESS in text
        (folder / path.name).write_text(text.replace(ADDRESS, road.url))
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    context.add_init_script(COUNTING)
    faults: list[str] = []

    def show(name: str) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{site}/{name}")
        return page

    yield show
    context.close()
    assert faults == []


def bar(page: Page, value: float | None) -> None:
    """Wait until the one bar is at *value*."""
    page.wait_for_function(
        "(value) => document.querySelector('progress')?.value === value", arg=value
    )


def unpublished(daemon: Server) -> str:
    """The id of an upload that has all its bytes, durable, and no name."""
    fields = {"Upload-Complete": "?0", "Upload-Length": "3"}
    with urlopen(Request(f"{daemon.url}/files/", b"\0\1\2", fields, method="POST")) as answer:
        return str(answer.headers["Location"].rpartition("/")[2])


# --- to look only ---------------------------------------------------------------------------------


def test_the_plain_example_is_twenty_lines() -> None:
    """Nobody reads more."""
    assert len((EXAMPLES / "watch.html").read_text().splitlines()) == 20


def test_the_plain_example_shows_one_upload(daemon: Server, show: Show) -> None:
    """As much of the bar as is durable; all of it when it is published."""
    sender = Sender(daemon)
    page = show(f"watch.html?upload={sender.id}")
    for sent in (1, 2):
        sender.send(MIB)
        bar(page, sent / 3)
    sender.finish()
    expect(page.locator("li")).to_have_text("a: published")
    bar(page, 1)


def test_the_plain_example_shows_all_uploads(daemon: Server, show: Show) -> None:
    """Also of what has all its bytes the bar is not full."""
    page = show("watch.html")
    senders = [Sender(daemon) for _ in range(2)]
    for sender in senders:
        sender.send(LENGTH // 2)
    expect(page.locator("li")).to_have_count(2)
    senders[0].cancel()
    expect(page.locator("li")).to_have_count(1)
    page = show(f"watch.html?upload={unpublished(daemon)}")
    bar(page, 0.99)


# --- React ----------------------------------------------------------------------------------------


def test_in_react_a_bar_is_as_full_as_it_is_stored(
    daemon: Server, road: Road, show: Show, tmp_path: Path
) -> None:
    """Of what this page sends itself, too: what it has handed to the network counts for nothing."""
    page = show("react.html")
    expect(page.locator("input")).to_be_visible()
    road.limit = road.up + 3 * MIB
    page.set_input_files("input", big(tmp_path, 8 * MIB))
    page.wait_for_function(f"() => handed > {5 * MIB}")
    page.wait_for_function("() => document.querySelector('progress')?.value > 0")
    shown = page.evaluate("document.querySelector('progress').value") * 8 * MIB
    assert 0 < shown <= 3 * MIB
    road.limit = None
    expect(page.locator("li")).to_have_text("big.bin: published")
    bar(page, 1)
    with urlopen(str(page.get_attribute("a", "href"))) as answer:
        assert answer.read() == (tmp_path / "big.bin").read_bytes()


# --- Uppy -----------------------------------------------------------------------------------------


def uppy(page: Page, *files: Path) -> None:
    """Give the dashboard *files*, and press its button."""
    page.evaluate("""async () => {
        window.uppy = (await import('/uppy.bundle.js')).uppy;
        window.told = []; window.stalls = 0;
        const at = (file) => uppy.getFile(file.id).progress;
        uppy.on('upload-progress', (file) => told.push({...at(file)}));
        uppy.on('upload-stalled', () => stalls++);
        uppy.on('complete', (result) => window.result = result);
        window.progress = () => uppy.getFiles()[0].progress;
    }""")
    page.set_input_files("input[type=file] >> nth=0", files)
    page.get_by_role("button", name="Upload").first.click()


def succeeds(page: Page, daemon: Server, file: Path) -> None:
    """Uppy says so, and what is stored is the file."""
    page.wait_for_function("() => uppy.getFiles()[0].progress.uploadComplete")
    assert (daemon.dir / file.name).read_bytes() == file.read_bytes()
    url = page.evaluate("uppy.getFiles()[0].uploadURL")
    with urlopen(url) as answer:
        assert answer.read() == file.read_bytes()


def test_uppy_counts_what_is_stored(show: Show, daemon: Server, tmp_path: Path) -> None:
    """Neither what was sent, nor what the server has taken and could lose; 100 % is published."""
    sessions: list[WebSocketRoute] = []
    taken: list[int] = []

    def serve(session: WebSocketRoute) -> None:
        sessions.append(session)

        def hear(message: str | bytes) -> None:
            if isinstance(message, bytes):
                taken.append(len(message) - 16)
            elif (said := json.loads(message))["type"] == "hello":
                session.send(json.dumps(WELCOME))
            elif said["type"] == "begin":
                say("ready", upload="u", url="/f/u", offset=0, limit=16 * MIB)

        session.on_message(hear)

    def say(kind: str, **more: Any) -> None:
        sessions[-1].send(json.dumps({"type": kind, "ref": 1} | more))

    page = show("uppy.html")
    page.route_web_socket("**/-/ws", serve)
    uppy(page, big(tmp_path, MIB))
    assert daemon.settles(lambda: page.wait_for_timeout(20) or sum(taken) == MIB, 10)
    for offset, shown in ((1000, 1000), (600_000, 600_000), (MIB, int(MIB * 0.99))):
        say("ack", received=MIB, offset=offset, limit=16 * MIB)
        page.wait_for_function(f"() => progress().bytesUploaded === {shown}")
    assert page.evaluate("told.map((one) => one.bytesUploaded)")[-3:] == [
        1000,
        600_000,
        int(MIB * 0.99),
    ]
    assert page.evaluate("progress().percentage") == 99
    say("done", upload="u", url="/f/u/big.bin", length=MIB)
    page.wait_for_function("() => progress().percentage === 100 && progress().uploadComplete")


def test_uppy_pauses_and_goes_on(daemon: Server, road: Road, show: Show, tmp_path: Path) -> None:
    """Also after a lost connection, of which it tells."""
    file = big(tmp_path, 32 * MIB)
    page = show("uppy.html")
    road.limit = 4 * MIB
    uppy(page, file)
    page.wait_for_function("() => progress().bytesUploaded > 0")
    page.get_by_title("Pause", exact=True).first.click()
    page.wait_for_function("() => uppy.getFiles()[0].isPaused")
    road.limit = road.up + 20 * MIB  # what waits on the way comes first
    page.get_by_title("Resume", exact=True).first.click()
    page.wait_for_function(f"() => progress().bytesUploaded > {4 * MIB}")
    road.closed = True  # or it is there again before anybody could tell
    road.cut()
    page.wait_for_function("() => stalls > 0")
    road.closed, road.limit = False, None
    succeeds(page, daemon, file)
    stored = page.evaluate("told.map((one) => one.bytesUploaded)")
    assert stored == sorted(stored)


def test_uppy_goes_on_after_a_reload(
    daemon: Server, road: Road, show: Show, tmp_path: Path
) -> None:
    """When it is given the same file again."""
    file = big(tmp_path, 8 * MIB)
    page = show("uppy.html")
    road.limit = 4 * MIB
    uppy(page, file)
    page.wait_for_function("() => progress().bytesUploaded > 0")
    stored = page.evaluate("progress().bytesUploaded")
    page.goto("about:blank")
    road.cut()  # what waits on the way is lost, or it could be the whole rest
    road.limit = None
    page = show("uppy.html")
    uppy(page, file)
    first = page.wait_for_function("() => told.find((one) => one.bytesUploaded)").json_value()
    assert first["bytesUploaded"] >= stored
    succeeds(page, daemon, file)


def test_what_uppy_cancels_is_gone(daemon: Server, road: Road, show: Show, tmp_path: Path) -> None:
    page = show("uppy.html")
    road.limit = 4 * MIB
    uppy(page, big(tmp_path, 8 * MIB))
    page.wait_for_function("() => progress().bytesUploaded > 0")
    assert len(daemon.unfinished()) == 1
    page.get_by_role("button", name="Cancel").first.click()
    road.limit = None
    assert daemon.settles(lambda: page.wait_for_timeout(20) or daemon.unfinished() == [], 10)
    assert page.evaluate("uppy.getFiles()") == []
    assert daemon.sizes() == {}


def test_what_failed_in_uppy_is_tried_again(
    daemon: Server, road: Road, show: Show, tmp_path: Path
) -> None:
    """It says why; the button for it begins anew where that is what helps."""
    file = big(tmp_path, 8 * MIB)
    page = show("uppy.html")
    road.limit = 4 * MIB
    uppy(page, file)
    page.wait_for_function("() => progress().bytesUploaded > 0")
    [id] = daemon.unfinished()
    with urlopen(Request(f"{daemon.url}/api/upload/{id}", method="DELETE")):
        road.limit = None
    page.wait_for_function("() => uppy.getFiles()[0].error")
    page.wait_for_function("() => window.result?.failed.length === 1")
    page.get_by_role("button", name="Retry").first.click()
    succeeds(page, daemon, file)
