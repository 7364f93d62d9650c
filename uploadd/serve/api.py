"""The plain JSON of ``/api``: how uploads stand, which there are, how they ended."""

from __future__ import annotations

import heapq
from math import inf

import trio

from uploadd import errors
from uploadd.archive import Page
from uploadd.auth import Operation, Who, is_of
from uploadd.protocol import api, openapi, questions
from uploadd.protocol.api import Notices, Shown
from uploadd.protocol.heads import Head
from uploadd.protocol.origins import check_page
from uploadd.protocol.questions import Listing, Query, Waiting
from uploadd.protocol.routes import Conversation, Route
from uploadd.protocol.upload import State, Upload
from uploadd.serve import listing
from uploadd.serve.events import Events
from uploadd.serve.exchange import Exchange
from uploadd.serve.linking import make_link
from uploadd.serve.looking import Names, Waiters, end, heard, present
from uploadd.serve.rules import Rules
from uploadd.uploads import Uploads


class Api:
    """Answers about *uploads* by *rules*; *names* are what their clients call them."""

    def __init__(self, uploads: Uploads, names: Names, rules: Rules, version: str) -> None:
        self._uploads, self._names, self._rules, self._version = uploads, names, rules, version
        self.waiters = Waiters(rules.max_events)
        self._events = Events(uploads, names, self.waiters, rules.access)

    def adopt(self, rules: Rules) -> None:
        """Answer by *rules* from now on; streams that run keep what they began with."""
        self._rules, self.waiters.most = rules, rules.max_events
        self._events = Events(self._uploads, self._names, self.waiters, rules.access)

    async def converse(self, exchange: Exchange, head: Head, to: Route) -> None:
        """Answer *exchange*, whose *head* leads *to* somewhere here.  Raises UploadError."""
        check_page(head, self._rules.origins)
        query = questions.query_of(to.query)
        match to.conversation:
            case Conversation.STATUS:
                await self._status(exchange, to.upload or "", questions.waiting(query))
            case Conversation.REMOVE | Conversation.CANCEL:
                await self._end(exchange, to)
            case Conversation.LISTING:
                await self._list(exchange, questions.listing(query))
            case Conversation.ACTIVE:
                await self._active(exchange, questions.listing(query))
            case Conversation.EVENTS:
                asked = questions.watching(head, query, self._rules.max_watched)
                await self._events.stream(exchange, asked)
            case Conversation.NOTICES:
                await self._notices(exchange, query)
            case Conversation.READ:
                await self._read(exchange)
            case Conversation.LINK:
                asked_link = api.linking(await _small_body(exchange))
                link = await make_link(self._uploads, self._rules.access, exchange.who, asked_link)
                await exchange.answer(*api.told(link, 201))
            case Conversation.OPENAPI:
                await exchange.answer(*openapi.page(self._version))
            case other:
                raise AssertionError(other)

    # --- one upload -------------------------------------------------------------------------------

    async def _status(self, exchange: Exchange, name: str, asked: Waiting) -> None:
        upload = await self._names.find(name, exchange.who)
        self._rules.access.check(exchange.who, Operation.LOOK, upload)
        if asked.wait and not self.waiters.draining:
            await self._wait(exchange, upload, asked)
            self._rules.access.check(exchange.who, Operation.LOOK, upload)  # it took a while
        status, fields, body = api.told(self._shown(present(upload), exchange.who))
        if self.waiters.draining:
            fields.append(api.COME_BACK)
        await exchange.answer(status, fields, body)

    async def _wait(self, exchange: Exchange, upload: Upload, asked: Waiting) -> None:
        """Wait until *upload* is beyond what was *asked*, stands otherwise, or time is over."""
        watch = self._uploads.watch
        after = upload.held.total if asked.after is None else asked.after
        state = watch.life(upload).seen()

        def is_over() -> bool:
            final = upload.state not in (State.RECEIVING, State.FINALIZING)
            moved = upload.held.total > after or watch.life(upload).seen() is not state
            return final or moved or self.waiters.draining

        if is_over():
            return
        with self.waiters.one() as bell:
            watcher = watch.watcher(bell.ring)
            watcher.add_upload(upload)
            try:
                with trio.move_on_after(asked.wait):
                    async with heard(exchange):
                        while not is_over():
                            await bell.rung()
                            watcher.take()
            finally:
                watcher.close()

    async def _end(self, exchange: Exchange, to: Route) -> None:
        upload = await self._names.find(to.upload or "", exchange.who)
        if to.conversation is Conversation.CANCEL and upload.state is State.PUBLISHED:
            raise errors.Conflict(f"upload {upload.id} is complete", offset=upload.offset)
        await end(self._uploads, upload, exchange, self._rules.access)
        await exchange.answer(*api.done())

    def _shown(self, upload: Upload, who: Who) -> Shown:
        life = self._uploads.watch.life(upload)
        glance = self._uploads.watch.glance(upload)
        rate = life.rate.at(trio.current_time())
        return api.shown(upload, glance, rate, mine=is_of(upload, who))

    # --- many -------------------------------------------------------------------------------------

    def _permit(self, asked: Listing, who: Who) -> None:
        what = Operation.LIST_MINE if asked.mine else Operation.LIST_ALL
        self._rules.access.check(who, what)

    async def _list(self, exchange: Exchange, asked: Listing) -> None:
        who = exchange.who
        self._permit(asked, who)

        async def look(asked: Listing) -> Page:
            return await self._uploads.page(asked, who.owner if asked.mine else None)

        await listing.answer(exchange, asked, look, lambda upload: self._shown(upload, who))

    async def _active(self, exchange: Exchange, asked: Listing) -> None:
        who = exchange.who
        self._permit(asked, who)

        async def look(asked: Listing) -> Page:
            await trio.lowlevel.checkpoint()
            before = asked.before or (inf, "")
            moving = (u for u in self._uploads.watch.moving() if listing.place(u) < before)
            found = heapq.nlargest(
                asked.limit,
                (upload for upload in moving if not asked.mine or is_of(upload, who)),
                listing.place,
            )
            return Page(found, listing.place(found[-1]) if len(found) == asked.limit else None)

        await listing.answer(exchange, asked, look, lambda upload: self._shown(upload, who))

    # --- how things ended -------------------------------------------------------------------------

    def _owner(self, who: Who) -> str:
        self._rules.access.check(who, Operation.LIST_MINE)
        return who.owner

    async def _notices(self, exchange: Exchange, query: Query) -> None:
        only_unread = questions.unread(query)
        kept = await self._uploads.archive.notices(self._owner(exchange.who), unread=only_unread)
        told = [api.noticed(one.notice, read=one.read) for one in kept]
        unread = sum(not one.read for one in kept)
        await exchange.answer(*api.told(Notices(told, unread)))

    async def _read(self, exchange: Exchange) -> None:
        owner = self._owner(exchange.who)
        said = api.read(await _small_body(exchange)).notices
        await self._uploads.archive.read(owner, None if isinstance(said, str) else said)
        await exchange.answer(*api.done())


async def _small_body(exchange: Exchange) -> bytes:
    """The whole body, which is no file.  Raises TooLarge."""
    body = bytearray()
    while data := await exchange.receive_body():
        body += data
        if len(body) > api.MAX_BODY:
            raise errors.TooLarge(f"a document of more than {api.MAX_BODY} bytes")
    return bytes(body)
