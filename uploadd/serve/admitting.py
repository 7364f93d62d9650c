"""What must be true before somebody begins an upload, whatever wire it comes by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import trio

from uploadd import errors
from uploadd.auth import Access, Operation, Who
from uploadd.measures import Measures
from uploadd.pacing import Flow
from uploadd.protocol.hooks import PRE_CREATE, Draft, Request
from uploadd.protocol.saying import compared
from uploadd.serve.exchange import Exchange
from uploadd.uploads import Uploads


async def admit(uploads: Uploads, access: Access, who: Who, length: int | None) -> str | None:
    """Refuse what *who* may not begin, or there is no room for; the key that it has to have.

    Right after it, without a checkpoint between, `Uploads.create` takes the key.
    Raises Unauthorised, Forbidden, TooLarge, NoSpace.
    """
    access.check(who, Operation.CREATE)
    check_length(who, length)
    await uploads.room_for(length)
    if who.claims is None or who.claims.key is None:
        return None
    if await uploads.find_key(who.owner, who.claims.key) is not None:
        raise used()
    return who.claims.key


async def invite(
    uploads: Uploads, access: Access, exchange: Exchange, draft: Draft
) -> tuple[str | None, Draft]:
    """As `admit`, for the upload that *draft* is of; and what hooks make of that.

    Raises Refused and HookFailed beside what `admit` raises.
    """
    key = await admit(uploads, access, exchange.who, draft.length)
    if uploads.hooks.wants(PRE_CREATE):
        draft = await uploads.hooks.create(draft, asking(uploads, exchange))
        key = await admit(uploads, access, exchange.who, draft.length)  # others were faster
    return key, draft


def asking(uploads: Uploads, exchange: Exchange) -> Request | None:
    """The request of *exchange*, where there are hooks that may be told of it."""
    if not uploads.hooks.receivers:
        return None
    return Request(exchange.head, remote(exchange.stream))


def remote(stream: trio.abc.Stream) -> str:
    """Who is at the other end of *stream*, as ``address:port``; empty for no address."""
    while not isinstance(stream, trio.SocketStream):
        inner = getattr(stream, "transport_stream", None)
        if inner is None:
            return ""
        stream = inner
    try:
        peer = stream.socket.getpeername()
    except OSError:
        return ""
    if not isinstance(peer, tuple):
        return ""
    host = f"[{peer[0]}]" if ":" in peer[0] else peer[0]
    return f"{host}:{peer[1]}"


def check_length(who: Who, length: int | None) -> None:
    """Raises TooLarge for more than the token of *who* is for."""
    most = who.most
    if most is not None and (length or 0) > most:
        file, limit = compared(length or 0, most)
        raise errors.TooLarge(f"the file is {file}, this link is for at most {limit}")


def measured(measures: Measures | None, exchange: Exchange) -> AbstractContextManager[Flow | None]:
    """While the block runs *exchange* sends an upload; its pace, where there is one to keep to.

    Raises TooMany.
    """
    return _UNMEASURED if measures is None else _measured(measures, exchange)


_UNMEASURED: Final = nullcontext[Flow | None](None)


@contextmanager
def _measured(measures: Measures, exchange: Exchange) -> Iterator[Flow | None]:
    with measures.upload(exchange.who.owner, exchange.address) as flow:
        yield flow if flow.bounded else None


def used() -> errors.Forbidden:
    """The refusal of a second upload by a link that is for one."""
    return errors.Forbidden("this link was for one upload, and that has been begun", hint=_ASK)


_ASK = "go on with that one where it was begun, or ask for another link"
