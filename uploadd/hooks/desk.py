"""Every hook of this daemon: asking them, and putting into the outbox what they will be told."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

import trio

from uploadd.errors import HookFailed
from uploadd.hooks.receiver import Receiver
from uploadd.protocol import hooks
from uploadd.protocol.hooks import (
    POST_CREATE,
    POST_FINISH,
    POST_TERMINATE,
    PRE_CREATE,
    PRE_FINISH,
    PRE_TERMINATE,
    Answer,
    Draft,
    Request,
)
from uploadd.protocol.upload import State, Upload
from uploadd.rows import Event
from uploadd.tally import Tally

log = logging.getLogger("uploadd.hooks")
GROWING: Final = ".uploadd/growing"
"""Where the bytes of an unfinished upload lie, below the root."""


class Hooks:
    """*receivers*, by name; *root* is where files lie, for programs on this machine."""

    def __init__(
        self,
        root: str | None = None,
        receivers: Mapping[str, Receiver] | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._now = root, now
        self.receivers: Mapping[str, Receiver] = {}
        self._by_kind: dict[str, list[Receiver]] = {}
        self.tally = Tally()
        self.changed = trio.Event()
        """Set when there are other receivers, or something new in the outbox."""
        self.adopt(receivers or {})

    def adopt(self, receivers: Mapping[str, Receiver]) -> None:
        """Ask and tell these from now on."""
        self.receivers = receivers
        self._by_kind = {
            kind: [one for _, one in sorted(receivers.items()) if kind in one.events]
            for kind in hooks.KINDS
        }
        self.wake()

    def wants(self, kind: str) -> bool:
        """Whether somebody is to be asked or told of *kind*."""
        return bool(self._by_kind[kind])

    def wake(self) -> None:
        """There is something new in the outbox."""
        self.changed.set()
        self.changed = trio.Event()

    # --- asking -----------------------------------------------------------------------------------

    async def create(self, draft: Draft, request: Request | None) -> Draft:
        """*draft*, as those who are asked want it.  Raises Refused, HookFailed."""
        for receiver in self._by_kind[PRE_CREATE]:
            draft = draft.changed(await self._ask(receiver, PRE_CREATE, draft, request))
        return draft

    async def finish(self, upload: Upload) -> None:
        """Ask whether *upload* is to be published, and under what name.

        Raises Refused, HookFailed: it can be asked again.
        """
        for receiver in self._by_kind[PRE_FINISH]:
            answer = await self._ask(receiver, PRE_FINISH, upload, upload.request)
            _rename(upload, answer)

    async def terminate(self, upload: Upload) -> None:
        """Ask whether *upload* may be ended.  Raises Refused, HookFailed."""
        for receiver in self._by_kind[PRE_TERMINATE]:
            await self._ask(receiver, PRE_TERMINATE, upload, upload.request)

    async def _ask(
        self, receiver: Receiver, kind: str, upload: Upload | Draft, request: Request | None
    ) -> Answer:
        place = self._place(upload) if isinstance(upload, Upload) else None
        body = hooks.told(kind, upload, request, place)
        event = secrets.token_hex(16)
        try:
            answer = await self.tell(receiver, kind, event, body, hooks.environment(upload))
        except HookFailed as error:  # where it is, and what it says, is not for peers
            raise HookFailed(f"the hook {receiver.name} gives no answer to {kind}") from error
        if answer.refused is not None:
            raise answer.refused
        return answer

    async def tell(
        self, receiver: Receiver, kind: str, event: str, body: bytes, environment: dict[str, str]
    ) -> Answer:
        """What *receiver* answers to the document *body* of *event*.  Raises HookFailed."""
        began, result = trio.current_time(), "failed"
        try:
            answer = hooks.answered(kind, await receiver.tell(event, body, environment))
            result = "ok" if answer.refused is None else "refused"
            return answer
        finally:
            self.tally.hooked(receiver.name, kind, result, trio.current_time() - began)

    async def receive(self, receiver: Receiver, upload: Upload) -> Answer:
        """Tell *receiver* how far *upload* is.  Raises HookFailed."""
        body = hooks.told(hooks.POST_RECEIVE, upload, upload.request, self._place(upload))
        event, said = secrets.token_hex(16), hooks.environment(upload)
        return await self.tell(receiver, hooks.POST_RECEIVE, event, body, said)

    def receiving(self) -> list[Receiver]:
        """Those who want to know how far uploads are."""
        return self._by_kind[hooks.POST_RECEIVE]

    # --- telling ----------------------------------------------------------------------------------

    def events(self, upload: Upload, *, ended: bool) -> list[Event]:
        """What goes into the outbox with a row of *upload*: its first one, or that of its end."""
        if not self.receivers:
            return []
        end = POST_FINISH if upload.state is State.PUBLISHED else POST_TERMINATE
        kinds = [
            kind for kind, is_so in ((POST_CREATE, not upload.enrolled), (end, ended)) if is_so
        ]
        return [
            Event(f"{upload.id}.{kind}", one.name, upload.id, kind, self._now(), body)
            for kind in kinds
            if self._by_kind[kind]
            for body in (hooks.told(kind, upload, upload.request, self._place(upload)),)
            for one in self._by_kind[kind]
        ]

    def _place(self, upload: Upload) -> str | None:
        if self._root is None:
            return None
        if upload.state is State.RECEIVING:
            return os.path.join(self._root, GROWING, upload.id)
        return os.path.join(self._root, upload.published.path) if upload.published else None


def _rename(upload: Upload, answer: Answer) -> None:
    draft = Draft(
        name=upload.name,
        length=upload.length,
        media_type=upload.media_type,
        metadata=upload.metadata,
        echo=upload.echo,
    )
    made = draft.changed(answer)
    upload.name, upload.media_type = made.name, made.media_type
    upload.metadata, upload.echo = dict(made.metadata), dict(made.echo)
