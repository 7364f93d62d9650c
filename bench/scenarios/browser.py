"""One large file from chromium: what the page's own client does, and the most heap the tab had."""

import os

from bench.browser import Chromium
from bench.contenders import uploadd
from bench.harness import Bench
from bench.machine import find
from bench.places import MIB, TMPFS


def run(bench: Bench) -> None:
    """The long form only: starting a browser takes longer than the rest."""
    if bench.form == "short":
        return
    if find("chromium") is None:
        bench.skip("upload from chromium", "chromium is not here: apt install chromium")
        return
    size = 1024 * MIB
    for place in bench.at(TMPFS):
        source = bench.folder(place) / "source"
        source.write_bytes(os.urandom(MIB) * (size // MIB))
        profile = bench.folder(place, "profile")
        with bench.servers(place, uploadd.DURABLE) as (server,), Chromium(profile) as chromium:
            chromium.open(f"http://127.0.0.1:{server.port}", source)
            rates, heaps = [], []
            for number in range(bench.rounds(place) + 1):
                seconds, heap = chromium.upload()
                server.clean()
                if number:
                    rates.append(size / 1e6 / seconds)
                    heaps.append(heap / MIB)
            bench.figure("1 GiB from chromium", place, server.name, "MB/s", rates,
                         durability="durable", flushes=True)  # fmt: skip
            bench.figure("the most heap of the tab", place, server.name, "MiB", heaps,
                         better="less", durability="durable", flushes=True)  # fmt: skip
