"""2 000 uploads that trickle, half by WebSocket and half by tus PATCH, beside 20 at full speed.

What suffers: the lag of the loop, measured inside the daemon by a task that is to be woken every
10 ms; the answer to a small request from outside, ten a second; and memory.
"""

from pathlib import Path

from bench.contenders import uploadd
from bench.contenders.server import Server
from bench.figures import percentile
from bench.harness import PEAK, Bench, Measure
from bench.load import pace, requests, sessions
from bench.load.workers import Load, together
from bench.places import TMPFS

KIB = 1024
SLOW, FAST = 1000, 20
LAG50 = Measure("ms", lambda load: load.extra["p50"] * 1e3, "less", "loop lag p50")
LAG99 = Measure("ms", lambda load: load.extra["p99"] * 1e3, "less", "loop lag p99")
ANSWER99 = Measure(
    "ms", lambda load: percentile(load.parts[-1].samples, 0.99) * 1e3, "less", "GET /-/info p99"
)
FULL_SPEED = Measure("MB/s", lambda load: load.extra["fast"] / 1e6, "more", "full speed in all")
MEMORY = Measure("MiB", PEAK.of, "less", "peak RSS")


def run(bench: Bench) -> None:
    """For some seconds, after all of them have begun."""
    for place in bench.everywhere("trickling uploads"):
        seconds = 3.0 if place.on_disk else bench.pick(short=3.0, full=10.0)
        notes = bench.places[TMPFS] if bench.places[TMPFS].folder else place
        out = bench.folder(notes) / "lags"
        watched = uploadd.starter("durable", under=("-m", "bench.lagging", str(out)))
        with bench.servers(place, watched) as servers:
            bench.compare(
                f"2 × {SLOW} trickling beside {FAST} at full speed",
                place,
                servers,
                lambda server: _turn(server, seconds, out, keep=place.on_disk),
                *(LAG50, LAG99, ANSWER99, FULL_SPEED, MEMORY),
                rounds=bench.pick(short=1, full=3),
                warm=bench.pick(short=False, full=True),
            )


def _turn(server: Server, seconds: float, out: Path, *, keep: bool) -> Load:
    fast = sessions.full_speed(server, FAST, 256 * KIB, seconds, keep=keep)
    load = together(
        server,
        fast,
        pace.acks(server, SLOW, KIB, 1.0, seconds, flush=False),
        pace.dribbles(server, SLOW, 1.0, seconds),
        requests.probe(server.port, "/-/info", 0.1, seconds),
    )
    lags = _lags(out.read_text(), load.began, load.began + seconds)
    load.extra = {"p50": percentile(lags, 0.5), "p99": percentile(lags, 0.99)}
    load.extra["fast"] = load.parts[0].moved / seconds
    return load


def _lags(notes: str, began: float, ended: float) -> list[float]:
    """What was noted meanwhile."""
    pairs = (line.split() for line in notes.splitlines())
    return [float(pair[1]) for pair in pairs if len(pair) == 2 and began <= float(pair[0]) <= ended]
