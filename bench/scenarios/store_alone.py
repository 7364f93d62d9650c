"""Small uploads through store, ledger and group commit alone: no network, no protocol.

The limit for both ways of sending many small files.
"""

import trio

from bench import core
from bench.contenders.server import Server
from bench.harness import PER_SECOND, Bench
from bench.load.workers import Go, Load, Part, together
from uploadd import __version__


def run(bench: Bench) -> None:
    """32 and 256 at once."""
    count = bench.pick(short=2000, full=8000)
    for place in bench.everywhere("store alone"):
        for at_once in (32, 256):
            server = Server("uploadd without network", __version__, 0, durability="durable",
                            flushes=True)  # fmt: skip

            def turn(server: Server, at_once: int = at_once) -> Load:
                folder = bench.folder(place)

                def job(go: Go) -> Part:
                    trio.run(core.small_uploads, folder, count, at_once, go)
                    return Part(count, count * 10240)

                try:
                    return together(server, job)
                finally:
                    bench.wipe(place, folder)

            bench.compare(f"10 KiB each, {at_once} at once", place, [server], turn, PER_SECOND)
