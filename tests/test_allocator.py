"""Large buffers are used again instead of being given back to the system."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource
from uploadd.allocator import keep_buffers
assert keep_buffers() is {keep}
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
held = bytes(bytearray(1 << 20))
before = faults()
for _ in range(64):
    keep = [bytearray(1 << 20) for _ in range(4)]
    del keep
print(faults() - before)
"""


def test_a_buffer_of_a_mebibyte_is_made_of_memory_that_we_have() -> None:
    """64 x 4 MiB come and go: without it 65 536 page faults of 4 KiB, with it a few."""
    code = FAULTS.format(keep=True)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 8192


CYCLES = """
import gc, weakref
from uploadd.allocator import collect_seldom
class Knot:
    def __init__(self): self.me = self
collect_seldom()
searches = lambda: sum(one["collections"] for one in gc.get_stats())
before = searches()
kept = [Knot() for _ in range(20_000)]
assert searches() == before, "what lives is not searched"
knot = weakref.ref(Knot())
for _ in range(60_000): Knot()
assert knot() is None, "what nobody can reach is found"
assert searches() > before
"""


def test_cycles_are_looked_for_seldom_and_found() -> None:
    """Those of two thousand uploads are no reason; garbage never becomes much."""
    subprocess.run([sys.executable, "-c", CYCLES], check=True)
