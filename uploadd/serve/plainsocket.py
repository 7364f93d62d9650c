"""A WebSocket that only listens: it hears where the files of one client id are."""

from __future__ import annotations

import trio

from uploadd.auth import Operation
from uploadd.errors import TooSlow, UploadError
from uploadd.latest import of_owner
from uploadd.protocol import plainsocket
from uploadd.protocol.answers import answer
from uploadd.protocol.upload import Upload
from uploadd.serve.gate import Closed, Gate
from uploadd.serve.looking import Bell
from uploadd.serve.messages import Messages
from uploadd.serve.rules import Rules
from uploadd.serve.voice import Farewell
from uploadd.uploads import Uploads
from uploadd.watch import Watcher


class PlainSocket:
    """Tells over *messages* what becomes of the *uploads* of *client_id*."""

    def __init__(
        self,
        messages: Messages,
        gate: Gate,
        uploads: Uploads,
        client_id: str,
        rules: Rules,
        token: str | None = None,
        *,
        request_id: str = "",
    ) -> None:
        self._messages, self._gate, self._uploads = messages, gate, uploads
        self._client_id, self._rules, self._token = client_id, rules, token
        self._request_id = request_id
        self._work = trio.CancelScope()
        self._bell = Bell()
        self._farewell = Farewell()

    async def serve(self) -> Farewell:
        """Tell until the peer goes, or is told to."""
        access = self._rules.access
        try:
            self._who = access.identify(self._token, self._client_id)
            if access.keyring is not None:
                access.check(self._who, Operation.WATCH_MINE)
        except UploadError as error:
            return self._refused(error)
        watcher = self._uploads.watch.watcher(self._bell.ring)
        watcher.add(of_owner(self._who.owner))
        try:
            with self._work:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._listen)
                    await self._tell(watcher)
        finally:
            watcher.close()
        return self._farewell

    async def _listen(self) -> None:
        """Nothing that is said here means anything; but the peer may go."""
        try:
            while True:
                await self._messages.receive()
        except Closed as closed:
            if (refusal := closed.refusal) is None:
                self._end(Farewell())
            else:
                self._uploads.refusals.tell(refusal.error, self._request_id)
                self._end(Farewell(refusal.code, refusal.reason))

    async def _tell(self, watcher: Watcher) -> None:
        try:
            while True:
                if texts := [self._text(life.upload) for life in watcher.take()]:
                    with trio.fail_after(self._rules.send):
                        await self._messages.send(*texts)
                if not watcher.ready:
                    await self._bell.rung()
        except (Closed, trio.TooSlowError):
            self._end(Farewell())

    def _text(self, upload: Upload) -> str:
        return plainsocket.told(upload, self._uploads.watch.glance(upload), self._client_id)

    # --- as for every session: never wait ---------------------------------------------------------

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """There is nothing to end first."""
        self.part()

    def part(self) -> None:
        """The daemon restarts."""
        self._end(Farewell(1012, "restarting"))

    def look_after(self, now: float) -> None:
        """Ping a quiet peer, end a silent one; *now* is trio's clock."""
        if self._work.cancel_called:
            return
        quiet = now - self._gate.heard
        if (refusal := self._rules.access.over(self._who)) is not None:
            self._end(self._refused(refusal))
        elif quiet > self._rules.idle:
            self._end(self._refused(TooSlow(f"not a byte for {self._rules.idle:g} s")))
        elif quiet > self._rules.ping:
            self._messages.ping()

    def _end(self, farewell: Farewell) -> None:
        if not self._work.cancel_called:
            self._farewell = farewell
            self._work.cancel(reason=farewell.reason)

    def _refused(self, error: UploadError) -> Farewell:
        """A browser sees no more than this of a refusal."""
        self._uploads.refusals.tell(error, self._request_id)
        return Farewell(answer(error).close, error.code)
