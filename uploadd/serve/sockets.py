"""WebSockets: what a handshake may lead to, and the end of it."""

from __future__ import annotations

import secrets
from contextlib import closing

import trio

from uploadd import errors
from uploadd.budget import Budget
from uploadd.errors import UploadError
from uploadd.protocol import credentials, pages, plainsocket
from uploadd.protocol.framereader import FrameReader
from uploadd.protocol.frames import Judge
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.hooks import Request
from uploadd.protocol.origins import check_foreign, check_host
from uploadd.protocol.routes import Conversation, route
from uploadd.protocol.upgrade import Upgrade, websocket_upgrade
from uploadd.protocol.wschunks import MAX_HEADER
from uploadd.serve.admitting import remote
from uploadd.serve.advice import Advice
from uploadd.serve.declining import decline
from uploadd.serve.exchange import Exchange
from uploadd.serve.gate import Gate
from uploadd.serve.guest import Guest
from uploadd.serve.messages import Messages, accepted
from uploadd.serve.plainsocket import PlainSocket
from uploadd.serve.rules import Rules
from uploadd.serve.senders import sender
from uploadd.serve.voice import Lasting
from uploadd.serve.ws import Session
from uploadd.uploads import Uploads


class Sockets:
    """Sessions of any kind with *uploads*, by *rules*."""

    def __init__(
        self, uploads: Uploads, budget: Budget, rules: Rules, version: str, advice: Advice
    ) -> None:
        self._uploads, self._budget, self._version = uploads, budget, version
        self._rules, self._advice = rules, advice
        self.sessions: set[Lasting] = set()
        self.draining = False

    def adopt(self, rules: Rules) -> None:
        """Go by *rules* from the next handshake on; sessions keep what they were told."""
        self._rules = rules

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """Begin nothing new, and ask every session to come back; seconds from now."""
        self.draining = True
        for session in list(self.sessions):
            session.drain(reconnect_after, deadline)

    async def serve(
        self, stream: trio.abc.Stream, gate: HeadGate, head: Head, request_id: str
    ) -> bool:
        """Whether *head* asked for a session; then it is over when this returns."""
        guest = Guest(None)
        try:
            upgrade = websocket_upgrade(head, gate.unread)
            if upgrade is None:
                return False
            check_host(head.authority, self._rules.names)
            client = self._check_session(head, upgrade)
            if await self._is_foreign(stream, head, upgrade, request_id):
                return True
            token = self._token(head, upgrade)
            if (measures := self._rules.measures) is not None:
                guest = Guest(measures, sender(stream, head, self._rules.proxies))
                guest.come()
        except UploadError as error:
            self._advice.give(error, head, stream, self._rules)
            self._uploads.refusals.tell(error, request_id)
            extra = pages.upgrade_required() if _is_about_upgrade(error) else []
            extra += credentials.challenge_for(error)
            await last_word(stream, request_id, head.method).refuse(error, extra)
            return True
        with closing(guest):
            if client is None:
                # Whoever knows it may show things in that session: nothing to be counted up to.
                id = f"{request_id}-{secrets.token_urlsafe(12)}"
                hooked = bool(self._uploads.hooks.receivers)  # else nobody is told of it
                request = Request(head, remote(stream)) if hooked else None
                await self._session(stream, upgrade, id, token, guest, request)
            else:
                await self._plain_socket(stream, upgrade, client, token, request_id)
        return True

    async def _is_foreign(
        self, stream: trio.abc.Stream, head: Head, upgrade: Upgrade, request_id: str
    ) -> bool:
        """Whether a foreign page asks; then it has been told so.

        Raises OriginNotAllowed where there are no words for it after the handshake.
        """
        try:
            check_foreign(head, self._rules.origins)
        except errors.OriginNotAllowed as error:
            if upgrade.plain:
                raise
            self._advice.give(error, head, stream, self._rules)
            self._uploads.refusals.tell(error, request_id)
            share = self._budget.share(joined=False)
            try:
                await decline(stream, upgrade, share, self._rules, error)
            finally:
                share.close()
            return True
        return False

    def _token(self, head: Head, upgrade: Upgrade) -> str | None:
        """The token that the handshake shows; whether it is good is said in the session.

        Raises Unauthorised for one that cannot be read, BadRequest.
        """
        if self._rules.access.keyring is None:
            return None
        return upgrade.token or credentials.token_of(head, self._rules.origins)

    def _check_session(self, head: Head, upgrade: Upgrade) -> str | None:
        """Refuse what cannot be a session; the client id that a plain socket listens for."""
        client = plainsocket.client_id(head) if upgrade.plain else None
        if route(head).conversation is not Conversation.SESSION and client is None:
            raise errors.NotFound("WebSocket lives at /-/ws, and at /?client_id=… for progress")
        if self.draining:
            raise errors.Draining("this server is about to stop")
        if len(self.sessions) >= self._rules.max_sessions:
            raise errors.TooMany(f"{len(self.sessions)} sessions are open, and that is the limit")
        return client

    async def _session(
        self,
        stream: trio.abc.Stream,
        upgrade: Upgrade,
        id: str,
        token: str | None,
        guest: Guest,
        request: Request | None,
    ) -> None:
        share = self._budget.share(joined=False)  # it may only watch
        reader = FrameReader(Judge(max_binary=share.max_chunk + MAX_HEADER))
        gate = Gate(stream, reader, share, message_seconds=self._rules.message)
        try:
            async with accepted(gate, upgrade.answer, seconds=self._rules.handshake) as messages:
                session = Session(
                    id,
                    messages,
                    gate,
                    share,
                    self._uploads,
                    self._rules,
                    max_chunk=share.max_chunk,
                    version=self._version,
                    token=token,
                    guest=guest,
                    request=request,
                )
                await self._last(session, messages)
        finally:
            share.close()

    async def _plain_socket(
        self,
        stream: trio.abc.Stream,
        upgrade: Upgrade,
        client: str,
        token: str | None,
        request_id: str,
    ) -> None:
        share = self._budget.share(joined=False)  # it may only watch
        reader = FrameReader(Judge(max_binary=plainsocket.MAX_HEARD))
        gate = Gate(stream, reader, share, message_seconds=self._rules.message)
        try:
            async with accepted(gate, upgrade.answer, seconds=self._rules.handshake) as messages:
                socket = PlainSocket(
                    *(messages, gate, self._uploads, client, self._rules, token),
                    request_id=request_id,
                )
                await self._last(socket, messages)
        finally:
            share.close()

    async def _last(self, session: Session | PlainSocket, messages: Messages) -> None:
        """Serve *session* to its end, and say goodbye."""
        self.sessions.add(session)
        if self.draining:
            session.part()
        try:
            farewell = await session.serve()
        except* Exception:
            await messages.close(1011, "the server failed")
            raise
        finally:
            self.sessions.discard(session)
        self._uploads.tally.closed[farewell.code] += 1
        await messages.close(farewell.code, farewell.reason)


def last_word(
    stream: trio.abc.Stream,
    request_id: str,
    method: str = "GET",
    fields: tuple[tuple[bytes, bytes], ...] = (),
) -> Exchange:
    """An exchange that can only be refused: what follows its head is nobody's request."""
    head = Head(
        raw=b"",
        method=method,
        target="/",
        version="1.0",
        authority="",
        fields=fields,
        length=None,
        chunked=False,
    )
    exchange = Exchange(stream, head, request_id)
    exchange.body_lost()
    return exchange


def _is_about_upgrade(error: UploadError) -> bool:
    return isinstance(error, errors.UpgradeRequired | errors.UpgradeStripped)
