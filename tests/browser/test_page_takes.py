"""What the page takes: drops, choices and pastes; and what becomes of it in the folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.door import Door
from tests.browser.site import MB, Site, choose, press, row, says, served, visited
from tests.e2e.daemon import Daemon


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Door]]:
    """One daemon for all users of this file."""
    with served(tmp_path_factory.mktemp("store")) as it:
        yield it


@pytest.fixture
def site(browser: Browser, stage: tuple[Daemon, Door], tmp_path: Path) -> Iterator[Site]:
    """A new user's page."""
    with visited(browser, stage, tmp_path) as it:
        yield it


def drop(page: Page, *paths: Path) -> None:
    """Drag *paths* from the desktop over the page, and let go."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 20, "y": 20, "data": data})
        if kind == "dragOver":
            expect(page.locator("#over")).to_be_visible()
    expect(page.locator("#over")).to_be_hidden()


def test_a_file_dropped_anywhere_is_stored_and_linked(site: Site) -> None:
    source = site.file("holiday.bin", 3 * MB)
    drop(site.page, source)
    says(site.page, "holiday.bin", "Stored")
    assert site.arrived(source)
    link = row(site.page, "holiday.bin").get_by_role("link", name="holiday.bin", exact=True)
    assert site.page.request.get(link.evaluate("it => it.href")).body() == source.read_bytes()


def test_folders_are_walked_and_keep_their_paths_and_empty_ones_are_ignored(site: Site) -> None:
    sources = [site.file(f"trip/day {day}/{name}") for day in (1, 2) for name in ("a.txt", "b.txt")]
    (sources[0].parents[1] / "nothing in it").mkdir()
    drop(site.page, sources[0].parents[1])
    for source in sources:
        says(site.page, f"trip/{source.parent.name}/{source.name}", "Stored")
    assert site.page.locator("#rows .row").count() == 4


def test_an_empty_folder_is_explained(site: Site) -> None:
    empty = site.file("something/file").parent.with_name("empty")
    empty.mkdir()
    drop(site.page, empty)
    expect(site.page.locator("#note")).to_contain_text("Empty folders are not uploaded")
    assert site.page.locator("#rows .row").count() == 0


def test_a_chosen_folder_keeps_its_paths(site: Site) -> None:
    source = site.file("album/2026/a.jpg")
    asked: list[str] = []
    site.page.on("websocket", lambda it: it.on("framesent", lambda said: asked.append(str(said))))
    site.page.set_input_files("#folder", source.parents[1])
    says(site.page, "album/2026/a.jpg", "Stored")
    assert any('"relativePath":"album/2026/a.jpg"' in text for text in asked)
    assert site.arrived(source, "album/2026/a.jpg")


def test_pasted_text_and_pictures_become_files(site: Site) -> None:
    page = site.page
    site.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('grüße')")
    page.keyboard.press("Control+V")
    says(page, ".txt", "Stored")
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 2, height: 2 });
          const blob = await new Promise((go) => canvas.toBlob(go));
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }"""
    )
    page.keyboard.press("Control+V")
    says(page, ".png", "Stored")
    names = [path.name for path in site.daemon.folder.glob("Pasted*")]
    assert sorted(re.sub(r"\d", "0", name) for name in names) == [
        "Pasted 0000-00-00 00.00.00.png",
        "Pasted 0000-00-00 00.00.00.txt",
    ]
    [text] = site.daemon.folder.glob("Pasted*.txt")
    assert text.read_text() == "grüße"


def test_pasting_into_the_token_field_uploads_nothing(site: Site) -> None:
    page = site.page
    site.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("document.getElementById('token-form').hidden = false")
    page.evaluate("navigator.clipboard.writeText('secret')")
    page.locator("#token").focus()
    page.keyboard.press("Control+V")
    expect(page.locator("#token")).to_have_value("secret")
    assert page.locator("#rows .row").count() == 0


def test_twenty_files_are_all_stored_and_can_be_cleared_away(site: Site) -> None:
    sources = [site.file(f"{number:02}.bin", 20_000 + number) for number in range(20)]
    choose(site.page, *sources)
    expect(site.page.locator("#sum")).to_have_text("All 20 files are stored", timeout=20_000)
    assert all(site.arrived(source) for source in sources)
    assert site.page.title().startswith("Stored")
    press(site.page, "Clear finished")
    expect(site.page.locator("#rows .row")).to_have_count(0)
    expect(site.page.locator("#zone")).to_be_focused()


def test_an_empty_file_is_stored(site: Site) -> None:
    source = site.file("empty.txt", 0)
    choose(site.page, source)
    says(site.page, "empty.txt", "Stored")
    assert site.arrived(source)


def test_a_file_over_the_limit_is_refused_in_words_and_nothing_of_it_is_sent(
    browser: Browser, tmp_path: Path
) -> None:
    limit = ("--set", "limits.max_length=2 MB")
    with (
        served(tmp_path / "store", *limit) as stage,
        visited(browser, stage, tmp_path / "files") as site,
    ):
        said: list[str] = []
        site.page.on("websocket", lambda it: it.on("framesent", lambda one: said.append(str(one))))
        choose(site.page, site.file("film.mov", 3 * MB))
        says(site.page, "film.mov", "this file has 3 MB, and this server takes up to 2 MB")
        expect(row(site.page, "film.mov").get_by_role("alert")).to_be_visible()
        assert not [one for one in said if "begin" in one]
        small = site.file("small.mov", 1 * MB)
        choose(site.page, small)
        says(site.page, "small.mov", "Stored")
        press(site.page, "Remove film.mov from the list")
        expect(site.page.locator("#rows .row")).to_have_count(1)


def test_a_link_is_copied_and_said_aloud_and_leads_to_the_file(site: Site) -> None:
    source = site.file("für Ana & Co #1.txt", 5000)
    site.context.grant_permissions(["clipboard-read", "clipboard-write"])
    choose(site.page, source)
    says(site.page, source.name, "Stored")
    press(site.page, f"Copy link: {source.name}")
    expect(site.page.locator("#said")).to_contain_text("Link copied")
    address = site.page.evaluate("navigator.clipboard.readText()")
    assert site.page.request.get(address).body() == source.read_bytes()


def test_a_preview_plays_from_the_server_and_seeks(site: Site) -> None:
    page = site.page
    choose(page, wave(site.file("tone.wav")))
    says(page, "tone.wav", "Stored")
    press(page, "Preview: tone.wav")
    audio = row(page, "tone.wav").locator("audio")
    audio.evaluate(
        "async it => { while (it.readyState < 1) await new Promise(go => setTimeout(go, 20)); }"
    )
    assert audio.evaluate("it => it.duration") == pytest.approx(20)
    audio.evaluate("it => new Promise((go) => { it.onseeked = go; it.currentTime = 15; })")
    assert "/f/" in audio.evaluate("it => it.currentSrc")
    press(page, "Preview: tone.wav")
    expect(audio).to_have_count(0)
    assert site.complaints == []


def wave(path: Path) -> Path:
    """Make *path* twenty seconds of silence."""
    rate, seconds = 8000, 20
    size = rate * seconds
    head = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += b"\x01\x00\x01\x00" + rate.to_bytes(4, "little") * 2 + b"\x01\x00\x08\x00"
    path.write_bytes(head + b"data" + size.to_bytes(4, "little") + b"\x80" * size)
    return path
