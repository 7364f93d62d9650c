"""``uploadd put`` of folders, and the options around it, against the real daemon."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.client.daemon import daemon
from tests.client.test_put import LARGE, half, known, order, parse, run, write
from tests.client.test_put import home as home
from uploadd.client import command, exits, put
from uploadd.client.batch import Batch
from uploadd.client.journal import Journal, journals, lines
from uploadd.client.output import output
from uploadd.client.state import Known, States, directory


@pytest.fixture
def tree(home: Path) -> list[str]:
    """Folders with files of which each contains its own path."""
    paths = ["photos/2024/a.jpg", "photos/2024/b.jpg", "photos/c.jpg", "photos/notes/x.txt"]
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write(path, path.encode())
    (home / "in").mkdir()
    return paths


def published(home: Path) -> dict[str, bytes]:
    """What lies in the folder that is served."""
    found = (path for path in (home / "in").rglob("*") if path.is_file())
    paths = {str(path.relative_to(home / "in")): path for path in found}
    return {name: path.read_bytes() for name, path in paths.items() if ".uploadd" not in name}


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What an interrupted command does to Ctrl-C is not for the tests after it."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


async def test_a_folder_arrives_as_it_is(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With its name, or with a slash at its end without; one URL for each file, sorted."""
    async with daemon(home / "in") as url:
        assert await run("photos", url) == exits.OK
        out, err = capsys.readouterr()
        assert [line.rpartition("/")[2] for line in out.splitlines()] == [
            path.rpartition("/")[2] for path in tree
        ]
        assert published(home) == {path: path.encode() for path in tree}
        assert err.splitlines()[-1].startswith("✓ 4 files, 64 B in ")
        assert await run("photos/", url) == exits.OK
    without = {path.removeprefix("photos/"): path.encode() for path in tree}
    assert published(home) == {path: path.encode() for path in tree} | without
    assert list(directory().iterdir()) == []  # the commands are through


async def test_a_file_that_fails_in_a_folder_is_named_and_the_rest_is_stored(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And the same command again does not store that rest a second time."""
    write("photos/large", bytes(1000))
    async with daemon(home / "in", limits__max_length=999) as url:
        assert await run("photos", url) == exits.FAILED
        first, err = capsys.readouterr()
        assert "photos/large: the file is 1000 B, the limit here is 999 B\n→ " in err
        assert ", 0 resumed, 1 failed\n" in err
        write("photos/large", bytes(10))
        assert await run("photos", url) == exits.OK
    again, err = capsys.readouterr()
    assert set(first.splitlines()) < set(again.splitlines())
    assert "✓ 5 files, 74 B, 10 B of it now, in " in err
    assert err.endswith(", 4 resumed, 0 failed\n")
    assert len(published(home)) == 5
    assert list(directory().iterdir()) == []


async def test_the_options_choose_and_a_dry_run_says_what(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By pattern and by age; without a connection, as nobody listens there."""
    for path in tree:
        os.utime(path, (1000, 1000))
    os.utime("photos/2024/a.jpg", None)
    nowhere = "http://127.0.0.1:1"
    assert put.main(parse("--dry-run", "photos/", "--exclude", "notes/", nowhere)) == exits.OK
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "      17 B  2024/a.jpg",
        "      17 B  2024/b.jpg",
        "      12 B  c.jpg",
    ]
    assert err == f"would send 3 files, 46 B, to {nowhere}/; 1 left out by --exclude and --newer\n"
    assert put.main(parse("--dry-run", "photos", "--newer", "1h", "--json", nowhere)) == exits.OK
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"path": tree[0], "name": tree[0], "length": 17},
        {"summary": {"dry_run": True, "files": 1, "bytes": 17, "failed": 0}},
    ]
    assert put.main(parse("--dry-run", "missing", nowhere)) == exits.LOCAL
    assert not directory().exists()


async def test_json_has_an_object_for_each_file_and_a_summary(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order given, whatever became of them; nothing else is on standard output."""
    write("large", bytes(LARGE))
    async with daemon(home / "in", limits__max_length=LARGE) as url:
        id = await half("large", url)
        write("too-large", bytes(LARGE + 1))
        code = await run("--json", "missing", "large", "too-large", "photos/c.jpg", url)
        assert code == exits.FAILED
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines[:-1]:
        assert list(line) == ["path", "url", "id", "length", "seconds", "resumed", "error"]
        assert line["seconds"] >= 0
    missing, large, refused, small, end = lines
    assert (missing["path"], missing["url"], missing["id"]) == ("missing", None, None)
    assert missing["error"]["code"] == "local-read"
    assert "no such file" in missing["error"]["message"]
    assert missing["error"]["hint"]
    assert (large["url"], large["id"]) == (f"{url}/f/{id}/large", id)
    assert (large["length"], large["resumed"], large["error"]) == (LARGE, True, None)
    assert (refused["length"], refused["error"]["code"]) == (LARGE + 1, "too-large")
    assert (small["path"], small["resumed"]) == ("photos/c.jpg", False)
    summary = end["summary"]
    assert (summary["files"], summary["failed"], summary["resumed"]) == (2, 2, 1)
    assert summary["bytes"] == LARGE + 12
    assert 0 < summary["moved"] <= LARGE - 200_000 + 12
    assert (summary["interrupted"], summary["exit_code"]) == (False, exits.FAILED)


async def test_the_speed_counts_only_what_moved_now(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says how much that was."""
    (home / "in").mkdir()
    write("file", bytes(LARGE))
    async with daemon(home / "in") as url:
        await half("file", url)
        assert await run("file", url) == exits.OK
    [last] = capsys.readouterr().err.splitlines()
    assert last.startswith("✓ 1 file, 3.0 MiB, 2.8 MiB of it now, in ")


async def test_a_pipe_with_a_name_is_waited_for_and_that_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody may be writing to it."""
    (home / "in").mkdir()
    os.mkfifo("pipe")
    async with daemon(home / "in") as url, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, Path("pipe").write_bytes, b"through it")
        assert await run("pipe", url) == exits.OK
    assert "pipe is a named pipe: waiting for somebody to write to it\n" in capsys.readouterr().err
    assert published(home) == {"pipe": b"through it"}


async def test_a_device_is_read_to_its_end(home: Path) -> None:
    """Epoll takes none of them; /dev/null is the shortest."""
    (home / "in").mkdir()
    async with daemon(home / "in") as url:
        assert await run("/dev/null", url) == exits.OK
    assert published(home) == {"null": b""}


# --- interrupted --------------------------------------------------------------------------------


async def interrupt(*words: str) -> Batch:
    """Run a command until the first file is stored; then cancel it."""
    asked = order(*words)
    with command.screen(parse(*words)) as screen:
        batch = Batch(asked, screen, output(screen, as_json=asked.json))
        with trio.CancelScope() as scope:
            add = batch._totals.add

            def stop(length: int, *, resumed: bool) -> None:
                add(length, resumed=resumed)
                scope.cancel()

            batch._totals.add = stop  # type: ignore[method-assign]  # the moment is all we want
            await batch.run()
        assert scope.cancelled_caught
        batch.interrupted(exits.INTERRUPTED)
    return batch


async def test_an_interrupted_command_prints_the_one_that_goes_on(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With every option that matters, quoted; what is through is left out of it."""
    write("first")
    write("my file", bytes(LARGE))
    words = ["--jobs", "1", "--exclude", "*.o", "--newer", "2d", "--limit-rate", "1G", "--quiet"]
    async with daemon(home / "in") as url:
        await interrupt(*words, "--no-resume", "first", "my file", "photos", url)
        _, err = capsys.readouterr()
        assert err.startswith("interrupted: 1 file stored\n")  # and nothing of the rest was sent
        line = shlex.split(err.splitlines()[-1].removeprefix("→ "))
        assert line[:2] == ["uploadd", "put"]
        assert line[-3:] == ["my file", "photos", f"{url}/"]
        again, before = order(*line[2:]), order(*words, "x", url)
        for name in ("jobs", "exclude", "rate", "quiet", "checksum", "json", "progress"):
            assert getattr(again, name) == getattr(before, name), name
        assert again.newer == pytest.approx(before.newer, abs=60)
        assert again.resume
        assert await run(*line[2:]) == exits.OK
    assert published(home).keys() == {"first", "my file", *tree}


async def test_an_interrupted_folder_goes_on_where_it_was(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is stored of it is not stored again, and its URLs are printed with the others."""
    async with daemon(home / "in") as url:
        await interrupt("--jobs", "1", "photos", url)
        first, err = capsys.readouterr()
        assert first.splitlines()[0].endswith("/a.jpg")
        line = shlex.split(err.splitlines()[-1].removeprefix("→ "))
        assert await run(*line[2:]) == exits.OK
    out, err = capsys.readouterr()
    assert out.splitlines()[: len(first.splitlines())] == first.splitlines()
    assert len(out.splitlines()) == len(tree)
    assert published(home).keys() == set(tree)


async def test_interrupted_json_ends_with_a_summary_too(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """And has the command in it."""
    async with daemon(home / "in") as url:
        await interrupt("--jobs", "1", "--json", "photos", url)
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert (summary["interrupted"], summary["exit_code"]) == (True, exits.INTERRUPTED)
    assert summary["resume"] == f"uploadd put --jobs 1 --json photos {url}/"


@pytest.mark.parametrize("token", [False, True])
def test_a_ticket_is_not_repeated_and_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path, *, token: bool
) -> None:
    """What is printed goes on only with the link; where a token counts instead it goes on as is."""
    if token:
        monkeypatch.setenv("UPLOADD_TOKEN", "s3cret")
    words = ("film", "http://host/#ticket=t1cket")
    with command.screen(parse(*words)) as screen:
        Batch(order(*words), screen, output(screen, as_json=False)).interrupted(130)
    err = capsys.readouterr().err
    assert "t1cket" not in err
    assert ("the link that you were given" in err) is not token
    assert err.endswith("\n→ uploadd put film http://host/\n")


def test_standard_input_cannot_be_resumed_and_that_is_said(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    """There is no command that would."""
    asked = order("-", "http://host")
    with command.screen(parse("-", "http://host")) as screen:
        Batch(asked, screen, output(screen, as_json=False)).interrupted(130)
    assert capsys.readouterr().err.splitlines() == [
        "interrupted: 0 of 1 file stored",
        "standard input cannot be resumed: what was sent of it is lost",
    ]


# --- what is remembered -------------------------------------------------------------------------


async def test_the_unfinished_are_listed_and_forgotten(
    home: Path, tree: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With server, age and size; all, or those of some paths, or of one server."""
    states = States(directory())
    write("film", bytes(2048))
    for path in ("film", "photos/c.jpg", "photos/2024/a.jpg"):
        states.save(known(path, "http://one"), f"id-of-{path}")
    states.save(known("film", "http://two"), "other")
    journal = Journal(directory(), "http://one/")
    journal.add(known("photos/notes/x.txt", "http://one"), "done")
    journal.add(known("photos/2024/b.jpg", "http://one"), "done")

    def listed(*words: str) -> list[str]:
        assert put.main(parse("--list", *words)) == exits.OK
        return sorted(line.split("ago  ")[1] for line in capsys.readouterr().out.splitlines())

    film, c, a = (str(home / path) for path in ("film", "photos/c.jpg", "photos/2024/a.jpg"))
    one, two = "http://one/", "http://two/"
    assert listed() == [f"{one}  {film}", f"{one}  {a}", f"{one}  {c}", f"{two}  {film}"]
    assert listed("film", one) == [f"{one}  {film}"]
    assert listed("photos/2024") == [f"{one}  {a}"]
    assert put.main(parse("--list", "film", two)) == exits.OK
    assert capsys.readouterr().out.startswith("   2.0 KiB     0.")
    assert put.main(parse("--list", "--json", two)) == exits.OK
    entry, summary = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (entry["path"], entry["id"], entry["length"]) == (film, "other", 2048)
    assert entry["began"][:4] >= "2026"
    assert summary == {"summary": {"unfinished": 1}}

    assert put.main(parse("--list", "photos/2024")) == exits.OK
    assert "1 file stored, of commands that are not through" in capsys.readouterr().err
    assert put.main(parse("--forget", "photos/notes")) == exits.OK
    assert [line.upload for path in journals(directory()) for line in lines(path)] == ["done"]
    assert put.main(parse("--forget", "photos")) == exits.OK
    assert journals(directory()) == []
    assert listed() == [f"{one}  {film}", f"{two}  {film}"]
    assert put.main(parse("--forget", "nothing")) == exits.FAILED
    assert "nothing: nothing is remembered of it\n→ " in capsys.readouterr().err
    assert put.main(parse("--forget", two)) == exits.OK
    assert listed() == [f"{one}  {film}"]
    assert put.main(parse("--forget")) == exits.OK
    assert listed() == []
    assert list(directory().iterdir()) == []


def test_journals_are_forgotten_by_the_command_that_ends_what_they_began(home: Path) -> None:
    """And by no other; half a line costs one file and no more."""
    known = [Known(f"/f{number}", 1, 2, "http://one/") for number in range(4)]
    first, other = Journal(home, "http://one/"), Journal(home, "http://one/")
    for one in known[:2]:
        first.add(one, f"id-of-{one.path}")
    other.add(known[2], "other")
    other.add(known[3], "cut")
    [path] = [
        path for path in journals(home) if len(list(lines(path))) == 2 and "cut" in path.read_text()
    ]
    path.write_bytes(path.read_bytes()[:-5])
    second = Journal(home, "http://one/")
    assert [second.find(one) for one in known] == ["id-of-/f0", "id-of-/f1", "other", None]
    assert Journal(home, "http://two/").find(known[0]) is None
    for one in known[:2]:
        assert not second.has(one)
        second.add(one, f"id-of-{one.path}")
        assert second.has(one)
    assert len(journals(home)) == 3
    second.forget()
    assert journals(home) == [path]


def test_an_old_state_file_is_still_good(home: Path) -> None:
    """One that an earlier version wrote, without size and age."""
    write("film", b"data")
    states = States(directory())
    states.save(known("film", "http://one"), "id")
    [path] = directory().iterdir()
    path.write_text('{"upload":"old","path":"/film","server":"http://one/"}')
    assert states.find(known("film", "http://one")) == "old"
    assert put.main(parse("--list")) == exits.OK


# --- the command line ---------------------------------------------------------------------------

NAMED = "uploadd put --name x --token-file t"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["a", "b", "--name", "x", "http://h"], "uploadd put --name x a http://h/"),
        (["a", "localhost:80"], "uploadd put a http://localhost:80"),
        (
            ["a", "localhost:80", "--token-file", "t", "--jobs", "2", "--exclude", "*.o"],
            "uploadd put --jobs 2 '--exclude=*.o' --token-file t a http://localhost:80",
        ),
        (["a", "--jobs", "0", "http://h"], "uploadd put --jobs 1 a http://h/"),
        (["a", "b", "--token-file", "t", "--name", "x"], f"{NAMED} a http://127.0.0.1:8080/"),
        (["folder", "--name", "x", "http://h"], "uploadd put folder http://h/"),
        (["a", "--limit-rate", "x"], "uploadd put --limit-rate 5M ..."),
        (["a", "--newer", "x"], "uploadd put --newer 2d ..."),
        (["--watch", "folder", "a", "http://h"], "uploadd put --watch folder http://h/"),
        (["--watch", "nowhere", "http://h"], "mkdir nowhere"),
        (["--watch", "folder", "--settle", "x"], "uploadd put --settle 5s ..."),
        (["my file", "ftp://h"], "uploadd put 'my file' http://127.0.0.1:8080"),
        (["--list", "--forget"], "uploadd put --list"),
        (["a", "--token-file", "none"], "put the token into it, readable for you: ls -l none"),
        ([], "uploadd put FILE... http://127.0.0.1:8080/"),
    ],
)
def test_a_mistake_is_answered_with_the_words_that_were_typed(
    words: list[str], hint: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that the right line can be pasted; no raw error of the system is in it."""
    Path("folder").mkdir()
    assert put.main(parse(*words)) == exits.USAGE
    err = capsys.readouterr().err
    assert err.endswith(f"\n→ {hint}\n")
    assert "Errno" not in err


def test_a_file_may_be_called_like_an_option(home: Path) -> None:
    """Behind --, or with ./ before it, as the resume command has it."""
    assert order("--jobs", "2", "--", "-x", "--name", "http://h").files == ["-x", "--name"]
    assert "./-x ./--name http://h/" in order("--", "-x", "http://h").line(["-x", "--name"])


def test_the_help_has_the_exit_codes_and_the_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    """They are frozen, and scripts are written from them."""
    with pytest.raises(SystemExit):
        parse("--help")
    told = capsys.readouterr().out
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 130):
        assert f"\n  {code:<4} " in told
    for words in ("cache/", "as rsync has it", "network file systems"):
        assert words in told
