"""How the page looks and sounds: honest bars, no mouse needed, nothing axe-core finds wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import faults, tab_to
from tests.browser.door import Door
from tests.browser.site import (
    LARGE,
    MB,
    Site,
    choose,
    payload,
    press,
    row,
    says,
    served,
    shades,
    visited,
)
from tests.e2e.daemon import Daemon

WEB = Path(__file__).parents[2] / "uploadd" / "web"
BUDGET, BUDGET_IN_ALL = 55_000, 70_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Door]]:
    """One daemon for all users of this file."""
    with served(tmp_path_factory.mktemp("store"), "--set", "limits.max_length=50 MB") as it:
        yield it


@pytest.fixture
def site(browser: Browser, stage: tuple[Daemon, Door], tmp_path: Path) -> Iterator[Site]:
    """A new user's page."""
    with visited(browser, stage, tmp_path) as it:
        yield it


# --- the bar ----------------------------------------------------------------------------------


def test_the_bar_shows_what_the_daemon_has_made_durable_and_is_not_full_before_the_end(
    site: Site,
) -> None:
    page, size = site.page, 8 * MB
    offsets: list[int] = []

    def hear(said: str | bytes) -> None:
        message = json.loads(said) if isinstance(said, str) else {}
        if message.get("type") in ("ack", "ready"):
            offsets.append(message["offset"])

    page.on("websocket", lambda it: it.on("framereceived", hear))
    page.evaluate(
        """() => {
          window.widest = 0;
          const look = () => {
            const shades = "#rows .row:not([data-phase=done]) .bar i";
            for (const shade of document.querySelectorAll(shades))
              window.widest = Math.max(window.widest, parseFloat(shade.style.inlineSize || 0));
          };
          const all = { subtree: true, childList: true, attributes: true };
          new MutationObserver(look).observe(document.getElementById("rows"), all);
        }"""
    )
    site.door.hold(5 * MB)
    choose(page, site.file("film.bin", size))
    says(page, "film.bin", "MB stored")
    assert site.daemon.settles(lambda: settled(page, offsets, size))
    sent, stored = shades(page, "film.bin")
    assert 0 < stored < sent < 1
    bar = row(page, "film.bin").get_by_role("progressbar", name="film.bin")
    expect(bar).to_have_attribute("aria-valuenow", str(int(100 * stored)))
    expect(bar).to_have_attribute("aria-valuetext", re.compile(r"^\d+ % stored, \d+ % sent$"))
    assert page.title().startswith(f"{int(100 * stored)} %")
    site.door.let_go()
    says(page, "film.bin", "Stored")
    expect(bar).to_be_hidden()
    assert 50 < page.evaluate("window.widest") <= 99


def settled(page: Page, offsets: list[int], size: int) -> bool:
    """Whether the bar shows the newest offset that the daemon told, and that is not nothing."""
    page.wait_for_timeout(50)  # lets what was received be heard
    _, stored = shades(page, "film.bin")
    return bool(offsets) and offsets[-1] > 0 and abs(stored - offsets[-1] / size) < 0.001


def test_rows_are_drawn_at_most_four_times_a_second(site: Site) -> None:
    page = site.page
    site.door.slow(3 * MB)
    choose(page, site.file("film.bin", LARGE))
    says(page, "film.bin", "MB stored")
    drawn = page.evaluate(
        """() => new Promise((go) => {
          let times = 0;
          new MutationObserver(() => { times += 1; })
            .observe(document.getElementById("rows"), { subtree: true, attributes: true });
          setTimeout(() => go(times), 1000);
        })"""
    )
    assert 2 <= drawn <= 5
    site.door.let_go()


def test_two_thousand_files_do_not_stop_the_page(site: Site) -> None:
    page = site.page
    site.door.hold(0)
    page.evaluate("""() => {
      window.longest = 0;
      new PerformanceObserver((list) => {
        const times = list.getEntries().map(({ duration }) => duration);
        window.longest = Math.max(window.longest, ...times);
      }).observe({ entryTypes: ["longtask"] });
    }""")
    page.evaluate(
        """() => {
          const held = new DataTransfer();
          for (let n = 0; n < 2000; n++) held.items.add(new File(["x"], `${n}.txt`));
          document.dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true }));
        }"""
    )
    expect(page.locator("#rows .row")).to_have_count(2000)
    expect(page.locator("#rows .row").last).to_contain_text("Waiting for its turn")
    assert page.evaluate("window.longest") < 2000


# --- without a mouse, and for those who listen ------------------------------------------------


def test_from_loading_to_a_copied_link_with_the_keyboard_alone(site: Site) -> None:
    page = site.page
    site.context.add_init_script("delete window.showOpenFilePicker")
    site.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.reload()
    for key in ("Enter", "Space"):
        tab_to(page, "Drop files")
        with page.expect_file_chooser() as picker:
            page.keyboard.press(key)
        picker.value.set_files(payload(f"{key}.txt", b"hello"))
        says(page, f"{key}.txt", "Stored")
    tab_to(page, "Copy link: Enter.txt")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("Link copied")
    tab_to(page, "Remove Enter.txt from the list")
    page.keyboard.press("Space")
    expect(row(page, "Space.txt")).to_be_focused()
    tab_to(page, "Remove Space.txt from the list")
    page.keyboard.press("Enter")
    expect(page.locator("#zone")).to_be_focused()


def test_the_focus_stays_in_the_row_when_its_buttons_change(site: Site) -> None:
    page = site.page
    site.door.hold(2 * MB)
    choose(page, site.file("film.bin", 16 * MB))
    press(page, "Pause film.bin")
    expect(page.get_by_role("button", name="Go on with film.bin")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause film.bin")).to_be_focused()
    site.door.let_go()
    says(page, "film.bin", "Stored")
    expect(row(page, "film.bin").get_by_role("button", name="Copy link: film.bin")).to_be_focused()


def test_quarters_and_the_end_are_said_aloud_and_no_more(site: Site) -> None:
    page = site.page
    page.evaluate(
        """() => {
          window.heard = [];
          const said = document.getElementById("said");
          new MutationObserver(() => window.heard.push(said.textContent))
            .observe(said, { childList: true, characterData: true, subtree: true });
        }"""
    )
    site.door.slow(5 * MB)
    choose(page, site.file("film.bin", 8 * MB))
    says(page, "film.bin", "Stored")
    expect(page.locator("#said")).to_contain_text("The file is stored")
    heard = page.evaluate("window.heard")
    assert [text for text in heard if re.search(r"(25|50|75) % stored", text)]
    assert len(heard) <= 6


# --- what axe-core finds ----------------------------------------------------------------------


def test_axe_finds_nothing_wrong_in_any_state(site: Site) -> None:
    page, film = site.page, site.file("film.bin", LARGE)
    assert faults(page) == []  # empty
    site.door.hold(3 * MB)
    choose(page, film, site.file("other.bin", 30 * MB), site.file("huge.bin", 51 * MB))
    says(page, "film.bin", "MB stored")
    assert faults(page, dark=True) == []  # busy, and one that is too large
    press(page, "Pause all")
    says(page, "film.bin", "Paused")
    press(page, "Cancel all")
    assert faults(page) == []  # a question
    press(page, "No, keep")
    page.evaluate("""() => {
      document.getElementById("token-form").hidden = false;
      document.getElementById("token-why").textContent = "The server did not accept this token.";
    }""")
    assert faults(page) == []
    page.reload()
    site.door.let_go()
    says(page, "film.bin", "Choose the same file again")
    assert faults(page) == []
    site.daemon.terminate()
    choose(page, film)
    expect(page.locator("#trouble")).to_be_visible()
    assert faults(page, dark=True) == []  # the server is away
    site.daemon.start()
    site.door.lead_to(site.daemon.address[1])
    site.door.let_go()
    press(page, "Cancel other.bin")
    says(page, "film.bin", "Stored", 40)
    says(page, "other.bin", "Cancelled", 40)
    assert faults(page) == []  # done and cancelled


def test_nothing_is_cut_off_at_any_width(site: Site) -> None:
    page = site.page
    site.door.hold(2 * MB)
    name = "a-very-long-name-without-any-place-to-break-it-" * 3 + ".bin"
    choose(page, site.file(name[-200:], 6 * MB), site.file("huge.bin", 51 * MB), site.file("b.bin"))
    says(page, "huge.bin", "Too large")
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for direction in ("ltr", "rtl"):
            page.evaluate("(it) => { document.documentElement.dir = it }", direction)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    site.door.let_go()


# --- what it is made of -----------------------------------------------------------------------


def test_the_browser_has_nothing_to_complain_about(site: Site) -> None:
    source = site.file("film.bin", 3 * MB)
    choose(site.page, source)
    says(site.page, "film.bin", "Stored")
    policy = site.page.request.get(site.door.url, headers={"accept": "text/html"}).headers
    assert "unsafe" not in policy["content-security-policy"]
    assert site.complaints == []


def test_a_first_visit_transfers_at_most_55_kb_before_it_takes_files(site: Site) -> None:
    """All that comes over the wire, heads included; and little more for what goes on beside it."""
    page = site.context.new_page()
    session = site.context.new_cdp_session(page)
    asked: dict[str, str] = {}
    transferred: list[tuple[str, int]] = []

    def begins(it: dict[str, Any]) -> None:
        asked[it["requestId"]] = it["request"]["url"]

    def ends(it: dict[str, Any]) -> None:
        transferred.append((asked[it["requestId"]], it["encodedDataLength"]))

    session.on("Network.requestWillBeSent", begins)
    session.on("Network.loadingFinished", ends)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    page.goto(site.door.url, wait_until="networkidle")
    # What is stored already is no weight of the page's: the tests before this one uploaded it.
    transferred = [one for one in transferred if "/api/uploads" not in one[0]]
    names = [Path(urlsplit(url).path).name for url, _ in transferred]
    later = names.index("around.js")
    assert {"", "page.js", "uploader.js", "job.js", "style.css"} <= set(names[:later])
    assert sum(size for _, size in transferred[:later]) <= BUDGET, transferred
    assert sum(size for _, size in transferred) <= BUDGET_IN_ALL, transferred


def test_codes_that_have_no_words_are_told_in_those_of_the_server(site: Site) -> None:
    told = site.page.evaluate(
        """async () => {
          const { explain } = await import("/-/words.js");
          return ["new", "constructor", "__proto__"]
            .map(code => explain({ code, message: "It <b>broke</b>.", hint: "Mend it." }));
        }"""
    )
    assert told == [["It <b>broke</b>.", "Mend it."]] * 3


def test_every_code_of_the_protocol_that_a_user_may_meet_has_words() -> None:
    table = (WEB.parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:yes|no) \| \d{4} \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 20
    words = (WEB / "words.js").read_text(encoding="utf-8")
    ours = {"bad-message", "checksum-mismatch", "credit-exceeded", "incomplete"}
    ours |= {"offset-mismatch", "unsupported"}  # mended by itself, or a bug: the server's own words
    missing = {code for code, _ in rows} - ours
    assert {code for code in missing if f'"{code}"' not in words} == set()


def test_without_javascript_the_page_says_what_to_do(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    answer = page.goto(site.door.url)
    assert answer is not None
    [said] = re.findall(r"<noscript>(.*?)</noscript>", answer.text(), re.DOTALL)
    assert "needs JavaScript" in said
    assert "uploadd put FILE ADDRESS" in said
    expect(page.locator("#drop")).to_be_hidden()  # what would not work is not offered
    context.close()
