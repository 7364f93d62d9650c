"""Processes that load a server at the same time, and what they and it used meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from bench.contenders.server import Server
from bench.figures import Shares
from bench.proc import Usage, Watch, end_with_parent

PATIENCE = 180.0
"""Seconds after which a server that does not answer has failed."""
PROCESSORS = len(os.sched_getaffinity(0))
_FORK = multiprocessing.get_context("fork")


class LoadFailed(Exception):
    """The server did not do what was asked of it; the text says what it did."""


@dataclass
class Part:
    """What one process did."""

    count: int = 0
    moved: int = 0
    samples: list[float] = field(default_factory=list)


Go = Callable[[], None]
"""Called once by a job when it is prepared; returns when all are."""
Job = Callable[[Go], Part]


@dataclass
class _Told:
    part: Part
    began: float
    ended: float
    cpu: float


@dataclass
class Load:
    """What all processes did together: from the first that began to the last that ended."""

    began: float
    seconds: float
    parts: list[Part]
    usage: Usage | None = None
    load_cpu: float = 0.0
    busiest: float = 0.0
    """Share of one processor that the busiest process of the generator used."""
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Requests, uploads or sessions of all."""
        return sum(part.count for part in self.parts)

    @property
    def moved(self) -> int:
        """Bytes of all."""
        return sum(part.moved for part in self.parts)

    @property
    def samples(self) -> list[float]:
        """Of all."""
        return [sample for part in self.parts for sample in part.samples]

    @property
    def server(self) -> Shares | None:
        """What the server used, if its process can be seen."""
        if self.usage is None:
            return None
        return Shares(
            self.usage.busiest_thread / self.seconds,
            self.usage.cpu / self.seconds,
            (self.usage.cpu + self.load_cpu) / self.seconds / PROCESSORS,
        )


def together(server: Server, *jobs: Job) -> Load:
    """Run *jobs*, a process each.  Raises LoadFailed."""
    with tempfile.TemporaryFile() as errors:
        pairs = [_FORK.Pipe() for _ in jobs]
        processes = [
            _FORK.Process(target=_work, args=(job, theirs, errors.fileno()))
            for job, (_, theirs) in zip(jobs, pairs, strict=True)
        ]
        for process in processes:
            process.start()
        for _, theirs in pairs:
            theirs.close()
        try:
            return _conduct(server, [ours for ours, _ in pairs])
        except (EOFError, ConnectionError, TimeoutError) as error:
            raise LoadFailed(_reason(errors.fileno()) or f"no answer: {error!r}") from error
        finally:
            for process in processes:
                process.kill()
                process.join()


def _conduct(server: Server, pipes: Sequence[Connection]) -> Load:
    for pipe in pipes:
        _hear(pipe)
    watch = Watch(server.pids) if server.pids else None
    for pipe in pipes:
        pipe.send("go")
    told: list[_Told] = [_hear(pipe) for pipe in pipes]
    began = min(one.began for one in told)
    return Load(
        began,
        max(one.ended for one in told) - began,
        [one.part for one in told],
        None if watch is None else watch.used(),
        sum(one.cpu for one in told),
        max(one.cpu / (one.ended - one.began) for one in told),
    )


def _hear(pipe: Connection) -> _Told:
    if not pipe.poll(PATIENCE):
        raise TimeoutError(f"nothing for {PATIENCE:.0f} s")
    told: _Told = pipe.recv()
    return told


def _work(job: Job, pipe: Connection, errors: int) -> None:
    """In the child; what goes wrong is printed by multiprocessing and read by the parent."""
    end_with_parent()
    os.dup2(errors, 2)
    began = cpu = 0.0

    def go() -> None:
        nonlocal began, cpu
        pipe.send("ready")
        pipe.recv()
        began, cpu = time.perf_counter(), _cpu()

    part = job(go)
    pipe.send(_Told(part, began, time.perf_counter(), _cpu() - cpu))


def _cpu() -> float:
    """Seconds, of children too; to the microsecond, as turns may be shorter than a tick."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _reason(errors: int) -> str:
    size = os.fstat(errors).st_size
    lines = os.pread(errors, size, 0).decode(errors="replace").strip().splitlines()
    told = [line for line in lines if re.match(r"[\s|]*[\w.]+(Error|Refused|Group)\b", line)]
    return (told or lines or [""])[-1].strip(" |")[:300]


def spread_over(connections: int) -> list[int]:
    """How many connections each process takes: no more processes than processors."""
    processes = min(connections, PROCESSORS)
    return [
        connections // processes + (number < connections % processes) for number in range(processes)
    ]
