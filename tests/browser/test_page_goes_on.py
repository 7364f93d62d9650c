"""Uploads that are paused, cancelled, interrupted or refused: what is said, and how they go on."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, WebSocketRoute, expect

from tests.browser.door import Door
from tests.browser.road import Road
from tests.browser.site import LARGE, MB, Site, choose, press, says, served, visited
from tests.e2e.daemon import Daemon

NO_PICKER = "delete window.showOpenFilePicker"


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


def growing(site: Site) -> int:
    """How many uploads the daemon holds that are not finished."""
    return len(list((site.daemon.folder / ".uploadd" / "growing").iterdir()))


def some_stored(page: Page, *names: str) -> None:
    """Wait until something of each is stored, and that is written down."""
    for name in names:
        says(page, name, "MB stored")


# --- what the user does -----------------------------------------------------------------------


def test_an_upload_is_paused_and_goes_on(site: Site) -> None:
    source = site.file("film.bin", 16 * MB)
    site.door.hold(3 * MB)
    choose(site.page, source)
    some_stored(site.page, "film.bin")
    press(site.page, "Pause film.bin")
    says(site.page, "film.bin", "Paused")
    site.door.let_go()
    press(site.page, "Go on with film.bin")
    says(site.page, "film.bin", "Stored")
    assert site.arrived(source)


def test_a_cancelled_upload_is_deleted_on_the_server_and_can_be_sent_again(site: Site) -> None:
    source, before = site.file("film.bin", LARGE), growing(site)
    site.door.slow(4 * MB)
    choose(site.page, source)
    some_stored(site.page, "film.bin")
    assert growing(site) == before + 1
    press(site.page, "Cancel film.bin")
    says(site.page, "film.bin", "Cancelled")
    assert site.daemon.settles(lambda: growing(site) == before)
    site.door.let_go()
    press(site.page, "Upload again: film.bin")
    says(site.page, "film.bin", "Stored")
    expect(site.page.locator("#rows .row")).to_have_count(1)
    assert site.arrived(source)


def test_all_are_paused_resumed_and_cancelled_together(site: Site) -> None:
    names, before = [f"{number}.bin" for number in range(20)], growing(site)
    site.door.hold(2 * MB)
    choose(site.page, *[site.file(name, 1 * MB) for name in names])
    expect(site.page.locator("#rows .row")).to_have_count(20)
    press(site.page, "Pause all")
    paused = site.page.locator("#rows .row[data-phase=paused]")
    expect(paused.first).to_be_visible()
    press(site.page, "Go on with all")
    expect(paused).to_have_count(0)
    press(site.page, "Cancel all")
    press(site.page, "No, keep")
    expect(site.page.locator("#rows .row[data-phase=cancelled]")).to_have_count(0)
    press(site.page, "Cancel all")
    site.page.get_by_role("dialog").get_by_role("button", name="Cancel all").click()
    site.door.let_go()
    over = site.page.locator("#rows .row:is([data-phase=cancelled], [data-phase=done])")
    expect(over).to_have_count(20)
    assert site.daemon.settles(lambda: growing(site) == before)


def test_leaving_is_asked_about_only_while_something_is_not_stored(site: Site) -> None:
    page, asked = site.page, []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.locator("h1").click()  # browsers ask only those who have touched the page
    site.door.hold(1 * MB)
    choose(page, site.file("film.bin", 16 * MB))
    says(page, "film.bin", "Uploading")
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    site.door.let_go()
    says(page, "film.bin", "Stored")
    with page.expect_event("close"):
        page.close(run_before_unload=True)
    assert asked == ["beforeunload"]


# --- after a reload ---------------------------------------------------------------------------


def test_three_uploads_go_on_after_a_reload_and_a_restart_of_the_daemon(site: Site) -> None:
    page, sent = site.page, [0]
    sources = [site.file(f"{name}.bin", 10 * MB) for name in "abc"]
    site.door.slow(6 * MB)
    choose(page, *sources)
    some_stored(page, "a.bin", "b.bin", "c.bin")
    page.reload()
    site.door.let_go()
    site.restart()
    for source in sources:
        says(page, source.name, "Choose the same file again")
    assert "choose again" in page.locator("#sum").inner_text()
    page.on("websocket", lambda it: it.on("framesent", lambda said: count(sent, said)))
    choose(page, *sources)
    for source in sources:
        says(page, source.name, "Stored")
        assert site.arrived(source)
    assert sent[0] < 30 * MB
    assert len(list(site.daemon.folder.glob("[abc]*.bin"))) == 3  # nothing twice


def count(total: list[int], said: str | bytes) -> None:
    """Add the bytes of one chunk."""
    total[0] += len(said) if isinstance(said, bytes) else 0


def test_another_file_is_not_taken_for_the_same(site: Site) -> None:
    page, source = site.page, site.file("film.bin", LARGE)
    site.context.add_init_script(NO_PICKER)
    site.door.hold(3 * MB)
    choose(page, source)
    some_stored(page, "film.bin")
    page.reload()
    site.door.let_go()
    again = "Choose the file again: film.bin"
    for chosen, words in ((site.file("x/film.bin", LARGE), "another file"), (source, "Stored")):
        with page.expect_file_chooser() as picker:
            press(page, again)
        picker.value.set_files(chosen)
        says(page, "film.bin", words)
    assert site.arrived(source)
    expect(page.locator("#rows .row")).to_have_count(1)


def test_files_that_nobody_waits_for_are_asked_about(site: Site) -> None:
    page, source, other = site.page, site.file("film.bin", LARGE), site.file("other.bin")
    site.door.hold(3 * MB)
    choose(page, source)
    some_stored(page, "film.bin")
    page.reload()
    site.door.let_go()
    says(page, "film.bin", "Choose the same file again")
    choose(page, source, other)
    press(page, "Leave out")
    says(page, "film.bin", "Stored")
    expect(page.locator("#rows .row")).to_have_count(1)


def test_with_a_handle_an_upload_goes_on_after_a_reload_without_choosing(site: Site) -> None:
    """The browser's own file system gives real handles, and asks nobody."""
    page = site.page
    site.context.add_init_script(
        """window.showOpenFilePicker = async () => {
          const folder = await navigator.storage.getDirectory();
          const handle = await folder.getFileHandle("kept.bin", { create: true });
          if (!(await handle.getFile()).size) {
            const file = await handle.createWritable();
            await file.write(new Uint8Array(6e6).fill(7));
            await file.close();
          }
          return [handle];
        }"""
    )
    page.reload()
    site.door.hold(3 * MB)
    page.locator("#zone").click()
    some_stored(page, "kept.bin")
    page.reload()
    site.door.let_go()
    says(page, "kept.bin", "Stored")
    assert (site.daemon.folder / "kept.bin").read_bytes() == b"\7" * 6_000_000


def test_the_newest_tab_takes_an_upload_over_and_the_other_can_take_it_back(site: Site) -> None:
    site.context.add_init_script("delete Navigator.prototype.locks")  # as without https
    first, source = site.page, site.file("film.bin", LARGE)
    first.reload()
    site.door.slow(3 * MB)
    choose(first, source)
    some_stored(first, "film.bin")
    second = site.visit()
    says(second, "film.bin", "Choose the same file again")
    choose(second, source)
    says(first, "film.bin", "goes on elsewhere")
    press(first, "Go on here: film.bin")
    says(second, "film.bin", "goes on elsewhere")
    site.door.let_go()
    says(first, "film.bin", "Stored")
    says(second, "film.bin", "Stored")  # whoever carried it
    assert site.arrived(source)


# --- what goes wrong --------------------------------------------------------------------------


def test_a_restart_of_the_daemon_is_said_and_the_upload_goes_on(site: Site) -> None:
    page, source = site.page, site.file("film.bin", LARGE)
    site.door.slow(5 * MB)
    choose(page, source)
    some_stored(page, "film.bin")
    site.daemon.terminate()
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text("goes on by itself")
    expect(trouble).to_have_role("alert")
    says(page, "film.bin", "Trying again")
    site.daemon.start()
    site.door.lead_to(site.daemon.address[1])
    site.door.let_go()
    says(page, "film.bin", "Stored", 40)
    expect(trouble).to_be_hidden()
    assert site.arrived(source)


def test_files_that_come_while_the_browser_is_offline_wait_for_the_network(site: Site) -> None:
    source = site.file("film.bin", 1 * MB)
    site.context.set_offline(True)
    choose(site.page, source)
    expect(site.page.locator("#trouble")).to_contain_text("You are offline")
    says(site.page, "film.bin", "Waiting for the network")
    site.context.set_offline(False)
    says(site.page, "film.bin", "Stored")
    assert site.arrived(source)


def test_a_file_that_changes_on_the_way_can_be_chosen_again_as_it_is_now(site: Site) -> None:
    page, source = site.page, site.file("film.bin", LARGE)
    site.context.add_init_script(NO_PICKER)
    page.reload()
    site.door.hold(3 * MB)
    choose(page, source)
    some_stored(page, "film.bin")
    site.file("film.bin", 5 * MB)
    site.door.let_go()
    says(page, "film.bin", "changed")
    with page.expect_file_chooser() as picker:
        press(page, "Choose the file again: film.bin")
    picker.value.set_files(source)
    says(page, "film.bin", "Stored")
    expect(page.locator("#rows .row")).to_have_count(1)
    assert site.arrived(source)


def test_a_proxy_that_takes_the_upgrade_away_is_no_obstacle(
    road: Road, open_page: Callable[[str], Page], tmp_path: Path
) -> None:
    road.strips = True
    page = open_page(road.url)
    source = tmp_path / "film.bin"
    source.write_bytes(b"film")
    choose(page, source)
    says(page, "film.bin", "Stored")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="uploadd-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "uploadd", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_is_said_and_the_upload_goes_on_when_there_is_room(
    browser: Browser, tmp_path: Path, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(9 << 20))
    store = small_disk / "store"
    with (
        served(store, "--set", "storage.min_free=0") as stage,
        visited(browser, stage, tmp_path) as site,
    ):
        source = site.file("film.bin", 10 * MB)
        choose(site.page, source)
        says(site.page, "film.bin", "disk is full")
        filler.unlink()
        says(site.page, "film.bin", "Stored", 40)
        assert site.arrived(source)


def test_a_token_is_asked_for_kept_in_the_tab_and_never_in_the_address(site: Site) -> None:
    """The daemon asks nobody yet: the one who stands between does."""

    held: list[WebSocketRoute] = []

    def refuse(here: WebSocketRoute) -> None:
        here.send(json.dumps({"type": "error", "code": "token", "message": "no", "final": True}))
        here.close(code=4401)

    def guard(here: WebSocketRoute) -> None:
        there = here.connect_to_server()

        def pass_on(said: str | bytes) -> None:
            hello = json.loads(said) if isinstance(said, str) else {}
            if hello.get("type") != "hello" or hello.get("token") == "open sesame":
                there.send(said)
            elif hello.get("token") == "still wrong":
                held.append(here)
            else:
                refuse(here)

        here.on_message(pass_on)

    page, source = site.page, site.file("film.bin", 10_000)
    page.route_web_socket("**/-/ws", guard)
    page.reload()
    choose(page, source)
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    for token, words in (("wrong", "did not accept"), ("still wrong", "did not accept")):
        field.fill(token)
        field.press("Enter")
        if token == "still wrong":  # nobody thinks that nothing happens
            expect(page.locator("#token-why")).to_contain_text("Asking the server")
            assert site.daemon.settles(lambda: page.wait_for_timeout(20) or bool(held))
            refuse(held.pop())
        expect(page.locator("#token-why")).to_contain_text(words)
        expect(field).to_be_focused()
    field.fill("open sesame")
    field.press("Enter")
    says(page, "film.bin", "Stored")
    expect(field).to_be_hidden()
    assert "sesame" not in page.url
    page.reload()
    choose(page, site.file("next.bin"))
    says(page, "next.bin", "Stored")


def test_a_server_that_confirms_before_the_disk_does_says_so_loudly(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        served(tmp_path / "store", "--set", "durability.ack=written") as stage,
        visited(browser, stage, tmp_path) as site,
    ):
        expect(site.page.locator("#loud")).to_contain_text("not safe from a power cut")
        choose(site.page, site.file("film.bin"))
        says(site.page, "film.bin", "Stored")
        expect(site.page.locator("#loud")).to_be_visible()
        expect(site.page.locator("#promise")).to_be_hidden()
