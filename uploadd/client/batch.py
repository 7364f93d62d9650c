"""The files of one ``uploadd put``: stored several at a time, told in the order given."""

from __future__ import annotations

import os
import time
from collections import Counter

import trio

from uploadd.client import exits, state
from uploadd.client.errors import NotAuthorised, ServerUnavailable, UploadFailed
from uploadd.client.feed import Feed
from uploadd.client.journal import Journal
from uploadd.client.nursery import open_plain_nursery
from uploadd.client.order import LINKED, Order
from uploadd.client.output import Outcome, Output
from uploadd.client.reporter import Reporter
from uploadd.client.selection import STDIN, Item
from uploadd.client.sending import Sender
from uploadd.client.session import open_client
from uploadd.client.state import States
from uploadd.client.totals import Totals


class Batch:
    """One command: stored *jobs* at a time, told in the order given."""

    def __init__(self, order: Order, reporter: Reporter, output: Output) -> None:
        self._order, self._reporter, self._output = order, reporter, output
        self._totals = Totals()
        self._selection = order.selection()
        self._folders = any(os.path.isdir(word) for word in order.files)
        self._totals.expected = 0 if self._folders else len(order.files)
        self._totals.counted = not self._folders
        self._turn = 0  # of the outcome that is told next
        self._outcomes: dict[int, Outcome] = {}  # those that wait for their turn
        self._missing: Counter[int] = Counter()  # of each argument: begun and not stored
        self._newest: Item | None = None
        self._codes: set[int] = set()
        self._hopeless: UploadFailed | None = None  # no other file would fare better

    async def run(self) -> int:
        """Store them all; the exit code."""
        order = self._order
        feed = Feed(self._selection.walk())
        async with (
            open_client(order.url, order.token, tell=self._reporter.say, rate=order.rate) as client,
            open_plain_nursery() as aside,
        ):
            home = state.directory()
            journal = await trio.to_thread.run_sync(Journal, home, order.url)
            sender = Sender(client, order, self._reporter, self._totals, States(home), journal)
            aside.start_soon(self._reporter.follow, self._totals)
            if self._reporter.counts:
                aside.start_soon(self._count)
            async with trio.open_nursery() as workers:
                for _ in range(order.jobs):
                    workers.start_soon(self._work, sender, feed)
            if not self._totals.failed:
                await trio.to_thread.run_sync(journal.forget)
        return self._summary()

    async def _count(self) -> None:
        """Find out how much there is, ahead of those who send it."""
        totals = self._totals
        begun, totals.expected, totals.counted = totals.expected, 0, False
        async for number, item in Feed(self._order.selection().walk()):
            totals.expected = max(begun, number + 1)
            totals.bytes += item.size or 0
        totals.counted = True

    async def _work(self, sender: Sender, feed: Feed[Item]) -> None:
        async for number, item in feed:
            self._newest = item
            self._missing[item.argument] += 1
            self._totals.expected = max(self._totals.expected, number + 1)
            began = time.monotonic()
            try:
                error = self._hopeless or item.error
                stored = None if error else await sender.store(item)
            except UploadFailed as failure:
                stored, error = None, failure
            if error is None:
                self._missing[item.argument] -= 1
            else:
                self._failed(item, error)
            self._outcomes[number] = Outcome(item, time.monotonic() - began, stored, error)
            while (outcome := self._outcomes.pop(self._turn, None)) is not None:
                self._turn += 1
                self._output.tell(outcome)

    def _failed(self, item: Item, error: UploadFailed) -> None:
        self._totals.failed += 1
        self._codes.add(exits.of(error))
        if self._hopeless is None:
            self._reporter.fail(item.path, error)
        if isinstance(error, ServerUnavailable | NotAuthorised):
            self._hopeless = error

    # --- the end -------------------------------------------------------------------------------

    def _summary(self) -> int:
        """Say how it went; the exit code."""
        code = exits.of_all(self._codes, some=self._totals.stored > 0)
        for line in self._selection.skipped.lines():
            self._reporter.say(line)
        filtered = self._selection.skipped.filtered
        if filtered and not self._totals.stored and not self._totals.failed:
            self._reporter.say(f"nothing to send: --exclude and --newer left out {filtered}")
        self._reporter.say(self._totals.line())
        self._output.close(self._totals.members() | {"interrupted": False, "exit_code": code})
        return code

    def interrupted(self, code: int) -> None:
        """Say what is stored, and how to go on."""
        for number in sorted(self._outcomes):
            self._output.tell(self._outcomes[number])
        left = [word for index, word in enumerate(self._order.files) if not self._through(index)]
        again = [word for word in left if word != STDIN]
        totals = self._totals
        of_all = f" of {totals.expected}" if totals.counted else ""
        noun = "file" if (totals.expected if totals.counted else totals.stored) == 1 else "files"
        some = again and totals.durable > totals.length
        kept = "; what was sent of the rest is kept" if some else ""
        self._reporter.insist(f"interrupted: {totals.stored}{of_all} {noun} stored{kept}")
        if STDIN in left:
            self._reporter.insist("standard input cannot be resumed: what was sent of it is lost")
        line = self._order.line(again) if again else None
        if line is not None:
            if self._order.linked:
                self._reporter.insist(LINKED)
            self._reporter.insist(f"→ {line}")
        members = {"interrupted": True, "exit_code": code, "resume": line}
        self._output.close(totals.members() | members)

    def _through(self, argument: int) -> bool:
        """Whether all that *argument* stands for is stored."""
        newest = self._newest
        if newest is None or newest.argument < argument or self._missing[argument]:
            return False
        return newest.argument > argument or newest.path == self._order.files[argument]
