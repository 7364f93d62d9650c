"""``make bench``: the short form.  Files on tmpfs; A B A B; medians, min, max; ratios in pairs.

Run it when nothing else runs.  Figures drift between runs; what counts is the last column.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import trio

from bench import core, http, load, servers
from bench.browser import Chromium

GIB = 1 << 30
MB = 1e6
ROUNDS = 5


def main() -> None:
    """Every scenario, or those named on the command line; a row each."""
    scratch = Path(tempfile.mkdtemp(prefix="uploadd-bench-", dir="/dev/shm"))
    try:
        print("| scenario | uploadd: median (min - max) | beside it | ratio |")
        print("|---|---|---|---|")
        for scenario in SCENARIOS:
            if not sys.argv[1:] or scenario.__name__ in sys.argv[1:]:
                scenario(scratch)
    finally:
        shutil.rmtree(scratch)


def row(
    what: str, unit: str, ours: list[float], name: str = "", theirs: Sequence[float] = ()
) -> None:
    """Print one line of the table."""
    told = f"{median(ours):.0f} ({min(ours):.0f} - {max(ours):.0f}) {unit}"
    other = ratio = ""
    if theirs:
        other = f"{name}: {median(theirs):.0f} ({min(theirs):.0f} - {max(theirs):.0f})"
        ratio = f"{median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}"
    print(f"| {what} | {told} | {other} | {ratio} |", flush=True)


def rounds(*measured: Callable[[], float]) -> list[list[float]]:
    """Each in turn, A B A B, after one round that does not count."""
    figures = [[one() for one in measured] for _ in range(ROUNDS + 1)][1:]
    return [list(column) for column in zip(*figures, strict=True)]


def small_uploads(scratch: Path) -> None:
    for at_once in (32, 256):
        figures = []
        for number in range(3):
            folder = scratch / f"small-{at_once}-{number}"
            folder.mkdir()
            figures.append(trio.run(core.small_uploads, folder, 6000, at_once))
        row(f"10 KiB uploads, durable, {at_once} at once, store + ledger + commit", "/s", figures)


def stop_and_wait(scratch: Path) -> None:
    folder = scratch / "stop-and-wait"
    size = 20 << 20
    with servers.uploadd(folder) as (port, _):
        figures = [size / MB / load.upload(port, size, 10240, flush=True) for _ in range(3)]
    row("stop and wait, 10 KiB chunks, flush flag, durable", "MB/s", figures)


def websocket(scratch: Path) -> None:
    if not servers.install_node_peer():
        print("| WebSocket | no node or no registry: not compared | | |")
        return
    for chunk in (64 << 10, 256 << 10, 1 << 20):
        target = scratch / "node.bin"
        with (
            servers.uploadd(scratch / "written", "durability.ack=written") as (written, _),
            servers.uploadd(scratch / "durable") as (durable, _),
            servers.node_ws(target, GIB) as node,
        ):

            def ours(port: int, folder: str, chunk: int = chunk) -> float:
                seconds = load.upload(port, GIB, chunk)
                for file in (scratch / folder).glob("bench*.bin"):
                    file.unlink()  # tmpfs: costs nothing, and memory is not endless
                return GIB / MB / seconds

            figures = rounds(
                lambda: ours(written, "written"),
                lambda: GIB / MB / load.plain_upload(node, GIB, chunk),  # noqa: B023
                lambda: ours(durable, "durable"),
            )
        target.unlink()
        size = f"{chunk >> 10} KiB"
        row(f"1 GiB, WebSocket, {size}, written", "MB/s", figures[0], "Node ws", figures[1])
        row(f"1 GiB, WebSocket, {size}, durable", "MB/s", figures[2], "written", figures[0])


def tus(scratch: Path) -> None:
    """Beside @tus/server."""
    if not servers.install_node_peer():
        print("| tus | no node or no registry: not compared | | |")
        return
    source = scratch / "source.bin"
    source.write_bytes(os.urandom(1 << 20) * 2048)
    ours, theirs = scratch / "tus-written", scratch / "tus-node"
    with (
        servers.uploadd(ours, "durability.ack=written") as (written, pid),
        servers.uploadd(scratch / "tus-durable") as (durable, _),
        servers.node_tus(theirs) as (node, node_pid),
    ):

        def patch(port: int, path: str, folder: Path, connections: int) -> float:
            rate = http.patch(port, path, source, connections)
            for file in folder.iterdir():
                if file.is_file():
                    file.unlink()  # tmpfs: costs nothing, and memory is not endless
            return rate / MB

        for connections in (1, 4):
            cpu = [servers.cpu(pid), servers.cpu(node_pid)]
            figures = rounds(
                lambda: patch(written, "/files/", ours, connections),  # noqa: B023
                lambda: patch(node, "/files", theirs, connections),  # noqa: B023
                lambda: patch(durable, "/files/", scratch / "tus-durable", connections),  # noqa: B023
            )
            used = [servers.cpu(pid) - cpu[0], servers.cpu(node_pid) - cpu[1]]
            what = f"tus PATCH of 2 GiB, {connections} connections"
            row(f"{what}, written", "MB/s", figures[0], "@tus/server", figures[1])
            row(f"{what}, durable", "MB/s", figures[2], "written", figures[0])
            row(f"{what}, processor time", "s", used[:1], "@tus/server", used[1:])
        source.unlink()
        figures = rounds(
            lambda: http.small(durable, "/files/", 4000, 10240, 32),
            lambda: http.small(node, "/files", 2000, 10240, 32),
            lambda: http.small(written, "/files/", 4000, 10240, 32),
        )
        what = "tus creation with 10 KiB, 32 connections"
        row(f"{what}, durable", "/s", figures[0], "@tus/server", figures[1])
        row(f"{what}, written", "/s", figures[2], "@tus/server", figures[1])


def browser(scratch: Path) -> None:
    if not shutil.which("chromium"):
        print("| chromium | not here: apt install chromium | | |")
        return
    source, heaps = scratch / "browser.bin", []
    source.write_bytes(os.urandom(1 << 20) * 1024)
    with servers.uploadd(scratch / "browser") as (port, _), Chromium() as chromium:
        chromium.open(f"http://127.0.0.1:{port}", source)

        def upload() -> float:
            seconds, heap = chromium.upload()
            heaps.append(heap / (1 << 20))
            for file in (scratch / "browser").glob("bench*.bin"):
                file.unlink()
            return GIB / MB / seconds

        row("1 GiB from chromium, durable", "MB/s", rounds(upload)[0])
        row("the most heap that the tab had", "MiB", heaps)
    source.unlink()


def downloads(scratch: Path) -> None:
    folder = scratch / "down"
    with servers.uploadd(folder) as (port, _):
        ws_seconds = load.upload(port, GIB, 1 << 20)
        assert ws_seconds > 0
        path = _published(folder)
        with servers.nginx(folder) as beside:
            figures = rounds(
                lambda: _rate(port, path),
                lambda: _rate(beside, "/bench.bin"),
            )
    row("GET of 1 GiB", "MB/s", figures[0], "nginx", figures[1])


def _rate(port: int, path: str) -> float:
    return load.download(port, path) / MB


def _published(folder: Path) -> str:
    with sqlite3.connect(f"file:{folder}/.uploadd/ledger.db?mode=ro", uri=True) as db:
        (id,) = db.execute("SELECT id FROM uploads").fetchone()
    return f"/f/{id}/bench.bin"


def idle_sessions(scratch: Path) -> None:
    with servers.uploadd(scratch / "idle") as (port, pid):
        warm = load.WebSocket(port)
        warm.send_text({"type": "hello"})
        warm.messages()
        before = servers.rss(pid)
        sockets = []
        for _ in range(2000):
            ws = load.WebSocket(port)
            ws.send_text({"type": "hello"})
            ws.messages()
            sockets.append(ws)
        grown = (servers.rss(pid) - before) / (1 << 20)
    row("2 000 idle sessions, growth of RSS", "MiB", [grown])


SCENARIOS = (*(small_uploads, stop_and_wait, websocket, tus, browser, downloads, idle_sessions),)

if __name__ == "__main__":
    main()
