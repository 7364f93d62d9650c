"""Growth of the ledger: small uploads a second, start-up and memory with 1, 10⁴ and 10⁶ uploads.

The ledger is filled with copies of the row of a real upload; their files are not there, which
nobody notices until somebody asks for them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.contenders import uploadd
from bench.contenders.server import Server, Starter, contender
from bench.harness import PER_SECOND, Bench
from bench.load import small
from bench.proc import rss

SIZE = 10240


def run(bench: Bench) -> None:
    """All published, as after a year of use."""
    count = bench.pick(short=2000, full=4000)
    for place in bench.everywhere("growth of the ledger"):
        with bench.servers(
            place,
            *map(_filled, bench.pick(short=(1, 10_000), full=(1, 10_000, 1_000_000))),
        ) as servers:
            for server in servers:
                bench.figure("start-up", place, server.name, "ms", [server.started * 1e3],
                             better="less")  # fmt: skip
            for server in servers:
                resident = rss(server.pids[0]) / (1 << 20)
                bench.figure("memory after the start", place, server.name, "MiB", [resident],
                             better="less")  # fmt: skip
            bench.compare(
                "10 KiB uploads in one session, durable",
                place,
                servers,
                lambda server: small.upload(server, count, SIZE),
                PER_SECOND,
            )


def _filled(uploads: int) -> Starter:
    name = f"uploadd, {uploads:,} uploads"

    @contender(name)
    def start(folder: Path) -> Iterator[Server]:
        with uploadd.DURABLE(folder) as server:
            small.upload(server, 1, SIZE)
        with closing(sqlite3.connect(folder / ".uploadd" / "ledger.db")) as db, db:
            _copy(db, uploads - 1)
        with uploadd.DURABLE(folder) as server:
            server.name = name
            yield server

    return start


def _copy(db: sqlite3.Connection, count: int) -> None:
    """*count* copies of the row that there is, each with an id and a path of its own."""
    names = [name for _, name, *_ in db.execute("PRAGMA table_info(uploads)")]
    own = {"id": "lower(hex(randomblob(16)))", "path": "'copy-' || n || '.jpg'", "key": "NULL"}
    values = ", ".join(own.get(name, name) for name in names)
    db.execute(
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        f"INSERT INTO uploads ({', '.join(names)}) "
        f"SELECT {values} FROM numbers, (SELECT * FROM uploads LIMIT 1) WHERE ? > 0",
        (count, count),
    )
