"""The oracle: what a history says was told, against what a folder holds.

A history is written beside the store, on another file system: one JSON object a line, fsynced,
*after* the fact was told.  What was only asked for is in it too, so that every state found
later can be explained: an upload may be published if somebody wanted to complete it, gone if
somebody wanted to cancel it, and nothing else.
"""

from __future__ import annotations

import functools
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import trio

from tests.witness import outbox, witness
from uploadd.ledger import Ledger
from uploadd.protocol.upload import State, Upload
from uploadd.recovery import recover
from uploadd.store.file import FileStore

STATE: Final = ".uploadd"
LEDGER: Final = f"{STATE}/ledger.db"
GROWING: Final = f"{STATE}/growing"


@functools.lru_cache(maxsize=64)
def content(seed: int, length: int) -> bytes:
    """What an upload of this seed consists of."""
    return random.Random(seed).randbytes(length)


class History:
    """Appends to a history; *listener* (a descriptor) gets every line as well.

    `told` is called after each, for those who want to do harm at such moments.
    """

    def __init__(self, path: str, listener: int = -1) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self.path = path
        self.told: Callable[[], None] = lambda: None
        self._fd, self._listener = os.open(path, flags, 0o600), listener

    def add(self, fact: str, id: str, **more: object) -> None:
        """Write one line down, and have it on disk."""
        line = json.dumps({"fact": fact, "id": id, **more}).encode() + b"\n"
        os.write(self._fd, line)
        os.fsync(self._fd)
        if self._listener >= 0:
            os.write(self._listener, line)
        self.told()

    def close(self) -> None:
        os.close(self._fd)


@dataclass
class Told:
    """All that a history says of one upload."""

    seed: int
    length: int
    name: str
    enrolled: bool = False
    offset: int = 0
    completing: bool = False
    path: str | None = None
    cancelling: bool = False
    gone: bool = False

    @property
    def content(self) -> bytes:
        return content(self.seed, self.length)


def is_promise(line: bytes) -> bool:
    """Whether a line of a history says what was told, and not what was only asked for."""
    return json.loads(line)["fact"] in ("enrolled", "offset", "published", "gone")


def read_history(path: str) -> dict[str, Told]:
    """What was told of each upload, by id."""
    told: dict[str, Told] = {}
    with open(path, "rb") as file:
        for line in file:
            said = json.loads(line)
            fact, id = said["fact"], said["id"]
            match fact:
                case "begun":
                    told[id] = Told(said["seed"], said["length"], said["name"])
                case "enrolled" | "completing" | "cancelling" | "gone":
                    setattr(told[id], fact, True)
                case "offset":
                    assert said["offset"] >= told[id].offset, f"{id}: told a smaller offset"
                    told[id].offset = said["offset"]
                case "published":
                    told[id].path = said["path"]
                case "refused":
                    assert said["offset"] is None or said["offset"] <= told[id].length
    return told


@dataclass
class Verdict:
    """What the oracle found.  Nothing in *problems*: everything that was told is held."""

    uploads: int = 0
    bytes_told: int = 0
    bytes_lost: int = 0
    published: int = 0
    unfinished: int = 0
    problems: list[str] = field(default_factory=list)


def verify(dir: str, history: str) -> dict[str, Any]:
    """Open *dir* as a start of the daemon does, twice, and judge it: a `Verdict` as a dict."""
    told = read_history(history)
    first, before = trio.run(_judge, dir, told)
    second, after = trio.run(_judge, dir, told)
    if before != after:
        changed = [f"{a} -> {b}" for a, b in zip(before, after, strict=False) if a != b]
        first.problems.append(f"recovering twice is not recovering once: {changed}")
    first.problems += [text for text in second.problems if text not in first.problems]
    return asdict(first)


async def _judge(dir: str, told: dict[str, Told]) -> tuple[Verdict, list[str]]:
    store, ledger = FileStore(dir), Ledger(os.path.join(dir, LEDGER))
    verdict = Verdict(uploads=len(told))
    try:
        await recover(store, ledger, hooks=witness())
        uploads = {id: await ledger.find(id) for id in told}
        for id, one in told.items():
            _judge_one(dir, one, uploads[id], id, verdict)
        for one in await ledger.unfinished():
            if one.id not in told:
                verdict.problems.append(f"{one.id}: nobody began it")
        events = [(event.upload, event.kind) for event in await outbox(ledger)]
        _judge_events(uploads, events, verdict)
        _judge_folder(dir, uploads, verdict)
    finally:
        await store.aclose()
        await ledger.aclose()
    _judge_ledger(dir, verdict)
    return verdict, _snapshot(dir)


def _judge_one(dir: str, one: Told, upload: Upload | None, id: str, verdict: Verdict) -> None:
    verdict.bytes_told += one.length if one.path else one.offset
    for problem, lost in _complaints(dir, one, upload):
        verdict.problems.append(f"{id}: {problem}")
        verdict.bytes_lost += lost
    if upload is not None:
        verdict.published += upload.state is State.PUBLISHED
        verdict.unfinished += upload.state is State.RECEIVING


def _complaints(dir: str, one: Told, upload: Upload | None) -> Iterator[tuple[str, int]]:
    """What is wrong with one upload, and how many bytes that were told are lost."""
    state = upload.state if upload else None
    told = one.length if one.path else one.offset
    if one.gone and state not in (State.CANCELLED, State.LOST):
        yield f"told gone, and it is {state}", 0
    if one.path and state is not State.PUBLISHED:
        yield f"told published as {one.path}, and it is {state}", told
    if state is None:
        if one.enrolled or one.offset:
            yield f"told enrolled at {one.offset}, and there is no row", told
    elif state is State.PUBLISHED:
        yield from _published(dir, one, upload)
    elif state is State.RECEIVING:
        yield from _receiving(dir, one, upload)
    elif state in (State.CANCELLED, State.LOST) and one.cancelling:
        pass  # lost: killed when its bytes had been removed to make room for this very line
    else:
        yield f"{state}, and nobody asked for it", told


def _published(dir: str, one: Told, upload: Upload | None) -> Iterator[tuple[str, int]]:
    assert upload is not None
    assert upload.published is not None
    path, told = upload.published.path, one.length if one.path else one.offset
    if not one.completing:
        yield "published, and nobody asked for it", 0
    if one.path not in (None, path):
        yield f"told published as {one.path}, and it is {path}", 0
    try:
        with open(os.path.join(dir, path), "rb") as file:
            stat, data = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        yield f"published as {path}, and there is no file", told
        return
    if data != one.content:
        yield f"published as {path}, with {len(data)} bytes that are not those sent", told
    if (stat.st_ino, stat.st_nlink) != (upload.published.inode, 1):
        yield f"{path} has inode {stat.st_ino} and {stat.st_nlink} links", 0


def _receiving(dir: str, one: Told, upload: Upload | None) -> Iterator[tuple[str, int]]:
    assert upload is not None
    offset = upload.offset
    if offset < one.offset:
        yield f"told {one.offset}, and it is at {offset}", one.offset - offset
    try:
        with open(os.path.join(dir, GROWING, upload.id), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        data = b""
    if len(data) != upload.held.end:
        yield f"holds {upload.held}, and the file has {len(data)} bytes", 0
    if data[:offset] != one.content[:offset]:
        yield f"the first {offset} bytes are not those sent", min(offset, one.offset)


def _judge_events(
    uploads: dict[str, Upload | None], events: list[tuple[str, str]], verdict: Verdict
) -> None:
    """No event without a file, no file without its event, and each once."""
    published = {id for id, u in uploads.items() if u and u.state is State.PUBLISHED}
    expected = sorted((id, "post-finish") for id in published)
    if sorted(events) != expected:
        verdict.problems.append(f"outbox {sorted(events)}, published {sorted(published)}")


def _judge_folder(dir: str, uploads: dict[str, Upload | None], verdict: Verdict) -> None:
    """Nothing under a final name but what is published, nothing growing but what is received."""
    known = {u.published.path for u in uploads.values() if u and u.published}
    for path, _ in _files(dir):
        if not path.startswith(STATE) and path not in known:
            verdict.problems.append(f"{path}: nobody published it")
    for id in os.listdir(os.path.join(dir, GROWING)):
        upload = uploads.get(id)
        if upload is None or upload.state is not State.RECEIVING:
            verdict.problems.append(f"growing/{id} is {upload.state if upload else 'unknown'}")


def _judge_ledger(dir: str, verdict: Verdict) -> None:
    with closing(sqlite3.connect(os.path.join(dir, LEDGER))) as db:
        (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            verdict.problems.append(f"ledger: {sound}")


def _snapshot(dir: str) -> list[str]:
    """Every row, and every file but the ledger's, as text."""
    with closing(sqlite3.connect(os.path.join(dir, LEDGER))) as db:
        rows = [str(row) for table in ("uploads", "outbox") for row in db.execute(_ALL[table])]
    return rows + [
        f"{path} {stat.st_ino} {stat.st_size} {stat.st_nlink}"
        for path, stat in sorted(_files(dir))
        if not path.startswith(LEDGER)
    ]


_ALL: Final = {
    "uploads": "SELECT * FROM uploads ORDER BY id",
    "outbox": "SELECT * FROM outbox ORDER BY event",
}


def _files(dir: str) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below *dir*: its path there, and its stat."""
    for folder, _, names in os.walk(dir):
        for name in names:
            path = os.path.join(folder, name)
            yield os.path.relpath(path, dir), os.stat(path, follow_symlinks=False)
