"""How the daemon stands, as systemd hears it: whatever the disk does."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.notified import Ear
from tests.serve.desk import Desk, open_desk, virtual
from uploadd.standing import INTERVAL, LONGEST, Standing
from uploadd.systemd import EXTENSION, Notifier


@asynccontextmanager
async def standing(ear: Ear, desk: Desk) -> AsyncIterator[Standing]:
    """A daemon that serves *desk* and tells *ear*."""
    told = Standing(Notifier({"NOTIFY_SOCKET": ear.address}))
    async with trio.open_nursery() as main:
        await told.serving([], desk.uploads, lambda: "", tls=False)
        assert ear.hear()["READY"] == "1"
        main.start_soon(told.run)
        yield told
        main.cancel_scope.cancel()


@virtual
async def test_a_disk_that_fails_or_hangs_is_in_the_line_and_ends_nothing(tmp_path: Path) -> None:
    """Nor does a reload wait for it."""
    with Ear(tmp_path / "notify") as ear:
        async with open_desk() as desk, standing(ear, desk) as told:
            await trio.sleep(INTERVAL + 1)
            ear.hear()
            assert ear.hear()["STATUS"].endswith("free")
            desk.store.fail_next["room"] = errno.EIO
            await trio.sleep(2 * INTERVAL)
            said = [ear.hear()["STATUS"] for _ in range(2)]
            assert any("EIO" in line for line in said), said
            desk.store.clog("room")
            await trio.sleep(2 * INTERVAL)
            said = [ear.hear()["STATUS"] for _ in range(2)]
            assert said[-1].endswith("the disk does not answer")
            async with told.reloading():
                assert ear.hear()["RELOADING"] == "1"
            assert ear.hear()["READY"] == "1"


@virtual
async def test_more_time_to_stop_is_asked_for_so_long_and_no_longer(tmp_path: Path) -> None:
    """Then systemd ends it: nothing that was acknowledged is lost."""
    with Ear(tmp_path / "notify") as ear:
        async with open_desk() as desk, standing(ear, desk) as told:
            await trio.sleep(1)
            ear.hear()
            await told.stopping()
            began, last = trio.current_time(), 0.0
            assert ear.hear()["STOPPING"] == "1"
            assert "EXTEND_TIMEOUT_USEC" in ear.hear()
            while trio.current_time() - began < 2 * LONGEST:
                await trio.sleep(INTERVAL)
                if "EXTEND_TIMEOUT_USEC" in ear.hear():
                    last = trio.current_time() - began
            assert LONGEST - INTERVAL <= last + INTERVAL <= LONGEST + EXTENSION
