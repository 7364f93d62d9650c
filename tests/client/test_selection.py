"""Which files are sent, under which names: real folders, walked."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio

from uploadd.client.feed import Feed
from uploadd.client.patterns import Patterns
from uploadd.client.selection import Item, Kind, Selection


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with folders in it."""
    monkeypatch.chdir(tmp_path)
    for path in ("photos/b.jpg", "photos/2024/a.jpg", "photos/2024/z/deep", "photos/c", "single"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(path.encode())
    Path("photos/empty").mkdir()
    return tmp_path


def items(*words: str, exclude: Sequence[str] = (), newer: float | None = None) -> list[Item]:
    """What is to be sent."""
    walk = Selection(words, Patterns(exclude), newer).walk()
    return [item for item in walk if item is not None]


def names(*words: str, exclude: Sequence[str] = (), newer: float | None = None) -> list[str]:
    """Under which names."""
    return [item.relative or item.name for item in items(*words, exclude=exclude, newer=newer)]


INSIDE = ["2024/a.jpg", "2024/z/deep", "b.jpg", "c"]


@pytest.mark.parametrize("word", ["photos", "./photos", "../{here}/photos"])
def test_a_folder_keeps_its_own_name(here: Path, word: str) -> None:
    """In order, sorted within each folder; empty folders are nothing."""
    assert names(word.format(here=here.name)) == [f"photos/{path}" for path in INSIDE]


@pytest.mark.parametrize("word", ["photos/", "photos//", "photos/.", "photos/2024/.."])
def test_with_a_slash_at_its_end_it_does_not(word: str) -> None:
    """As in rsync."""
    assert names(word) == INSIDE


def test_the_path_and_the_last_name_go_along_separately() -> None:
    """And a file that lies in no folder has no path."""
    [first, *_] = items("photos")
    assert (first.path, first.name, first.relative) == (
        "photos/2024/a.jpg",
        "a.jpg",
        "photos/2024/a.jpg",
    )
    assert [item.relative for item in items("photos/", "single")][-2:] == ["", ""]
    assert (first.size, first.kind) == (17, Kind.FILE)


def test_the_order_is_that_of_the_command_line() -> None:
    """Each item knows the word that it comes from."""
    found = [(item.argument, item.name) for item in items("single", "photos/2024", "-")]
    assert found == [(0, "single"), (1, "a.jpg"), (1, "deep"), (2, "stdin")]


def test_links_are_followed_on_the_command_line_only(here: Path) -> None:
    """A folder that contains itself ends; what was not followed is counted and said once."""
    os.symlink(here / "photos", "photos/loop")
    os.symlink(here / "single", "photos/link")
    os.symlink("nowhere", "photos/dangling")
    os.symlink("photos", "album")
    os.symlink("single", "one")
    selection = Selection(["album", "one"])
    found = [item.relative or item.name for item in selection.walk() if item is not None]
    assert found == [f"album/{path}" for path in INSIDE] + ["one"]
    assert list(selection.skipped.lines()) == [
        "3 symbolic links inside folders not followed (album/dangling)"
    ]


def test_special_files_are_skipped_in_folders_and_read_when_named(here: Path) -> None:
    """A pipe somewhere in a tree would stop everything behind it."""
    os.mkfifo("photos/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("photos/socket")
        selection = Selection(["photos/", "photos/pipe", "photos/socket"])
        found = [item for item in selection.walk() if item is not None]
    assert [item.name for item in found[:4]] == [path.rpartition("/")[2] for path in INSIDE]
    assert (found[4].kind, found[4].size) == (Kind.STREAM, None)
    assert found[5].error is not None
    assert list(selection.skipped.lines()) == [
        "2 special files skipped: pipes, sockets or devices (photos/pipe)"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_fails_alone() -> None:
    """What lies beside it is sent."""
    os.chmod("photos/2024", 0)
    found = items("photos/")
    os.chmod("photos/2024", 0o700)
    assert [(item.path, item.error is None) for item in found] == [
        ("photos/2024", False),
        ("photos/b.jpg", True),
        ("photos/c", True),
    ]


def test_a_folder_that_went_away_fails_alone() -> None:
    """Between the moment when it was seen and when it was its turn."""
    walk = Selection(["photos/"]).walk()
    next(walk)  # what is in photos is known now
    Path("photos/2024/z/deep").unlink()
    Path("photos/2024/z").rmdir()
    Path("photos/2024/a.jpg").unlink()
    Path("photos/2024").rmdir()
    [gone, *rest] = [item for item in walk if item is not None]
    assert gone.path == "photos/2024"
    assert "cannot list it: no such file" in str(gone.error)
    assert [item.name for item in rest] == ["b.jpg", "c"]


def test_a_file_named_that_is_not_there_fails_alone() -> None:
    """With a hint."""
    [missing, single] = items("missing", "single")
    assert "no such file" in str(missing.error)
    assert missing.error is not None
    assert missing.error.hint
    assert single.error is None
    [wrong] = items("single/")
    assert "not a directory" in str(wrong.error)


def test_what_is_excluded_is_not_even_looked_into() -> None:
    """Patterns are for the path below the folder that was named, with or without its slash."""
    for word, prefix in (("photos", "photos/"), ("photos/", "")):
        assert names(word, exclude=["/2024"]) == [f"{prefix}b.jpg", f"{prefix}c"]
        assert names(word, exclude=["*.jpg"]) == [f"{prefix}2024/z/deep", f"{prefix}c"]
    assert names("photos", exclude=["photos"]) == [f"photos/{path}" for path in INSIDE]
    assert names("single", "photos/c", exclude=["sing*"]) == ["c"]


def test_only_what_changed_after_is_newer() -> None:
    """By the time of change of each file; a pipe has none that would mean anything."""
    for path, when in (("photos/b.jpg", 1000), ("photos/c", 1001)):
        os.utime(path, (when, when))
    os.mkfifo("pipe")
    os.utime("pipe", (0, 0))
    assert names("photos/b.jpg", "photos/c", "pipe", newer=1000.0) == ["c", "pipe"]
    selection = Selection(["photos/"], newer=1001.0)
    assert len([item for item in selection.walk() if item is not None]) == 2
    assert selection.skipped.filtered == 2


def test_names_that_are_no_text_are_told_as_text() -> None:
    """And opened as what they are."""
    Path("odd").mkdir()
    ugly = os.fsdecode(b"odd/\xff\xfe")
    Path(ugly).write_bytes(b"x")
    [item] = items("odd")
    assert item.path == ugly
    assert item.relative == "odd/\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


def test_a_tree_is_as_deep_as_it_likes() -> None:
    """No recursion of ours ends it."""
    os.mkdir("deep")
    path = "deep"
    for _ in range(1500):
        path += "/d"
        os.mkdir(path)
    Path(f"{path}/f").touch()
    try:
        [item] = items("deep")
        assert item.relative == f"{path}/f"
    finally:  # pytest clears old folders by a recursion that ends before this tree does
        subprocess.run(["rm", "-r", "deep"], check=True)


async def test_a_tree_is_not_listed_before_it_is_sent() -> None:
    """Whoever takes one item has caused little more than a handful to be looked at."""
    looked: list[int] = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            looked.append(number)
            yield number
            number += 1

    feed: Feed[int] = Feed(endless())
    assert [await anext(feed) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert len(looked) < 100


async def test_a_search_that_finds_nothing_can_be_interrupted() -> None:
    """A walk through nothing but what is left out comes back to the loop all the time."""
    began = time.monotonic()

    def nothing() -> Iterator[int | None]:
        while time.monotonic() < began + 10:
            yield None
        raise AssertionError("nobody could stop it")

    with trio.move_on_after(0.01) as scope:
        await anext(Feed(nothing()))
    assert scope.cancelled_caught
