"""Lists of uploads, made as they are read: for who reads nothing one piece is made.

A list that is one piece is an answer like others.  Of a longer one the next piece is looked up when
the last was sent, so that neither the uploads nor what is told of them wait in memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

import msgspec

from uploadd import errors
from uploadd.archive import Page, Place
from uploadd.protocol import api, questions
from uploadd.protocol.api import Shown
from uploadd.protocol.questions import PAGE, Listing
from uploadd.protocol.upload import Upload
from uploadd.serve.exchange import Exchange

PIECE: Final = 32 * 1024
"""Bytes of a piece, about: more than a page that nobody made longer."""

Look: TypeAlias = Callable[[Listing], Awaitable[Page]]
Show: TypeAlias = Callable[[Upload], Shown]


async def answer(exchange: Exchange, asked: Listing, look: Look, show: Show) -> None:
    """Answer *exchange* with a `Listed` of what *look* finds, each as *show* has it."""
    listed = _Listed(asked, look, show)
    first = [await listed.piece()]
    if listed.over:
        await exchange.answer(200, api.FIELDS, first.pop())
        return
    async with aclosing(_pieces(first, listed)) as pieces:
        await exchange.stream_answer(200, api.FIELDS, pieces)


async def _pieces(first: list[bytes], listed: _Listed) -> AsyncGenerator[bytes, None]:
    yield first.pop()
    while not listed.over:
        yield await listed.piece()


class _Listed:
    """One document, piece by piece."""

    def __init__(self, asked: Listing, look: Look, show: Show) -> None:
        self._asked, self._look, self._show = asked, look, show
        self._left, self._next = asked.limit, asked.before
        self._before = b'{"uploads":['
        self.over = False

    async def piece(self) -> bytes:
        """The next of it, maybe empty."""
        most = min(self._left, PAGE)
        try:
            page = await self._look(self._asked._replace(limit=most, before=self._next))
        except errors.TooMany:
            if self._left == self._asked.limit:
                raise
            page = Page([], self._next)  # what was begun ends here
        texts, count = self._told(page.uploads)
        self._left -= count
        if count < len(page.uploads):
            self._next = place(page.uploads[count - 1])
        else:
            self._next = page.last
            self.over = not self._left or page.last is None or count < most
        told = self._before + b",".join(texts) if texts else b""
        if told:
            self._before = b","
        return told + self._end() if self.over else told

    def _told(self, uploads: list[Upload]) -> tuple[list[bytes], int]:
        """What is told of as many of *uploads* as make a piece; how many that is."""
        texts: list[bytes] = []
        size = 0
        for count, upload in enumerate(uploads):
            shown = self._show(upload)
            if shown.state not in self._asked.states:
                continue
            text = msgspec.json.encode(shown)
            size += len(text)
            if texts and size > PIECE:
                return texts, count
            texts.append(text)
        return texts, len(uploads)

    def _end(self) -> bytes:
        begun = b"" if self._before == b"," else self._before
        next = b""
        if self._next is not None:
            next = b',"next":' + msgspec.json.encode(questions.cursor(*self._next))
        return begun + b"]" + next + b"}\n"


def place(upload: Upload) -> Place:
    """Where *upload* stands among others."""
    return upload.created, upload.id
