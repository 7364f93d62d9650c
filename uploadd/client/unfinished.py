"""``--list`` and ``--forget``: what is remembered of uploads that are not finished."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from uploadd.client import exits
from uploadd.client.journal import count_lines, forget_lines
from uploadd.client.memory import forget_watched
from uploadd.client.output import JsonLines, text
from uploadd.client.reporter import Reporter
from uploadd.client.state import Entry, States, directory
from uploadd.protocol.saying import duration, plural, size


def show(reporter: Reporter, paths: Sequence[str], server: str | None, *, as_json: bool) -> int:
    """List them, the oldest first; of *paths* and *server* only, where given."""
    found = (entry for _, entry in _select(States(directory()), paths, server))
    running = sorted(found, key=lambda one: one.began)
    for entry in running:
        if as_json:
            JsonLines(reporter).write(_members(entry))
        else:
            age = duration(max(0.0, time.time() - entry.began)) if entry.began else "?"
            reporter.result(f"{size(entry.size):>10}  {age:>7} ago  {entry.server}  {entry.path}")
    if as_json:
        JsonLines(reporter).close({"unfinished": len(running)})
    if not running:
        reporter.say("nothing is unfinished")
    stored = count_lines(directory(), _wanted(paths), server)
    if stored:
        told = f"{plural(stored, 'file')} stored, of commands that are not through"
        reporter.say(f"{told}: who types those again does not send them again")
    return exits.OK


def forget(reporter: Reporter, paths: Sequence[str], server: str | None) -> int:
    """Forget all, or those of *paths*: files, or folders with what lies in them."""
    counts = [_forget([path], server) for path in paths] if paths else [_forget([], server)]
    total = sum(counts)
    reporter.say(f"forgot {total} {'entry' if total == 1 else 'entries'}")
    unknown = [path for path, count in zip(paths, counts, strict=False) if not count]
    for path in unknown:
        reporter.insist(f"{path}: nothing is remembered of it")
        reporter.insist("→ uploadd put --list")
    return exits.FAILED if unknown else exits.OK


def _forget(paths: Sequence[str], server: str | None) -> int:
    states, home = States(directory()), directory()
    found = [id for id, _ in _select(states, paths, server)]
    for id in found:
        states.drop(id)
    watched = os.path.abspath(paths[0]) if paths else None
    return (
        len(found)
        + forget_lines(home, _wanted(paths), server)
        + forget_watched(home, watched, server)
    )


def _wanted(paths: Sequence[str]) -> Callable[[str], bool]:
    covers = [_covers(path) for path in paths]
    return lambda path: not covers or any(cover(path) for cover in covers)


def _select(
    states: States, paths: Sequence[str], server: str | None
) -> Iterator[tuple[str, Entry]]:
    wanted = _wanted(paths)
    for id, entry in states.entries():
        if wanted(entry.path) and server in (None, entry.server):
            yield id, entry


def _covers(path: str) -> Callable[[str], bool]:
    absolute = text(os.path.abspath(path))
    return lambda other: f"{text(other)}/".startswith(absolute.rstrip("/") + "/")


def _members(entry: Entry) -> dict[str, object]:
    began = datetime.fromtimestamp(entry.began, UTC).isoformat() if entry.began else None
    return {
        "path": entry.path,
        "server": entry.server,
        "id": entry.upload,
        "length": entry.size,
        "began": began,
    }
