"""A link to send one file, in a browser that has no token."""

from __future__ import annotations

import time
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.site import choose, row, says
from tests.e2e.daemon import Daemon
from uploadd.auth import files
from uploadd.protocol import tickets
from uploadd.protocol.tickets import Ticket


def test_a_stranger_sends_one_file_by_a_link(browser: Browser, tmp_path: Path) -> None:
    """It is gone from the address at once; a second file is refused with a sentence."""
    state = tmp_path / "served" / ".uploadd"
    (state / "tokens").mkdir(parents=True)
    ticket = Ticket("send", "t1", int(time.time()) + 600, owner="ana", max_length=1000)
    text = tickets.sign(files.new_key(str(state / "keys")), ticket)
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("one")
    two.write_text("two")
    with Daemon(tmp_path / "served") as daemon:
        daemon.start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(daemon.url + tickets.link(ticket, text))
        expect(page.locator("#token-form")).to_be_hidden()
        assert "ticket" not in page.url
        choose(page, one)
        says(page, "one.txt", "Stored")
        choose(page, two)
        expect(row(page, "two.txt")).to_contain_text("does not let you", timeout=20_000)
        context.close()
        assert (tmp_path / "served" / "one.txt").read_text() == "one"
        assert not (tmp_path / "served" / "two.txt").exists()
        assert text not in daemon.log
