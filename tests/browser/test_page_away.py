"""What ended while the page was closed is told when it comes back, once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.access import faults
from tests.browser.beside import file, sending, stored
from tests.browser.site import LARGE, MB, Site, choose, press, row, says, served, visited


@pytest.fixture
def site(browser: Browser, tmp_path: Path) -> Iterator[Site]:
    """A page of a daemon that has nothing yet."""
    with (
        served(tmp_path / "store") as stage,
        visited(browser, stage, tmp_path / "files") as it,
    ):
        yield it


def client_id(page: Page) -> str:
    """How the browser calls itself at this server."""
    [id] = page.evaluate("Object.entries(localStorage)")
    return str(id[1])


def are_read(site: Site, id: str) -> list[bool]:
    """Of each notice whether it was read."""
    request = Request(f"{site.daemon.url}/api/notices", headers={"X-Client-Id": id})
    with urlopen(request) as answer:
        return [one["read"] for one in json.load(answer)["notices"]]


def settles(site: Site, id: str, *wanted: bool) -> bool:
    """Whether there come to be as many notices, read or not as they are *wanted*."""

    def is_so() -> bool:
        site.page.wait_for_timeout(20)  # lets the page go on
        return are_read(site, id) == [*wanted]

    return site.daemon.settles(is_so)


def test_what_ended_while_the_tab_was_closed_is_told_and_read_then(site: Site) -> None:
    page, id = site.page, client_id(site.page)
    page.goto("about:blank")
    stored(site.daemon, "film.bin", 2000, id)
    stored(site.daemon, "of-others.bin", 2000)
    with sending(site.daemon, "lost.bin", 9000, id) as somebody:
        somebody.send(5000)
    assert settles(site, id, False, False)
    page.goto(site.door.url)
    told = page.get_by_role("region", name="While you were away")
    expect(told.get_by_role("listitem")).to_have_count(2)
    expect(told.get_by_role("listitem").first).to_contain_text("lost.bin broke off")
    expect(told.get_by_role("listitem").last).to_contain_text("film.bin stored · 2 kB")
    expect(page.locator("#said")).to_contain_text("While you were away, 2 uploads ended")
    link = told.get_by_role("link", name="film.bin").evaluate("it => it.href")
    assert page.request.get(link).body() == (site.daemon.folder / "film.bin").read_bytes()
    assert faults(page, dark=True) == []
    assert settles(site, id, True, True)
    press(page, "Close what happened while you were away")
    expect(told).to_be_hidden()
    expect(page.locator("#zone")).to_be_focused()
    page.reload()
    expect(file(page, "film.bin")).to_be_visible()
    expect(told).to_be_hidden()


def test_what_ended_before_ones_eyes_is_not_told_again(site: Site) -> None:
    page, id = site.page, client_id(site.page)
    choose(page, site.file("film.bin"))
    says(page, "film.bin", "Stored")
    assert settles(site, id, True)
    page.reload()
    expect(file(page, "film.bin")).to_be_visible()
    expect(page.locator("#away")).to_be_hidden()


def test_an_interrupted_upload_that_ended_meanwhile_does_not_ask_for_its_file(site: Site) -> None:
    """It was stored after all, by the last bytes of the page that was closed, or by another."""
    page, source = site.page, site.file("film.bin", LARGE)
    site.door.hold(3 * MB)
    choose(page, source)
    says(page, "film.bin", "MB stored")
    [id] = os.listdir(site.daemon.folder / ".uploadd" / "growing")
    page.goto("about:blank")
    finish(site, id, source)
    page.goto(site.door.url)
    expect(page.locator("#away-lines")).to_contain_text("film.bin stored · 40 MB")
    expect(file(page, "film.bin")).to_be_visible()
    expect(row(page, "film.bin")).to_have_count(0)
    site.door.let_go()
    assert site.arrived(source)


def test_an_interrupted_upload_that_was_cancelled_meanwhile_says_so(site: Site) -> None:
    page = site.page
    site.door.hold(3 * MB)
    choose(page, site.file("film.bin", LARGE))
    says(page, "film.bin", "MB stored")
    [id] = os.listdir(site.daemon.folder / ".uploadd" / "growing")
    page.goto("about:blank")
    urlopen(Request(f"{site.daemon.url}/api/upload/{id}", method="DELETE")).close()
    site.door.let_go()
    page.goto(site.door.url)
    says(page, "film.bin", "Cancelled")


def test_very_many_are_told_in_few_lines(site: Site) -> None:
    page, id = site.page, client_id(site.page)
    page.goto("about:blank")
    for number in range(30):
        stored(site.daemon, f"{number}.bin", 10, id)
    page.goto(site.door.url)
    expect(page.locator("#away-lines li")).to_have_count(8)
    expect(page.locator("#away-more")).to_have_text("and 22 more")


def finish(site: Site, id: str, source: Path) -> None:
    """Somebody else sends the rest of the upload *id*."""
    place = f"{site.daemon.url}/files/{id}"
    tus = {"Tus-Resumable": "1.0.0"}
    with urlopen(Request(place, headers=tus, method="HEAD")) as answer:
        offset = int(answer.headers["Upload-Offset"])
    tus |= {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)}
    body = source.read_bytes()[offset:]
    urlopen(Request(place, body, tus, method="PATCH")).close()
