"""Uppy in a real browser, on a page of another origin, as sites use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE, Server
from tests.browser.conftest import browser as browser
from tests.browser.served import served
from tests.peers.bodies import END, Cut
from tests.peers.conftest import HERE, STOPS, MakeFile, published
from tests.peers.installing import bundle
from tests.peers.proxy import Proxy
from tests.peers.test_restart import check, every_end, restart

PACKAGES: Final = ("@uppy/core@6.3.1", "@uppy/tus@6.0.0", "@uppy/xhr-upload@6.0.0")
ESBUILD: Final = "0.28.2"
LENGTH: Final = 8_000_000
RETRIES: Final = [100] * 100

# One instance for all files that a page uploads; what it told is kept for the test.
BEGIN: Final = """([uploader, options]) => {
    window.uppy = new Uppy({ autoProceed: false, onBeforeFileAdded: () => true })
    uppy.use(window[uploader], options)
    window.told = null
    uppy.on('complete', (result) => {
        told = {
            successful: result.successful.map((file) => ({
                name: file.name, url: file.uploadURL, body: file.response?.body,
            })),
            failed: result.failed.map((file) => `${file.name}: ${file.error}`),
        }
    })
    document.querySelector('input').addEventListener('change', (event) => {
        for (const data of event.target.files) {
            uppy.addFile({ name: data.name, type: data.type, data, meta: { caption: 'żółć' } })
        }
        uppy.upload()
    })
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a site that has Uppy, and knows of the daemon only its address."""
    folder = tmp_path_factory.mktemp("site")
    script = bundle("uppy", HERE / "uppy.mjs", *PACKAGES, esbuild=ESBUILD)
    (folder / "uppy.js").write_bytes(script.read_bytes())
    (folder / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,">'
        '<input type="file" multiple><script src="uppy.js"></script>'
    )
    with served(folder) as origin:
        yield origin


@pytest.fixture
def daemon(site: str, tmp_path: Path) -> Iterator[Server]:
    """A daemon at which pages of the site may upload."""
    folder = tmp_path / "store"
    folder.mkdir()
    with Server(folder, *STOPS, "--set", f'server.origins=["{site}"]') as server:
        server.start()
        yield server


Begin = Callable[..., Page]


@pytest.fixture
def begin(browser: Browser, site: str) -> Iterator[Begin]:
    """Opens the page and gives Uppy files: ``begin(uploader, options, *files)``.

    The test fails when the page throws; that requests fail is for Uppy to handle.
    """
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    faults: list[str] = []

    def begin(uploader: str, options: dict[str, Any], *files: Path) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(site)
        page.evaluate(BEGIN, [uploader, options])
        page.set_input_files("input", [str(file) for file in files])
        return page

    yield begin
    context.close()
    assert faults == []


def successful(page: Page) -> list[dict[str, Any]]:
    """What Uppy has uploaded, when it is done; nothing has failed."""
    told = page.wait_for_function("() => told").json_value()
    assert told["failed"] == []
    found: list[dict[str, Any]] = told["successful"]
    return found


def tus(proxy: Proxy, **options: Any) -> dict[str, Any]:
    """Options for @uppy/tus."""
    return {"endpoint": f"{proxy.url}/files/", "retryDelays": RETRIES} | options


@pytest.mark.parametrize("chunk", [None, 3_000_000])
def test_files_arrive_by_tus(
    chunk: int | None, daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    """Several at a time, under their names, with what else is known of them."""
    files = [make_file(LENGTH, "jeden ł.bin"), make_file(1, "two.txt"), make_file(0, "none.txt")]
    page = begin("Tus", tus(proxy, **({} if chunk is None else {"chunkSize": chunk})), *files)
    told = {file["name"]: file["url"] for file in successful(page)}
    assert published(daemon) == {file.name: file.read_bytes() for file in files}
    for file in files:
        with urlopen(told[file.name]) as answer:
            assert answer.read() == file.read_bytes()
    with urlopen(told["two.txt"]) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("protocol", ["ietf-draft-03", "ietf-draft-05"])
def test_a_file_arrives_by_the_drafts(
    protocol: str, daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    """Uppy hands the option on to the client below it."""
    file = make_file(LENGTH)
    successful(begin("Tus", tus(proxy, protocol=protocol), file))
    assert list(published(daemon).values()) == [file.read_bytes()]


def test_parts_that_are_sent_at_a_time_become_one_file(
    daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    successful(begin("Tus", tus(proxy, parallelUploads=3), file))
    assert daemon.settles(lambda: bool(published(daemon)))  # it is put together behind the answer
    assert published(daemon) == {file.name: file.read_bytes()}


@pytest.mark.parametrize("bundled", [False, True])
def test_files_arrive_by_xhr_upload(
    bundled: bool, daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    """One form for each, or one for all; the answer has the URL where Uppy looks for it, which is
    relative to where the form went.
    """
    files = [make_file(LENGTH, "jeden ł.bin"), make_file(1000, "two.txt")]
    page = begin("XHRUpload", {"endpoint": f"{proxy.url}/", "bundle": bundled}, *files)
    told = {file["name"]: file for file in successful(page)}
    assert published(daemon) == {file.name: file.read_bytes() for file in files}
    if not bundled:  # one answer has one URL
        for file in files:
            assert told[file.name]["body"]["url"] == told[file.name]["url"]
            with urlopen(urljoin(proxy.url, told[file.name]["url"])) as answer:
                assert answer.read() == file.read_bytes()


@pytest.mark.parametrize("after", [0, 1, 10_000, END])
def test_a_lost_connection_is_made_good(
    after: int, daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    proxy.cut(Cut(after, "RST"), Cut(after, "FIN"))
    successful(begin("Tus", tus(proxy, chunkSize=LENGTH // 2), file))
    assert published(daemon) == {file.name: file.read_bytes()}
    assert proxy.count("POST") == 1


def test_a_pause_goes_on_where_it_was(
    daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    page = begin("Tus", tus(proxy), file)
    proxy.until_held()
    page.evaluate("uppy.pauseAll()")
    proxy.go_on()
    page.evaluate("uppy.resumeAll()")
    successful(page)
    assert published(daemon) == {file.name: file.read_bytes()}
    assert proxy.count("POST") == 1


def test_a_page_that_was_closed_goes_on_when_it_has_the_file_again(
    daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    """What it remembers is in the browser's storage."""
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    page = begin("Tus", tus(proxy), file)
    proxy.until_held()
    page.reload()
    proxy.go_on()
    page.evaluate(BEGIN, ["Tus", tus(proxy)])
    page.set_input_files("input", str(file))
    successful(page)
    assert published(daemon) == {file.name: file.read_bytes()}
    assert proxy.count("POST") == 1


@every_end
def test_an_upload_survives_a_restart(
    end: str, daemon: Server, proxy: Proxy, begin: Begin, make_file: MakeFile
) -> None:
    file = make_file(LENGTH)
    proxy.hold(LENGTH // 2)
    page = begin("Tus", tus(proxy), file)
    told = restart(daemon, proxy, end)
    successful(page)
    check(daemon, proxy, file.read_bytes(), told)
