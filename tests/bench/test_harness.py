"""The order of turns, and what becomes of contenders that fail: with servers that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.contenders.server import Server
from bench.harness import RATE, Bench, Measure
from bench.installing import Missing
from bench.load.workers import Load, LoadFailed, Part
from bench.places import Place


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """With one place."""
    made = Bench("short", {"here": Place("here", tmp_path), "away": Place("away", None, why="no")})
    made.scenario = "a_scenario"
    return made


def server(name: str) -> Server:
    """Nobody listens."""
    return Server(name, "1", 1, durability="none", flushes=False)


def load(megabytes: float) -> Load:
    """So much in a second."""
    return Load(0.0, 1.0, [Part(1, round(megabytes * 1e6))], load_cpu=0.5, busiest=0.5)


def test_turns_are_interleaved_and_the_first_round_does_not_count(bench: Bench) -> None:
    """A B A B: what the machine does meanwhile it does to both."""
    turns, servers = [], [server("uploadd"), server("nginx")]

    def turn(one: Server) -> Load:
        turns.append(one.name)
        return load(len(turns))

    bench.compare("a thing", bench.places["here"], servers, turn)
    assert turns == ["uploadd", "nginx"] * 4
    ours, theirs = bench.rows
    assert ours.values == (3, 5, 7)
    assert theirs.values == (4, 6, 8)
    assert ours.ratios == ()
    assert theirs.ratios == (3 / 4, 5 / 6, 7 / 8)


def test_one_that_fails_is_a_row_that_says_so(bench: Bench) -> None:
    """It gets no more turns, and the others go on."""
    turns, servers = [], [server("uploadd"), server("nginx")]

    def turn(one: Server) -> Load:
        turns.append(one.name)
        if one.name == "nginx":
            raise LoadFailed("413 Too Large")
        return load(1)

    bench.compare("a thing", bench.places["here"], servers, turn)
    assert turns.count("nginx") == 1
    ours, theirs = bench.rows
    assert len(ours.values) == 3
    assert theirs.values == ()
    assert theirs.note == "failed: 413 Too Large"


def test_without_the_first_there_are_no_ratios(bench: Bench) -> None:
    """But the figures of the others are there."""
    servers = [server("uploadd"), server("nginx")]

    def turn(one: Server) -> Load:
        if one.name == "uploadd":
            raise LoadFailed("down")
        return load(1)

    bench.compare("a thing", bench.places["here"], servers, turn)
    assert bench.rows[1].values
    assert bench.rows[1].ratios == ()


def test_one_that_cannot_be_had_is_a_row_in_every_table(bench: Bench) -> None:
    """With the reason."""

    @contextmanager
    def ours(folder: Path) -> Iterator[Server]:
        yield server("uploadd")

    @contextmanager
    def nginx(folder: Path) -> Iterator[Server]:
        raise Missing("nginx is not here: apt install nginx-light")
        yield

    with bench.servers(bench.places["here"], ours, nginx) as servers:
        for what in ("one", "two"):
            bench.compare(what, bench.places["here"], servers, lambda one: load(1))
    told = [(row.what, row.contender, row.note) for row in bench.rows if not row.values]
    assert told == [
        (what, "nginx", "nginx is not here: apt install nginx-light") for what in ("one", "two")
    ]


def test_in_the_long_form_all_three_places_are_measured(tmp_path: Path) -> None:
    """The short one has time for memory only; on disks rounds are fewer and files smaller."""
    names = ("tmpfs", "disk", "ext4 with journal")
    places = {name: Place(name, tmp_path, on_disk=name != "tmpfs") for name in names}
    assert [place.name for place in Bench("short", places).everywhere("x")] == ["tmpfs"]
    long = Bench("full", places)
    assert tuple(place.name for place in long.everywhere("x")) == names
    assert [long.rounds(place) for place in places.values()] == [5, 3, 3]
    sizes = [long.mib(place, short=1, full=9, disk=2) >> 20 for place in places.values()]
    assert sizes == [9, 2, 2]


def test_a_place_that_is_not_there_is_a_row(bench: Bench) -> None:
    """And the others are measured."""
    assert [place.name for place in bench.at("away", "here", what="things")] == ["here"]
    [row] = bench.rows
    assert (row.what, row.place, row.note) == ("things", "away", "not measured: no")


def test_several_measures_of_one_turn_are_several_tables(bench: Bench) -> None:
    """Each with its own unit and its own better."""
    half = Measure("ms", lambda one: one.moved / 2e6, "less", "p50")
    bench.compare(
        "a thing", bench.places["here"], [server("uploadd")], lambda one: load(4), RATE, half
    )
    assert [(row.what, row.unit, row.values[0]) for row in bench.rows] == [
        ("a thing", "MB/s", 4),
        ("a thing: p50", "ms", 2),
    ]


def test_who_is_his_own_load_is_not_bound_by_the_generator(bench: Bench) -> None:
    """What has no port is no server: dd, or the store alone."""
    alone = Server("dd", "1", 0)
    servers = [server("uploadd"), alone]

    def busy(one: Server) -> Load:
        return Load(0.0, 1.0, [Part(1, 1)], load_cpu=1.0, busiest=1.0)

    bench.compare("a thing", bench.places["here"], servers, busy)
    assert [row.bound for row in bench.rows] == ["generator", ""]


def test_what_was_uploaded_is_removed_from_memory_only(bench: Bench, tmp_path: Path) -> None:
    """On a disk nothing is deleted; a server's own things stay anyway."""
    folder = tmp_path / "served"
    folder.mkdir()
    one = server("uploadd")
    one.folder = folder

    def turn(one: Server) -> Load:
        (folder / "upload").write_text("x")
        (folder / ".state").mkdir(exist_ok=True)
        return load(1)

    bench.compare("on a disk", bench.places["here"], [one], turn)
    assert (folder / "upload").exists()
    memory = Place("tmpfs", tmp_path, on_disk=False)
    bench.compare("kept", memory, [one], turn, keep=True)
    assert (folder / "upload").exists()
    bench.compare("in memory", memory, [one], turn)
    assert not (folder / "upload").exists()
    assert (folder / ".state").exists()
