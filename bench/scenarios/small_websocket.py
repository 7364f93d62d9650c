"""Small uploads in WebSocket sessions: files of 10 KiB a second, pipelined, with the flag *last*.

One session with up to 256 under way, which is how a folder of small files is sent; then eight.
"""

from bench.contenders import uploadd
from bench.harness import PER_SECOND, Bench
from bench.load import small
from bench.places import DISK, JOURNAL, TMPFS

SIZE = 10240


def run(bench: Bench) -> None:
    """Nobody else has this; the ratio is that of durable to written."""
    count = bench.pick(short=1500, full=5000)
    places = bench.pick(short=(TMPFS, JOURNAL), full=(TMPFS, DISK, JOURNAL))
    for place in bench.at(*places, what="small uploads in a session"):
        with bench.servers(place, uploadd.DURABLE, uploadd.WRITTEN) as servers:
            for sessions in bench.pick(short=(1,), full=(1, 8)):
                bench.compare(
                    f"10 KiB each, {sessions} sessions",
                    place,
                    servers,
                    lambda server: small.upload(server, count, SIZE, sessions),
                    PER_SECOND,
                )
