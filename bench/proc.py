"""What /proc tells of processes: processor time, memory, who listens where."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree of processes used between two looks: seconds, seconds, bytes."""

    cpu: float
    busiest_thread: float
    peak_rss: int


class Watch:
    """A look at a tree of processes, and what it has used when looked at again."""

    def __init__(self, roots: Iterable[int]) -> None:
        self._pids = tree(roots, parents())
        self._cpu = {pid: _cpu(pid) for pid in self._pids}
        self._threads = {pid: threads(pid) for pid in self._pids}
        for pid in self._pids:
            reset_peak(pid)

    def used(self) -> Usage:
        """Since it was made."""
        cpu = busiest = 0.0
        for pid, before in self._threads.items():
            each = [now - before.get(thread, 0.0) for thread, now in threads(pid).items()]
            busiest = max(busiest, *each) if each else busiest
            # The process counts threads and children that have ended, but in ticks.
            cpu += max(sum(each), _cpu(pid) - self._cpu[pid])
        return Usage(cpu, busiest, sum(peak_rss(pid) for pid in self._pids))


def parents() -> dict[int, int]:
    """The parent of each process that there is."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(*_GONE):
                found[int(entry)] = parent(Path(f"/proc/{entry}/stat").read_text())
    return found


def tree(roots: Iterable[int], parents: Mapping[int, int]) -> list[int]:
    """*roots* and everything below them."""
    found = list(roots)
    for pid in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def parent(stat: str) -> int:
    """Field 4 of /proc/PID/stat; the name before it may hold anything."""
    return int(stat.rpartition(")")[2].split()[1])


def cpu_seconds(stat: str, tick: int = TICK) -> float:
    """User and system time of /proc/PID/stat, children that were waited for included."""
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / tick


def kibibytes(status: str, name: str) -> int:
    """A line such as ``VmHWM:  1234 kB`` of /proc/PID/status, in bytes; 0 without one."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _cpu(pid: int) -> float:
    with suppress(*_GONE):
        return cpu_seconds(Path(f"/proc/{pid}/stat").read_text())
    return 0.0


def threads(pid: int) -> dict[int, float]:
    """Seconds of each thread of a process, by the scheduler's own count of nanoseconds."""
    found = {}
    with suppress(*_GONE):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(*_GONE):
                told = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text()
                found[int(thread)] = int(told.split()[0]) / 1e9
    return found


def rss(pid: int) -> int:
    """Resident bytes now."""
    with suppress(*_GONE):
        return kibibytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS")
    return 0


def peak_rss(pid: int) -> int:
    """The most resident bytes since `reset_peak`."""
    with suppress(*_GONE):
        return kibibytes(Path(f"/proc/{pid}/status").read_text(), "VmHWM")
    return 0


def reset_peak(pid: int) -> None:
    """Count the most resident bytes anew, where we may."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def listener(port: int) -> int | None:
    """The process on this machine that listens on *port*, if we can see it."""
    wanted = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(*_GONE):
            wanted |= inodes(Path(table).read_text(), port)
    for pid in parents():
        with suppress(*_GONE):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(*_GONE):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") in wanted:
                        return pid
    return None


def inodes(table: str, port: int) -> set[str]:
    """The sockets that listen on *port* in a table of /proc/net, as /proc/PID/fd names them."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(f"socket:[{fields[9]}]")
    return found


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In a child: be killed when whoever started it ends, however that happens."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
