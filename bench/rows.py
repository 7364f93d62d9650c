"""What a run found, as it is kept: one row for each contender, in JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.figures import Better

FORMAT = 1
OURS = "uploadd"
"""How the names of our own contenders begin."""
COMMIT = "commit"
"""What of a machine says which code was measured."""

Group = tuple[str, str, str, str]
Key = tuple[str, str, str, str, str]


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one contender did in one table; without values when it could not, and a note why."""

    scenario: str
    what: str
    place: str
    contender: str
    unit: str = ""
    better: Better = "more"
    values: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()
    """How many times better the first contender of the group was, round by round."""
    durability: str = ""
    flushes: bool | None = None
    cpu_per_gb: float | None = None
    peak_rss: int | None = None
    server_share: float | None = None
    """Of one processor: the server, all its threads and processes."""
    load_share: float | None = None
    """Of one processor: the busiest process of the load generator."""
    bound: str = ""
    note: str = ""
    at: float | None = None
    """Where it stands on the horizontal axis of a plot: the number of sessions."""

    @property
    def group(self) -> Group:
        """Rows with the same are measured beside each other."""
        return (self.scenario, self.what, self.place, self.unit)

    @property
    def key(self) -> Key:
        """By which the same row is found in another run."""
        return (*self.group, self.contender)

    @property
    def ours(self) -> bool:
        """Whether it is uploadd that was measured."""
        return self.contender.startswith(OURS)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    form: str
    began: str
    seconds: float
    machine: dict[str, str]
    versions: dict[str, str]
    rows: tuple[Row, ...]
    format: int = FORMAT


def merged(older: Result, newer: Result) -> Result:
    """*newer*, with the scenarios of *older* that it did not run, in the order of *older*.

    Where those are of another commit, that is said.
    """
    ran = {row.scenario for row in newer.rows}
    there = list(dict.fromkeys(row.scenario for row in (*older.rows, *newer.rows)))
    of = {name: newer.rows if name in ran else older.rows for name in there}
    commits = {
        f"{COMMIT} of {name}": commit
        for name in there
        if name not in ran and (commit := _commit(older, name)) != newer.machine.get(COMMIT)
    }
    return msgspec.structs.replace(
        newer,
        seconds=older.seconds + newer.seconds,
        machine=newer.machine | commits,
        versions=older.versions | newer.versions,
        rows=tuple(row for name in there for row in of[name] if row.scenario == name),
    )


def _commit(result: Result, scenario: str) -> str:
    machine = result.machine
    return machine.get(f"{COMMIT} of {scenario}") or machine.get(COMMIT, "unknown")


class Unreadable(Exception):
    """A file that holds no result of this format; the text says why."""


def save(result: Result, path: Path) -> None:
    """Write *result*, for programs and for people who compare two with diff."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def load(path: Path) -> Result:
    """Read what `save` wrote.  Raises Unreadable, FileNotFoundError."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=Result)
    except msgspec.DecodeError as error:
        raise Unreadable(f"{path}: {error}") from error
    if result.format != FORMAT:
        raise Unreadable(f"{path}: format {result.format}, not {FORMAT}")
    return result
