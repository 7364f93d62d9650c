"""Start-up and recovery: from the start of the process until it listens.

With nothing, and after ``kill -9`` with 10⁴ unfinished uploads of 10 KiB each.
"""

import os
import signal

from bench.contenders import uploadd
from bench.contenders.server import Server
from bench.harness import Bench
from bench.load import ws
from bench.load.workers import Go, Job, Part, together
from bench.proc import peak_rss

SIZE = 10240
REFS = 200


def run(bench: Bench) -> None:
    """Recovery changes nothing in what is whole, so every start finds the same."""
    unfinished = bench.pick(short=2000, full=10_000)
    for place in bench.everywhere("start-up"):
        empty, left = bench.folder(place), bench.folder(place)
        with uploadd.DURABLE(left) as server:
            together(server, _leave(server, unfinished))
            _kill(server)
        for what, folder in (("nothing", empty), (f"{unfinished:,} unfinished uploads", left)):
            times, memory = [], []
            for _ in range(bench.rounds(place)):
                place.settle()
                with uploadd.DURABLE(folder) as server:
                    times.append(server.started * 1e3)
                    memory.append(peak_rss(server.pids[0]))
                    _kill(server)
            bench.figure(
                f"until it listens, with {what}", place, "uploadd durable", "ms", times,
                better="less", durability="durable", flushes=True, peak_rss=max(memory),
            )  # fmt: skip
        bench.wipe(place, empty, left)


def _kill(server: Server) -> None:
    os.kill(server.pids[0], signal.SIGKILL)


def _leave(server: Server, count: int) -> Job:
    """Begin *count* uploads, have a part of each made durable, and go away."""
    payload = bytes(SIZE)

    def job(go: Go) -> Part:
        go()
        for start in range(0, count, REFS):
            session = ws.uploadd(server.port)
            for ref in range(min(REFS, count - start)):
                name = f"left-{start + ref}.bin"
                session.say({"type": "begin", "ref": ref, "name": name, "length": 2 * SIZE})
                head = ws.chunk_header(ref, 0, SIZE, ws.FLUSH)
                session.socket.sendall(head + payload)
            durable: set[int] = set()
            while len(durable) < min(REFS, count - start):
                told = session.hear()
                if told["type"] in ("ready", "ack") and told["offset"] == SIZE:
                    durable.add(told["ref"])
            session.socket.close()
        return Part(count, count * SIZE)

    return job
