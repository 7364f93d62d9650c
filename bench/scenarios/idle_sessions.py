"""Idle WebSocket sessions: what each costs in memory, up to the limit of descriptors.

Beside Node's ws, which keeps no state of uploads.
"""

import resource

from bench.contenders import node, uploadd
from bench.contenders.server import Server
from bench.harness import Bench, Measure
from bench.load import ws
from bench.load.workers import Go, Job, Load, Part, together
from bench.proc import rss
from uploadd.listening import shares

SPARE = 50
"""Connections of others: a browser of the operator, say."""
EACH = Measure("KiB", lambda load: load.extra["each"], "less", "resident for each")
ALL = Measure("MiB", lambda load: load.extra["all"], "less", "resident in all")


def run(bench: Bench) -> None:
    """Measured while they are open, against the same process before them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = bench.pick(short=2000, full=10000)
    sessions = min(wanted, shares(files)[0] - SPARE)
    for place in bench.everywhere("idle sessions"):
        with bench.servers(place, uploadd.DURABLE, node.ws) as servers:
            bench.compare(
                f"{sessions} idle sessions",
                place,
                servers,
                lambda server: _turn(server, sessions),
                *(EACH, ALL),
                rounds=1,
                warm=False,  # memory that was used once would not be counted again
                note=lambda server: "" if sessions == wanted else f"{files} descriptors, no more",
            )


def _turn(server: Server, sessions: int) -> Load:
    began = rss(server.pids[0])
    load = together(server, _job(server, sessions))
    resident = load.samples[0]
    load.extra = {"each": (resident - began) / 1024 / sessions, "all": resident / (1 << 20)}
    return load


def _job(server: Server, sessions: int) -> Job:
    ours = server.name.startswith("uploadd")

    def run(go: Go) -> Part:
        go()
        held = [
            ws.uploadd(server.port) if ours else ws.WebSocket(server.port) for _ in range(sessions)
        ]
        return Part(len(held), 0, [float(rss(server.pids[0]))])

    return run
