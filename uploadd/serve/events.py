"""A stream of what is watched, for whoever can only listen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from uploadd import errors
from uploadd.auth import Access, Operation, Who
from uploadd.latest import EVERYBODY, of_owner, of_upload
from uploadd.protocol import sse
from uploadd.protocol.questions import Watching
from uploadd.protocol.wsmessages import Gone, encode
from uploadd.serve.exchange import Exchange
from uploadd.serve.looking import Bell, Names, Waiters, heard, present
from uploadd.uploads import Uploads
from uploadd.watch import Watcher


class Events:
    """Streams of *uploads*, each a place among *waiters*."""

    def __init__(self, uploads: Uploads, names: Names, waiters: Waiters, access: Access) -> None:
        self._uploads, self._names, self._waiters = uploads, names, waiters
        self._access = access

    async def stream(self, exchange: Exchange, asked: Watching) -> None:
        """Answer with what is *asked*, until the client goes or the daemon stops.

        Raises Forbidden, NotFound when there is nothing of all that, TooMany.
        """
        with self._waiters.one() as bell:
            watcher = self._uploads.watch.watcher(bell.ring)
            try:
                async with heard(exchange):
                    first = await self._begin(watcher, asked, exchange.who)
                    pieces = self._pieces(watcher, bell, first, exchange.who)
                    async with aclosing(pieces):
                        await exchange.stream_answer(200, sse.FIELDS, pieces)
            finally:
                watcher.close()

    async def _begin(self, watcher: Watcher, asked: Watching, who: Who) -> list[bytes]:
        """Watch what is asked for; what is to be said before everything else."""
        since = sse.since(asked.last, self._uploads.watch.epoch)
        if asked.subjects == "mine":
            self._access.check(who, Operation.WATCH_MINE)
            watcher.add(of_owner(who.owner), since=since)
            for one in await self._uploads.archive.notices(who.owner, unread=True):
                watcher.note(one.notice)
            return [sse.RETRY]
        if asked.subjects == "all":
            self._access.check(who, Operation.WATCH_ALL)
            watcher.add(EVERYBODY, since=since)
            return [sse.RETRY]
        first = [sse.RETRY]
        refused: errors.UploadError = errors.NotFound("there is none of these uploads")
        found = await self._names.find_all(asked.subjects, who)
        for name, known in zip(asked.subjects, found, strict=True):
            try:
                upload = present(known)
                self._access.check(who, Operation.WATCH, upload)
            except errors.NotFound:
                first.append(_gone(name, "unknown"))
            except errors.Gone as error:
                first.append(_gone(name, error.reason))
            except errors.Forbidden as error:
                first.append(_gone(name, "forbidden"))
                refused = error
            else:
                watcher.add_upload(upload)
        if not watcher.subjects:
            raise refused
        return first

    async def _pieces(
        self, watcher: Watcher, bell: Bell, first: list[bytes], who: Who
    ) -> AsyncGenerator[bytes, None]:
        first.append(self._told(watcher))
        yield _emptied(first)
        while watcher.subjects and not self._waiters.draining:
            with trio.move_on_after(sse.HEARTBEAT) as silence:
                if not watcher.ready:
                    await bell.rung()
            if self._access.over(who) is not None:
                break
            if watcher.ready or silence.cancelled_caught:  # nothing is kept here that was said
                yield self._told(watcher) or sse.COMMENT
        yield sse.RETRY

    def _told(self, watcher: Watcher) -> bytes:
        """Some of what is new, and up to where that is all of it."""
        lives, watch = watcher.take(), self._uploads.watch
        told = [sse.event("notice", encode(notice)) for notice in watcher.notices()]
        number = max((life.number for life in lives), default=0)
        for life in lives:
            last = life is lives[-1] and not watcher.behind
            id = sse.event_id(watch.epoch, number) if last else None
            told.append(sse.event("gone" if life.gone else "progress", life.text, id))
            if life.gone:
                watcher.drop(of_upload(life.upload.id))
        return b"".join(told)


def _gone(id: str, reason: str) -> bytes:
    return sse.event("gone", encode(Gone(id, reason)))


def _emptied(pieces: list[bytes]) -> bytes:
    whole = b"".join(pieces)
    pieces.clear()
    return whole
