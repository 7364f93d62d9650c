"""Measures contenders beside each other: interleaved, A B A B, a row for each."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import TypeVar

import msgspec

from bench.contenders import foreign
from bench.contenders.server import Server, Starter, new_folder
from bench.figures import Better, Shares, advantages, bound
from bench.installing import Missing
from bench.load.workers import Load, LoadFailed
from bench.places import DISK, GIB, JOURNAL, MIB, TMPFS, Place, Unusable
from bench.rows import Row
from bench.table import number as shown

T = TypeVar("T")


@dataclass(frozen=True)
class Measure:
    """What is read off one turn."""

    unit: str
    of: Callable[[Load], float]
    better: Better = "more"
    label: str = ""


RATE = Measure("MB/s", lambda load: load.moved / 1e6 / load.seconds)
PER_SECOND = Measure("/s", lambda load: load.count / load.seconds)
CPU = Measure(
    "s/GB",
    lambda load: load.usage.cpu / load.moved * 1e9 if load.usage else 0.0,
    "less",
    "processor time",
)
"""What it costs the server."""
PEAK = Measure("MiB", lambda load: load.usage.peak_rss / (1 << 20) if load.usage else 0.0, "less")
"""The most memory that the server had resident."""

Turn = Callable[[Server], Load]


@dataclass
class Absent:
    """A contender that could not be had, and why."""

    name: str
    why: str


@dataclass
class Bench:
    """One run in one form: what is measured, how often, and what came out."""

    form: str
    places: dict[str, Place]
    peers: tuple[foreign.Peer, ...] = ()
    rows: list[Row] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    scenario: str = ""
    _numbers: Iterator[int] = field(default_factory=count)
    _absent: list[Absent] = field(default_factory=list)

    def pick(self, *, short: T, full: T) -> T:
        """What belongs to this form."""
        return short if self.form == "short" else full

    def mib(self, place: Place, *, short: int, full: int, disk: int) -> int:
        """Bytes of so many MiB: in memory by the form, and on disks, where everything stays."""
        return (disk if place.on_disk else self.pick(short=short, full=full)) * MIB

    def rounds(self, place: Place) -> int:
        """How many count; one more goes before them.  Fewer on disks, where everything stays."""
        return self.pick(short=3, full=3 if place.on_disk else 5)

    # --- where and beside whom --------------------------------------------------------------

    def everywhere(self, what: str) -> Iterator[Place]:
        """Memory; in the long form also the disk, and an ext4 with a journal."""
        return self.at(*self.pick(short=(TMPFS,), full=(TMPFS, DISK, JOURNAL)), what=what)

    def at(self, *names: str, what: str = "") -> Iterator[Place]:
        """Each place of *names* that there is; a row says why one is not."""
        for name in names:
            place, why = self.places[name], self.places[name].why
            try:
                place.renew()
            except Unusable as error:
                why = str(error)
            if why:
                self._add(Row(scenario=self.scenario, what=what, place=name, contender="–",
                              note=f"not measured: {why}"))  # fmt: skip
            else:
                yield place

    def folder(self, place: Place, name: str = "served") -> Path:
        """A new empty folder there, in one of its own."""
        assert place.folder is not None
        around = new_folder(place.folder, f"{self.scenario}-{next(self._numbers)}")
        return new_folder(around, name)

    @contextmanager
    def servers(self, place: Place, *starters: Starter) -> Iterator[list[Server]]:
        """All that can be had here, running; of the others the next tables say why not."""
        folders = [self.folder(place) for _ in starters]
        with ExitStack() as stack:
            running, self._absent = [], []
            for starter, folder in zip(starters, folders, strict=True):
                try:
                    running.append(stack.enter_context(starter(folder)))
                except Missing as missing:
                    self._absent.append(Absent(starter.__name__, str(missing)))
            for server in running:
                self.versions[server.name] = server.version
            yield running
        self.wipe(place, *folders)

    def wipe(self, place: Place, *folders: Path) -> None:
        """Give the memory of a tmpfs back; on disks nothing is removed."""
        for folder in folders if not place.on_disk else ():
            shutil.rmtree(folder.parent)

    def foreign(self, kind: str, place: Place) -> list[Starter]:
        """What was named by --peer; once, for it writes wherever it was started."""
        peers = self.peers if place.name == TMPFS else ()
        return [foreign.starter(peer) for peer in peers if peer.kind == kind]

    # --- measuring --------------------------------------------------------------------------

    def compare(
        self,
        what: str,
        place: Place,
        servers: Sequence[Server],
        turn: Turn,
        *measures: Measure,
        rounds: int | None = None,
        warm: bool = True,
        keep: bool = False,
        alone: bool = False,
        at: float | None = None,
        note: Callable[[Server], str] = lambda server: "",
    ) -> None:
        """Every server in turn, round by round; then a row for each of them and each measure.

        *warm*: one round goes before those that count; *keep*: what was uploaded stays; *alone*:
        nobody else is wanted here, so nobody is missing.
        """
        loads: dict[Server, list[Load]] = {server: [] for server in servers}
        failed: dict[Server, str] = {}
        for number in range((rounds or self.rounds(place)) + warm):
            for server in servers:
                if server not in failed:
                    load = self._turn(place, server, turn, failed)
                    if not keep:
                        self._clean(place, server)
                    if number >= warm and load is not None:
                        loads[server].append(load)
        for measure in measures or (RATE,):
            told = f"{what}: {measure.label}" if measure.label else what
            first = [measure.of(load) for load in loads[servers[0]]] if servers else []
            for server in servers:
                row = self._row(told, place, server, loads[server], measure)
                if row.values and server is not servers[0]:
                    row = _with(row, ratios=tuple(advantages(first, row.values, row.better)))
                why = failed.get(server, "") or note(server) or server.note
                self._add(_with(row, note=why, at=at))
            for absent in self._absent if not alone else ():
                self.figure(told, place, absent.name, measure.unit, (), note=absent.why)

    def _turn(
        self, place: Place, server: Server, turn: Turn, failed: dict[Server, str]
    ) -> Load | None:
        place.settle()
        try:
            return turn(server)
        except (LoadFailed, OSError) as error:
            failed[server] = f"failed: {str(error) or type(error).__name__}"
            return None

    def _clean(self, place: Place, server: Server) -> None:
        if not place.on_disk:
            server.clean()
        elif server.folder is not None:
            place.forget(server.folder)
        if server.made:
            foreign.delete(server)

    def _row(
        self,
        what: str,
        place: Place,
        server: Server,
        loads: Sequence[Load],
        measure: Measure,
    ) -> Row:
        values = [measure.of(load) for load in loads]
        row = Row(
            scenario=self.scenario, what=what, place=place.name, contender=server.name,
            unit=measure.unit, better=measure.better, values=tuple(values),
            durability=server.durability, flushes=server.flushes,
        )  # fmt: skip
        if not loads:
            return row
        used = [load.usage for load in loads if load.usage]
        shares = [load.server for load in loads if load.server]
        moved = [load.usage.cpu / load.moved * 1e9 for load in loads if load.usage and load.moved]
        generator = median(load.busiest for load in loads)
        return _with(
            row,
            cpu_per_gb=median(moved) if moved else None,
            peak_rss=round(median(usage.peak_rss for usage in used)) if used else None,
            server_share=median(share.all for share in shares) if shares else None,
            load_share=generator,
            bound=bound(generator=generator, server=_median(shares)) if server.port else "",
        )

    def figure(
        self,
        what: str,
        place: Place,
        contender: str,
        unit: str,
        values: Sequence[float],
        *,
        better: Better = "more",
        **told: object,
    ) -> None:
        """A row that was measured by other means."""
        row = Row(scenario=self.scenario, what=what, place=place.name, contender=contender,
                  unit=unit, better=better, values=tuple(values))  # fmt: skip
        self._add(_with(row, **told))

    def skip(self, what: str, why: str) -> None:
        """A row that only says why nothing was measured."""
        self._add(Row(scenario=self.scenario, what=what, place="–", contender="–", note=why))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        told = f"{shown(median(row.values))} {row.unit}" if row.values else row.note
        ratio = f"  (first ÷ it {median(row.ratios):.2f})" if row.ratios else ""
        print(f"  {row.what} | {row.place} | {row.contender}: {told}{ratio}", file=sys.stderr)

    @contextmanager
    def running(self, scenario: str) -> Iterator[None]:
        """Name the rows of the block, and say how long it took."""
        self.scenario, began, free = scenario, time.perf_counter(), self._free()
        print(f"{scenario}", file=sys.stderr)
        yield
        took, wrote = time.perf_counter() - began, (free - self._free()) / GIB
        print(f"  took {took:.0f} s, {wrote:.1f} GiB are on the disk", file=sys.stderr)

    def _free(self) -> int:
        disk = self.places[DISK].folder if DISK in self.places else None
        return 0 if disk is None else shutil.disk_usage(disk).free


def _median(shares: Sequence[Shares]) -> Shares | None:
    if not shares:
        return None
    return Shares(*(median(getattr(one, name) for one in shares) for name in Shares.__slots__))


def _with(row: Row, **changes: object) -> Row:
    return msgspec.structs.replace(row, **changes)
