"""How long until a chunk is durable: p50 and p99 of the ack under 1, 100 and 1 000 sessions.

Without the flag *flush* a chunk waits for the flush interval (200 ms) and then for the flush:
twice that is what is tolerated.  With the flag the flush starts at once.
"""

from bench.contenders import uploadd
from bench.figures import percentile
from bench.harness import Bench, Measure
from bench.load import pace
from bench.load.workers import together

P50 = Measure("ms", lambda load: percentile(load.samples, 0.5) * 1e3, "less", "p50")
P99 = Measure("ms", lambda load: percentile(load.samples, 0.99) * 1e3, "less", "p99")
CHUNK = 16384


def run(bench: Bench) -> None:
    """Every session sends 16 KiB a second, not all at the same moment."""
    seconds = bench.pick(short=2.0, full=5.0)
    for place in bench.everywhere("ack latency"):
        with bench.servers(place, uploadd.DURABLE) as servers:
            for sessions in (1, 100, 1000):
                for flush in bench.pick(short=(False,), full=(False, True)):
                    bench.compare(
                        f"16 KiB a second in each of {sessions} sessions"
                        + (", flag flush" if flush else ""),
                        place,
                        servers,
                        lambda server: together(
                            server,
                            pace.acks(
                                server,
                                sessions,
                                CHUNK,
                                1.0 if sessions > 1 else 0.25,
                                seconds,
                                flush=flush,
                            ),
                        ),
                        *(P50, P99),
                        rounds=bench.pick(short=1, full=3),
                        warm=False,
                    )
