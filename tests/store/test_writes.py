"""Writes share thread hops: fair, and never half done."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from uploadd.store.file import FileStore


async def test_nobody_writes_for_others_for_ever(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small writes share thread hops; whoever began one is not kept while more keep coming."""
    store = FileStore(str(root))
    completed: list[str] = []
    longest = 0
    real = os.pwritev

    def slow(*args: Any) -> int:  # so that some always come while a hop is under way
        time.sleep(0.001)
        return real(*args)

    monkeypatch.setattr(os, "pwritev", slow)

    async def writer(id: str) -> None:
        nonlocal longest
        for at in range(30):
            before = len(completed)
            await store.write(id, at, [b"x"])
            longest = max(longest, len(completed) - before)
            completed.append(id)

    async with trio.open_nursery() as nursery:
        for id in "abcdefgh":
            nursery.start_soon(writer, id)
            await trio.sleep(0.0015)
    assert longest <= 3 * 8
    await store.aclose()


async def test_a_cancelled_write_is_waited_out_and_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffers are in use; a small one and those that share its thread hop, and a large one."""
    store = FileStore(str(root))
    begun, gate = threading.Event(), threading.Event()
    real = os.pwritev

    def slow(*args: Any) -> int:
        begun.set()
        gate.wait(10)
        return real(*args)

    monkeypatch.setattr(os, "pwritev", slow)
    async with trio.open_nursery() as nursery:
        for id, size in (("a", 10), ("b", 20), ("c", 200_000)):
            nursery.start_soon(store.write, id, 0, [bytes(size)])
        await trio.to_thread.run_sync(begun.wait)
        nursery.cancel_scope.cancel()
        gate.set()
    assert [store.unflushed(id) for id in "abc"] == [10, 20, 200_000]
    await store.aclose()
