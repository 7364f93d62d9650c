"""The list of all that is stored: found, page by page, deleted, and never too long for the page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.access import tab_to
from tests.browser.beside import file, names, sending, stored
from tests.browser.site import Site, choose, press, row, says, served, visited

MANY = 100_000


@pytest.fixture
def site(browser: Browser, tmp_path: Path) -> Iterator[Site]:
    """A page of a daemon that has nothing yet."""
    with (
        served(tmp_path / "store") as stage,
        visited(browser, stage, tmp_path / "files") as it,
    ):
        yield it


def search(page: Page, text: str) -> None:
    """Type *text* into the search."""
    page.get_by_role("searchbox", name="Search stored files").fill(text)


def test_where_nothing_is_stored_there_is_no_list(site: Site) -> None:
    with site.page.expect_response("**/api/uploads?*"):
        site.page.reload()
    expect(site.page.locator("#stored")).to_be_hidden()
    expect(site.page.locator("#others")).to_be_hidden()
    expect(site.page.locator("#away")).to_be_hidden()


def test_what_others_store_is_on_top_of_the_list_at_once_and_its_link_leads_to_it(
    site: Site,
) -> None:
    page = site.page
    place = stored(site.daemon, "first & last #1.txt")
    expect(file(page, "first & last #1.txt")).to_be_visible()
    stored(site.daemon, "<b>bold.txt")
    expect(file(page, "<b>bold.txt")).to_contain_text("1 kB")
    assert names(page) == ["<b>bold.txt", "first & last #1.txt"]
    link = file(page, "first & last #1.txt").get_by_role("link")
    got = [page.request.get(url).body() for url in (place, link.evaluate("it => it.href"))]
    assert got[0] == got[1]


def test_a_name_that_turns_the_line_round_is_shown_and_does_not(site: Site) -> None:
    """What ends in "exe" does not look as if it ended in "png", in the question neither."""
    stored(site.daemon, "a\u202egnp.exe")
    found = site.page.locator("#files-rows .row")
    expect(found.locator(".name")).to_have_text("a\ufffdgnp.exe")
    found.get_by_role("button", name="Delete").click()
    expect(site.page.locator("#ask-what")).to_contain_text("a\ufffdgnp.exe")


def test_the_list_is_shown_page_by_page_newest_first(site: Site) -> None:
    filled(site, 120)
    page = site.page
    page.reload()
    expect(page.locator("#stored .row")).to_have_count(50)
    for count in (100, 120):
        page.get_by_role("button", name="Show more").click()
        expect(page.locator("#stored .row")).to_have_count(count)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert names(page) == [f"file {n}.bin" for n in reversed(range(120))]


def test_a_name_is_found_in_any_case_and_what_is_not_there_is_said(site: Site) -> None:
    page = site.page
    for name in ("Holiday Über 1.jpg", "holiday 2.jpg", "report.pdf"):
        stored(site.daemon, name)
    page.reload()
    expect(page.locator("#stored .row")).to_have_count(3)
    search(page, "HOLIDAY")
    expect(page.locator("#stored .row")).to_have_count(2)
    expect(page.locator("#said")).to_contain_text("2 files found")
    search(page, "über")
    expect(page.locator("#stored .row")).to_have_count(1)
    search(page, "<i>")
    expect(page.locator("#found")).to_have_text("No stored file has “<i>” in its name.")
    stored(site.daemon, "meanwhile.txt")  # is not what is looked for
    search(page, "")
    expect(page.locator("#stored .row")).to_have_count(4)
    expect(page.locator("#found")).to_be_hidden()


def test_what_one_has_uploaded_is_on_one_list_only(site: Site) -> None:
    page = site.page
    stored(site.daemon, "of-others.txt")
    choose(page, site.file("mine.txt"), site.file("mine too.txt"))
    says(page, "mine too.txt", "Stored")
    expect(file(page, "of-others.txt")).to_be_visible()
    assert names(page) == ["of-others.txt"]
    press(page, "Remove mine.txt from the list")
    expect(file(page, "mine.txt")).to_contain_text("yours")
    press(page, "Remove mine too.txt from the list")
    expect(file(page, "mine too.txt")).to_be_visible()
    page.reload()
    expect(file(page, "mine.txt")).to_contain_text("yours")
    assert sorted(names(page)) == ["mine too.txt", "mine.txt", "of-others.txt"]


# --- deleting -----------------------------------------------------------------------------------


def test_a_file_is_deleted_with_the_keyboard_after_a_question_that_is_easily_answered_with_no(
    site: Site,
) -> None:
    page = site.page
    for name in ("a.txt", "b.txt"):
        stored(site.daemon, name)
    expect(page.locator("#stored .row")).to_have_count(2)
    box = page.get_by_role("dialog")
    for key in ("Enter", "Escape"):
        tab_to(page, "Delete b.txt")
        page.keyboard.press("Enter")
        expect(box).to_contain_text("Delete b.txt (1 kB) from the server?")
        expect(box.get_by_role("button", name="No, keep")).to_be_focused()
        page.keyboard.press(key)
        expect(box).to_be_hidden()
        expect(page.get_by_role("button", name="Delete b.txt")).to_be_focused()
    assert (site.daemon.folder / "b.txt").exists()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(file(page, "b.txt")).to_have_count(0)
    expect(file(page, "a.txt")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("b.txt was deleted")
    assert not (site.daemon.folder / "b.txt").exists()


def test_what_anybody_deletes_is_gone_from_every_page_at_once(site: Site) -> None:
    page, second = site.page, site.visit()
    choose(page, site.file("film.bin"))
    says(page, "film.bin", "Stored")
    second.get_by_role("button", name="Delete film.bin").click()
    second.get_by_role("button", name="Delete file").click()
    expect(row(page, "film.bin")).to_have_count(0)
    expect(page.locator("#said")).to_contain_text("film.bin was deleted")
    expect(file(second, "film.bin")).to_have_count(0)
    expect(file(page, "film.bin")).to_have_count(0)


def test_what_is_deleted_stays_gone_when_an_older_answer_names_it(site: Site) -> None:
    """The server is asked what it stores, then the file goes, then the answer comes."""
    assert site.page.evaluate(
        """async () => {
          const { Stored } = await import("./-/stored.js");
          const frame = () => new Promise((go) => { requestAnimationFrame(go); });
          const known = { url: "/", size: 1, mediaType: "", at: 0, mine: false };
          const file = (id) => ({ id, name: `${id}.bin`, ...known });
          const asked = [];
          const list = () => new Promise((answer) => { asked.push(answer); });
          const stored = new Stored({ list }, () => false);
          const shown = async () => {
            await frame();
            await frame();
            const names = document.querySelectorAll("#files-rows .name");
            return [...names].map((one) => one.textContent.trim());
          };
          const before = { files: [file("film"), file("other")], next: null };
          const loading = stored.load("all");
          asked.shift()(before);
          await loading;
          const first = await shown();
          const again = stored.refresh();
          stored.deleted("film");
          asked.shift()(before);
          await again;
          stored.add(file("film")); // told late
          stored.add(file("third"));
          return [first, await shown()];
        }"""
    ) == [["film.bin", "other.bin"], ["third.bin", "other.bin"]]


def test_what_was_stored_before_the_page_came_is_gone_when_anybody_deletes_it(site: Site) -> None:
    place = stored(site.daemon, "old.bin")
    stored(site.daemon, "other.bin")
    site.page.reload()
    expect(site.page.locator("#stored .row")).to_have_count(2)
    id = place.split("/")[-2]
    urlopen(Request(f"{site.daemon.url}/api/upload/{id}", method="DELETE")).close()
    expect(file(site.page, "old.bin")).to_have_count(0)
    assert names(site.page) == ["other.bin"]


def test_a_file_that_cannot_be_deleted_stays_with_the_reason(site: Site) -> None:
    page = site.page
    stored(site.daemon, "a.txt")
    expect(file(page, "a.txt")).to_be_visible()
    page.route("**/api/upload/*", lambda route: route.abort())
    page.get_by_role("button", name="Delete a.txt").click()
    page.get_by_role("button", name="Delete file").click()
    expect(file(page, "a.txt").get_by_role("alert")).to_contain_text("It could not be deleted.")


# --- permission ---------------------------------------------------------------------------------


def test_where_not_everybody_may_see_all_one_sees_ones_own_and_may_delete_it(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        served(tmp_path / "store", "--set", "access.list=nobody") as stage,
        visited(browser, stage, tmp_path / "files") as site,
        sending(site.daemon, "secret.bin", 9000) as somebody,
    ):
        somebody.send(5000)
        stored(site.daemon, "of-others.txt")
        choose(site.page, site.file("mine.txt"))
        says(site.page, "mine.txt", "Stored")
        site.page.reload()
        expect(file(site.page, "mine.txt")).to_be_visible()
        assert names(site.page) == ["mine.txt"]
        expect(site.page.get_by_role("heading", name="Your stored files")).to_be_visible()
        expect(site.page.locator("#others")).to_be_hidden()
        site.page.get_by_role("button", name="Delete mine.txt").click()
        site.page.get_by_role("button", name="Delete file").click()
        expect(site.page.locator("#stored")).to_be_hidden()
        assert [path.name for path in site.daemon.folder.glob("*.txt")] == ["of-others.txt"]
        assert site.complaints == []


@pytest.mark.parametrize("status", [401, 403])
def test_what_the_server_refuses_to_list_is_not_shown_and_uploading_goes_on(
    site: Site, status: int
) -> None:
    page, asked = site.page, list[str]()

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=status, json={"code": "forbidden", "detail": "no"})

    page.route("**/api/**", refuse)
    stored(site.daemon, "there.txt")
    page.reload()
    assert site.daemon.settles(lambda: page.wait_for_timeout(20) or len(asked) >= 2)
    choose(page, site.file("mine.txt"))
    says(page, "mine.txt", "Stored")
    expect(page.locator("#stored")).to_be_hidden()
    expect(page.locator("#away")).to_be_hidden()


# --- very many ----------------------------------------------------------------------------------


def filled(site: Site, count: int) -> None:
    """Have the daemon know *count* stored files, as if each had been uploaded."""
    stored(site.daemon, "model.bin", 1000)
    site.daemon.terminate()
    ledger = sqlite3.connect(site.daemon.folder / ".uploadd" / "ledger.db")
    with ledger:
        columns = [row[1] for row in ledger.execute("PRAGMA table_info(uploads)")]
        model = dict(zip(columns, ledger.execute("SELECT * FROM uploads").fetchone(), strict=True))
        ledger.execute("DELETE FROM uploads")
        ledger.execute("DELETE FROM outbox")
        ledger.executemany(
            f"INSERT INTO uploads ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            ([*copied(model, number).values()] for number in range(count)),
        )
    ledger.close()
    site.daemon.start()
    site.door.lead_to(site.daemon.address[1])


def copied(model: dict[str, object], number: int) -> dict[str, object]:
    """One more upload like *model*."""
    made = {"id": f"{number:024}", "name": f"file {number}.bin", "path": f"{number}", "key": None}
    return model | made | {"created": 1e9 + number, "inode": 10**9 + number}


def test_a_hundred_thousand_files_are_searched_and_turned_over_and_the_rows_stay_bounded(
    site: Site,
) -> None:
    filled(site, MANY)
    page = site.page
    page.reload()
    rows, more = page.locator("#stored .row"), page.get_by_role("button", name="Show more")
    expect(rows).to_have_count(50)
    site.complaints.clear()  # of the restart
    search(page, "file 777.")  # among the oldest
    expect(rows).to_have_count(1)
    expect(more).to_be_hidden()
    search(page, "file 5")
    expect(rows).to_have_count(50)
    search(page, "")
    expect(file(page, f"file {MANY - 1}.bin")).to_be_visible()
    for turn in range(2, 13):
        expect(more).to_be_enabled()
        more.click()
        expect(file(page, f"file {MANY - 50 * turn}.bin")).to_have_count(1)
    expect(rows).to_have_count(500)
    assert names(page)[0] == f"file {MANY - 101}.bin"
    page.get_by_role("button", name="Back to the newest").click()
    expect(rows).to_have_count(50)
    assert names(page)[0] == f"file {MANY - 1}.bin"
    assert site.complaints == []
