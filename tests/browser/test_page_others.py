"""What others upload, on the same page: live, once, bounded, and gone when it is cancelled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.browser.access import faults, tab_to
from tests.browser.beside import file, other, sending
from tests.browser.road import Road
from tests.browser.site import LARGE, MB, Site, choose, press, row, says, served, visited

KB = 1000


@pytest.fixture
def site(browser: Browser, tmp_path: Path) -> Iterator[Site]:
    """A page of a daemon that has nothing yet."""
    with (
        served(tmp_path / "store") as stage,
        visited(browser, stage, tmp_path / "files") as it,
    ):
        watching(it.page)
        yield it


def watching(page: Page) -> None:
    """Wait until *page* is told of what others do."""
    page.wait_for_function("performance.getEntriesByName(new URL('-/watch.js', document.baseURI))")


def drawn(page: Page, name: str) -> float:
    """How much of the bar of somebody else's *name* is full, 0 … 1."""
    style = other(page, name).locator(".stored").evaluate("it => it.style.inlineSize")
    return float(style.rstrip("%")) / 100


# --- live ---------------------------------------------------------------------------------------


def test_what_somebody_else_uploads_moves_as_it_is_stored_and_ends_on_the_list_of_files(
    site: Site,
) -> None:
    page = site.page
    with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
        for sent in (250, 500, 750):
            somebody.send(250 * KB)
            expect(other(page, "film.bin")).to_contain_text(f"Uploading · {sent} kB of 1 MB stored")
            assert drawn(page, "film.bin") == pytest.approx(sent / 1000)
        bar = other(page, "film.bin").get_by_role("progressbar", name="film.bin")
        expect(bar).to_have_attribute("aria-valuenow", "75")
        expect(page.locator("#others-sum")).to_have_text("Others are uploading 1 file")
        assert faults(page, dark=True) == []
        assert somebody.finish() == "HTTP/1.1 201 Created"
    expect(file(page, "film.bin")).to_contain_text("1 MB")
    expect(page.locator("#others")).to_be_hidden()
    assert site.complaints == []


def test_which_part_is_being_processed_is_said_where_files_are_stored_in_parts(site: Site) -> None:
    """As a server would say it that keeps them on S3."""

    def guard(here: WebSocketRoute) -> None:
        there = here.connect_to_server()

        def pass_on(said: str | bytes) -> None:
            told = json.loads(said) if isinstance(said, str) else {}
            if told.get("type") == "progress" and told["state"] == "receiving":
                told |= {"state": "storing", "part": told["held"] // (100 * KB) + 1}
                said = json.dumps(told)
            here.send(said)

        there.on_message(pass_on)

    page = site.page
    page.route_web_socket("**/-/ws", guard)
    page.reload()
    watching(page)
    with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
        somebody.send(250 * KB)
        expect(other(page, "film.bin")).to_contain_text("Processing part 3 · 250 kB of 1 MB stored")
        somebody.send(750 * KB - 1)
        expect(other(page, "film.bin")).to_contain_text("Processing part 10 · 1 MB of 1 MB stored")
        somebody.finish()
    expect(file(page, "film.bin")).to_be_visible()
    assert site.complaints == []


def test_a_bar_of_others_is_never_full_before_the_file_is_stored(site: Site) -> None:
    page = site.page
    page.evaluate(
        """() => {
          window.widest = 0;
          const look = () => {
            for (const bar of document.querySelectorAll("#others .bar"))
              window.widest = Math.max(window.widest, bar.ariaValueNow,
                ...[...bar.children].map((shade) => parseFloat(shade.style.inlineSize || 0)));
          };
          const all = { subtree: true, childList: true, attributes: true };
          new MutationObserver(look).observe(document.getElementById("others"), all);
        }"""
    )
    with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
        somebody.send(1000 * KB - 1)
        expect(other(page, "film.bin")).to_contain_text("1 MB of 1 MB stored")
        somebody.finish()
    expect(file(page, "film.bin")).to_be_visible()
    assert page.evaluate("window.widest") == 99


def test_one_page_shows_what_the_other_uploads_and_each_shows_its_own_once(site: Site) -> None:
    first, second = site.page, site.visit()
    site.door.hold(3 * MB)
    choose(first, site.file("film.bin", LARGE))
    says(first, "film.bin", "MB stored")
    expect(other(second, "film.bin")).to_contain_text("MB of 40 MB stored")
    expect(other(first, "film.bin")).to_have_count(0)
    expect(row(second, "film.bin")).to_have_count(0)
    site.door.let_go()
    says(first, "film.bin", "Stored")
    expect(file(second, "film.bin")).to_be_visible()
    expect(other(second, "film.bin")).to_have_count(0)
    expect(file(first, "film.bin")).to_have_count(0)


def test_many_small_files_of_ones_own_are_never_taken_for_others(site: Site) -> None:
    """Though the server tells everybody of an upload before it tells its sender the id."""
    page = site.page
    page.evaluate(
        """() => {
          window.seen = 0;
          const look = () => { seen += document.querySelectorAll("#others li, #stored li").length };
          for (const id of ["others", "stored"]) {
            const list = document.getElementById(id);
            new MutationObserver(look).observe(list, { subtree: true, childList: true });
          }
        }"""
    )
    choose(page, *[site.file(f"{n}.bin", 300 + n) for n in range(100)])
    expect(page.locator("#sum")).to_have_text("All 100 files are stored")
    assert page.evaluate("seen") == 0


def test_what_breaks_off_is_said_and_then_gone(site: Site) -> None:
    page = site.page
    page.clock.install()
    page.reload()
    with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
        somebody.send(250 * KB)
        expect(other(page, "film.bin")).to_contain_text("250 kB")
        somebody.leave()
        expect(other(page, "film.bin")).to_contain_text("Broken off")
        expect(other(page, "film.bin").get_by_role("button")).to_have_count(0)
    page.clock.fast_forward(11_000)
    expect(other(page, "film.bin")).to_have_count(0)


def test_without_websocket_the_page_sees_as_much(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    with Road(site.daemon.address[1]) as road:
        road.strips = True
        page = browser.new_context().new_page()
        page.goto(road.url)
        with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
            somebody.send(500 * KB)
            expect(other(page, "film.bin")).to_contain_text("500 kB of 1 MB stored", timeout=20_000)
            somebody.finish()
        expect(file(page, "film.bin")).to_be_visible()
        page.context.close()


# --- cancelling ---------------------------------------------------------------------------------


def test_an_upload_of_somebody_else_is_cancelled_with_the_keyboard_and_is_gone_everywhere(
    site: Site,
) -> None:
    page, second = site.page, site.visit()
    with sending(site.daemon, "film.bin", 1000 * KB) as somebody:
        somebody.send(250 * KB)
        expect(other(second, "film.bin")).to_be_visible()
        page.bring_to_front()
        tab_to(page, "Cancel film.bin of somebody else")
        page.keyboard.press("Enter")
        box = page.get_by_role("dialog")
        expect(box).to_contain_text("Somebody else is uploading it")
        page.keyboard.press("Enter")  # no
        expect(box).to_be_hidden()
        expect(other(page, "film.bin")).to_be_visible()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        for one in (page, second):
            expect(other(one, "film.bin")).to_have_count(0)
        assert b" 410 " in somebody.answer()
    expect(page.locator("#zone")).to_be_focused()
    assert list((site.daemon.folder / ".uploadd" / "growing").iterdir()) == []


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_ones_own_upload_that_somebody_cancels_is_cancelled_here_too(
    site: Site, paused: bool
) -> None:
    page = site.page
    second = site.visit()
    site.door.hold(3 * MB)
    choose(page, site.file("film.bin", LARGE))
    says(page, "film.bin", "MB stored")
    expect(other(second, "film.bin")).to_be_visible()
    if paused:
        press(page, "Pause film.bin")
        says(page, "film.bin", "Paused")
    second.get_by_role("button", name="Cancel film.bin of somebody else").click()
    second.get_by_role("button", name="Cancel upload").click()
    says(page, "film.bin", "Cancelled")
    expect(other(second, "film.bin")).to_have_count(0)
    site.door.let_go()
    press(page, "Upload again: film.bin")
    says(page, "film.bin", "Stored")


# --- very many ----------------------------------------------------------------------------------


@contextmanager
def session(daemon_url: str) -> Iterator[ClientConnection]:
    """A session of somebody else, greeted."""
    url = daemon_url.replace("http", "ws") + "/-/ws"
    # What nobody here reads is taken all the same, or the end would wait behind it.
    with connect(url, subprotocols=[Subprotocol("uploadd.v1")], max_queue=None) as made:
        made.send(json.dumps({"type": "hello"}))
        assert json.loads(made.recv())["type"] == "welcome"
        yield made


def chunk(ref: int, offset: int, size: int) -> bytes:
    """One chunk of zeros, flushed at once."""
    head = bytes([1, 4, 0, 0]) + ref.to_bytes(4, "big") + offset.to_bytes(8, "big")
    return head + bytes(size)


def test_a_thousand_uploads_of_others_leave_the_page_alive_and_their_rows_are_bounded(
    site: Site,
) -> None:
    page = site.page
    with ExitStack() as stack:
        sessions = [stack.enter_context(session(site.daemon.url)) for _ in range(4)]
        page.evaluate("""() => {
          window.longest = 0;
          new PerformanceObserver((list) => {
            const times = list.getEntries().map(({ duration }) => duration);
            window.longest = Math.max(window.longest, ...times);
          }).observe({ entryTypes: ["longtask"] });
        }""")
        for turn in range(3):
            for at, one in enumerate(sessions):
                for ref in range(1, 251):
                    if not turn:
                        begin = {"type": "begin", "ref": ref, "name": f"{at}-{ref}", "length": 9000}
                        one.send(json.dumps(begin))
                    one.send(chunk(ref, 1000 * turn, 1000))
        expect(page.locator("#others-sum")).to_have_text(
            "Others are uploading 1,000 files", timeout=30_000
        )
        expect(page.locator("#others-line")).to_contain_text("3 MB of 9 MB stored", timeout=30_000)
        expect(page.locator("#others .row")).to_have_count(100)
        expect(page.locator("#others-more")).to_have_text("and 900 more")
        assert page.evaluate("window.longest") < 1000
